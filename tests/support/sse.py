"""Reads Server-Sent Events as they come off the wire. Not our client's reader, on purpose."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

STREAM_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class Frame:
    """What stood between two blank lines. ``event`` is ``None`` for an unnamed message."""

    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: str | None = None
    comment: str | None = None

    @property
    def json(self) -> Any:
        """The data, which is always JSON here."""
        return json.loads(self.data or "null")


async def read_frames(response: httpx2.Response) -> AsyncIterator[Frame]:
    """The frames of an open stream until the server ends it."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name or "comment"] = value.removeprefix(" ")
        elif fields:
            yield Frame(**fields)
            fields = {}
    if fields:
        raise AssertionError(f"the stream ended inside a frame: {fields}")


@asynccontextmanager
async def open_stream(
    client: httpx2.AsyncClient, task_id: str, **request: Any
) -> AsyncIterator[AsyncIterator[Frame]]:
    """A task's stream as long as one is inside; leaving disconnects."""
    async with client.stream("GET", f"/v1/tasks/{task_id}/events", **request) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        yield read_frames(response)


async def events_of(frames: AsyncIterator[Frame]) -> list[Frame]:
    """The frames with data, until the server ends the stream, which must be soon."""
    async with asyncio.timeout(STREAM_TIMEOUT_SECONDS):
        return [frame async for frame in frames if frame.data is not None]


async def watch(client: httpx2.AsyncClient, task_id: str, **request: Any) -> list[Frame]:
    """Everything a subscriber sees of a task until its stream ends."""
    async with open_stream(client, task_id, **request) as frames:
        return await events_of(frames)


async def next_event(frames: AsyncIterator[Frame]) -> Frame:
    """The next frame with data."""
    async with asyncio.timeout(STREAM_TIMEOUT_SECONDS):
        async for frame in frames:
            if frame.data is not None:
                return frame
    raise AssertionError("the stream ended")


async def next_status(frames: AsyncIterator[Frame], status: str) -> Frame:
    """The next change of status, which must be to this one."""
    while (frame := await next_event(frames)).event is not None:
        pass
    assert frame.json["status"] == status
    return frame


def statuses(frames: Sequence[Frame]) -> list[str]:
    """The statuses told by unnamed messages, in order."""
    return [frame.json["status"] for frame in frames if frame.event is None]
