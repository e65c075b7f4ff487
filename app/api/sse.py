"""Task events as Server-Sent Events."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from sse_starlette import ServerSentEvent

from app.api.prometheus import OPEN_EVENT_STREAMS
from app.models.api.responses import StatusEventData, StepEventData, TokenEventData
from app.models.domain.event import EventKind, TaskEvent

_EXAMPLE = """retry: 2000

id: 1-0
data: {"task_id":"e2f9d474-0a6b-4a3b-8df2-1e1a4f6b6c84","status":"queued"}

id: 2-0
data: {"task_id":"e2f9d474-0a6b-4a3b-8df2-1e1a4f6b6c84","status":"processing"}

id: 2-1
event: step
data: {"name":"task_classified","agent_name":"CodeAgent","agent_type":"code","confidence":0.97}

id: 2-2
event: token
data: {"text":"### Description"}

id: 3-0
data: {"task_id":"e2f9d474-0a6b-4a3b-8df2-1e1a4f6b6c84","status":"completed"}
"""

STREAM_RESPONSE: dict[str, Any] = {
    "description": (
        "The events as they happen, each with an id to resume from. Status changes are unnamed "
        "messages; `token` and `step` are named events; lines that begin with a colon are pings. "
        "The stream ends after the final status."
    ),
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "string",
                "description": "The data of each message is one of these JSON objects.",
                "contentMediaType": "text/event-stream",
                "x-event-data": {
                    "message": StatusEventData.model_json_schema(),
                    "token": TokenEventData.model_json_schema(),
                    "step": StepEventData.model_json_schema(),
                },
            },
            "example": _EXAMPLE,
        }
    },
}


async def sse_messages(
    events: AsyncIterator[TaskEvent], *, retry_milliseconds: int
) -> AsyncIterator[ServerSentEvent]:
    """Format events, after the time a client is to wait before it comes back."""
    with OPEN_EVENT_STREAMS.track_inprogress():
        yield ServerSentEvent(retry=retry_milliseconds)
        async for event in events:
            yield to_sse(event)


async def no_events() -> AsyncIterator[TaskEvent]:
    """No event at all: who gets this stream comes back for another."""
    nothing: tuple[TaskEvent, ...] = ()
    for event in nothing:
        yield event


def to_sse(event: TaskEvent) -> ServerSentEvent:
    """Status events are unnamed, so that ``EventSource.onmessage`` receives them."""
    name = None if event.kind is EventKind.STATUS else event.kind.value
    return ServerSentEvent(data=orjson.dumps(event.data).decode(), id=str(event.id), event=name)
