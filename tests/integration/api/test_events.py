"""``GET /v1/tasks/{id}/events`` as it comes off the wire."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.agents.spec import AgentOutput, AgentTask, EventSink
from app.core.config import Settings
from app.core.errors import LLMUnavailableError
from app.messaging.events import EventPublisher, PublishOutcome
from app.models.domain.event import EventId, TaskEvent
from app.services.execution import execute
from tests.integration.conftest import make_settings
from tests.support.agents import FailingAgent, WaitingAgent
from tests.support.errors import error_of
from tests.support.execution import InProcessWorker
from tests.support.prometheus import Scrape
from tests.support.sse import (
    STREAM_TIMEOUT_SECONDS,
    Frame,
    events_of,
    next_status,
    open_stream,
    read_frames,
    statuses,
    watch,
)
from tests.support.valkey import ValkeyServer
from tests.support.waiting import until

LONG_POLL_SECONDS = 60
"""With this, what arrives in time was announced and not found in the store by chance."""

COMPLETED = ["queued", "processing", "completed"]


async def submit(client: httpx2.AsyncClient, text: str = "Write a blog article about tea") -> str:
    response = await client.post("/v1/agent/execute", json={"task": text})
    task_id: str = response.json()["task_id"]
    return task_id


async def finished_task(client: httpx2.AsyncClient, worker: InProcessWorker) -> str:
    task_id = await submit(client)
    await execute(task_id, worker.execution)
    return task_id


async def open_streams(client: httpx2.AsyncClient) -> float:
    return Scrape((await client.get("/metrics")).text).value("api_open_event_streams")


async def subscribed_channels(worker: InProcessWorker) -> set[str]:
    """The tasks that this test's API listens to at Valkey."""
    prefix = f"{worker.settings.redis_global_keyprefix}task_events:"
    channels = await worker.redis.pubsub_channels(f"{prefix}*")
    return {str(channel).removeprefix(prefix) for channel in channels} - {"keepalive"}


async def until_subscribed(worker: InProcessWorker, task_id: str) -> None:
    async def is_subscribed() -> bool:
        return task_id in await subscribed_channels(worker)

    await until(is_subscribed)


def assert_in_order(events: list[Frame]) -> None:
    """Each id once, rising."""
    positions = [tuple(int(part) for part in (event.id or "").split("-")) for event in events]
    assert positions == sorted(set(positions))


class TestTheStream:
    async def test_status_changes_are_unnamed_messages_with_exactly_the_contracts_json(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await finished_task(client, worker)
        messages = [event for event in await watch(client, task_id) if event.event is None]
        assert [message.data for message in messages] == [
            f'{{"task_id":"{task_id}","status":"{status}"}}' for status in COMPLETED
        ]
        assert [message.id for message in messages] == ["1-0", "2-0", "3-0"]

    async def test_tokens_and_steps_are_named_events_and_the_tokens_make_the_answer(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await finished_task(client, worker)
        events = await watch(client, task_id)
        assert_in_order(events)
        assert {event.event for event in events} == {None, "step", "token"}

        classified, started = [event.json for event in events if event.event == "step"]
        assert classified["name"] == "task_classified"
        assert (classified["agent_name"], classified["agent_type"]) == ("ContentAgent", "content")
        assert 0.6 <= classified["confidence"] <= 1
        assert started["name"] == "agent_started"

        tokens = [event.json for event in events if event.event == "token"]
        assert all(set(token) == {"text"} for token in tokens)
        detail = (await client.get(f"/v1/tasks/{task_id}")).json()
        assert "".join(token["text"] for token in tokens) == detail["result"]["raw_output"]

    async def test_it_tells_how_to_come_back_and_that_nothing_may_keep_it(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await finished_task(client, worker)
        async with client.stream("GET", f"/v1/tasks/{task_id}/events") as response:
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["x-accel-buffering"] == "no"
            assert response.headers["x-request-id"]
            first = await anext(read_frames(response))
        assert first == Frame(retry=str(worker.settings.sse_retry_milliseconds))

    async def test_it_is_live_and_closes_by_itself(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        agent = WaitingAgent()
        task = await worker.accept(agent="test")
        async with open_stream(client, task.task_id) as frames:
            await next_status(frames, "queued")
            running = asyncio.create_task(execute(task.task_id, worker.with_agent(agent)))
            await next_status(frames, "processing")
            assert not agent.may_finish.is_set()
            agent.may_finish.set()
            await next_status(frames, "completed")
            assert await events_of(frames) == []
        await running

    async def test_who_comes_late_sees_what_who_was_there_saw(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await submit(client)
        async with open_stream(client, task_id) as frames:
            await next_status(frames, "queued")
            await execute(task_id, worker.execution)
            live = await events_of(frames)
        late = await watch(client, task_id)
        assert late[1:] == live
        assert {event.event for event in live} == {None, "step", "token"}

    async def test_a_failed_task_ends_its_stream_with_failed(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await submit(client, "hello there")
        async with open_stream(client, task_id) as frames:
            await next_status(frames, "queued")
            await execute(task_id, worker.execution)
            live = await events_of(frames)
        assert statuses(live) == ["processing", "failed"]
        assert live[-1].json == {"task_id": task_id, "status": "failed"}
        assert statuses(await watch(client, task_id)) == ["queued", "processing", "failed"]

    async def test_a_retried_task_shows_each_attempt(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        parts = worker.with_agent(FailingAgent(LLMUnavailableError("the provider is away")))
        task = await worker.accept(agent="test")
        async with open_stream(client, task.task_id) as frames:
            await next_status(frames, "queued")
            await execute(task.task_id, parts)
            await execute(task.task_id, parts)
            live = await events_of(frames)
        assert_in_order(live)
        assert statuses(live) == ["processing", "queued", "processing", "completed"]
        assert statuses(await watch(client, task.task_id)) == ["queued", *statuses(live)]

    async def test_when_the_tokens_have_expired_the_statuses_are_still_told(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await finished_task(client, worker)
        await worker.redis.delete(f"{worker.settings.redis_global_keyprefix}task_stream:{task_id}")
        events = await watch(client, task_id)
        assert [event.event for event in events] == [None] * 3
        assert statuses(events) == COMPLETED


class HeldUpPublisher(EventPublisher):
    """Is slow to tell of a task's end: the store has it long before."""

    def __init__(self, worker: InProcessWorker) -> None:
        super().__init__(worker.redis, worker.settings)
        self.is_held_up = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def publish(
        self, task_id: str, events: Sequence[TaskEvent], *, previous: EventId | None = None
    ) -> PublishOutcome:
        """Wait before the end, and whatever is sent together with it."""
        if any(event.ends_stream for event in events):
            self.is_held_up.set()
            await self.may_go_on.wait()
        return await super().publish(task_id, events, previous=previous)


async def test_who_comes_between_the_end_in_the_store_and_its_announcement_sees_everything(
    client: httpx2.AsyncClient, worker: InProcessWorker
) -> None:
    task_id = await submit(client)
    publisher = HeldUpPublisher(worker)
    parts = replace(worker.execution, publisher=publisher)
    running = asyncio.create_task(execute(task_id, parts))
    await publisher.is_held_up.wait()
    async with open_stream(client, task_id) as frames:
        seen = [await next_status(frames, "queued"), await next_status(frames, "processing")]
        publisher.may_go_on.set()
        seen += await events_of(frames)
    await running
    assert seen == await watch(client, task_id)


class TestComingBack:
    @pytest.mark.parametrize("form", ["header", "query"])
    async def test_behind_any_event_comes_exactly_the_rest(
        self, client: httpx2.AsyncClient, worker: InProcessWorker, form: str
    ) -> None:
        task_id = await finished_task(client, worker)
        everything = await watch(client, task_id)
        assert len(everything) > 5
        for number, event in enumerate(everything[:-1], start=1):
            assert event.id is not None
            assert await watch(client, task_id, **position(form, event.id)) == everything[number:]

    @pytest.mark.parametrize("form", ["header", "query"])
    async def test_behind_the_end_there_is_204_which_stops_a_browser(
        self, client: httpx2.AsyncClient, worker: InProcessWorker, form: str
    ) -> None:
        task_id = await finished_task(client, worker)
        for seen in ("3-0", "3-1", "4-0", "999999999-999999999"):
            response = await client.get(f"/v1/tasks/{task_id}/events", **position(form, seen))
            assert (response.status_code, response.content) == (204, b"")
            assert response.headers["x-request-id"]

    async def test_in_the_middle_of_a_running_task_nothing_is_lost_or_told_twice(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        agent = WaitingAgent()
        task = await worker.accept(agent="test")
        running = asyncio.create_task(execute(task.task_id, worker.with_agent(agent)))
        await agent.started.wait()
        async with open_stream(client, task.task_id) as frames:
            await next_status(frames, "queued")
            last = await next_status(frames, "processing")
        assert last.id is not None
        agent.may_finish.set()
        await running
        rest = await watch(client, task.task_id, **position("header", last.id))
        assert [event.event for event in rest] == ["step", "step", None]
        assert statuses(rest) == ["completed"]

    async def test_the_header_goes_before_the_query(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        # A page that put the id into its URL comes back by itself with a newer one in the header.
        task_id = await finished_task(client, worker)
        rest = await watch(
            client, task_id, headers={"Last-Event-ID": "2-0"}, params={"last_event_id": "1-0"}
        )
        assert statuses(rest) == ["completed"]

    @pytest.mark.parametrize("form", ["header", "query"])
    async def test_a_malformed_position_is_refused(
        self, client: httpx2.AsyncClient, form: str
    ) -> None:
        task_id = await submit(client)
        for malformed in (
            *("x", "1", "1-", "-1", "1-0-0", "1-0 x", "1_000-0", "+1-0", "$", "0x1-0"),
            "1" * 10 + "-0",
        ):
            response = await client.get(f"/v1/tasks/{task_id}/events", **position(form, malformed))
            error = error_of(response, 422, "VALIDATION_ERROR")
            assert error["message"] == "last_event_id: an event id has the form 3-17"


def position(form: str, event_id: str) -> dict[str, Any]:
    """The two ways to say where one left off."""
    if form == "header":
        return {"headers": {"Last-Event-ID": event_id}}
    return {"params": {"last_event_id": event_id}}


class TestPings:
    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, shared_valkey.url, sse_ping_seconds=0.05)

    async def test_comments_keep_a_quiet_stream_open_and_are_no_events(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await submit(client)
        async with open_stream(client, task_id) as frames:
            await next_status(frames, "queued")
            async with asyncio.timeout(STREAM_TIMEOUT_SECONDS):
                pings = [await anext(frames) for _ in range(3)]
            await execute(task_id, worker.execution)
            rest = await events_of(frames)
        assert all(ping.comment and ping.comment.startswith("ping") for ping in pings)
        assert all(ping == Frame(comment=ping.comment) for ping in pings)
        assert statuses(rest) == ["processing", "completed"]


class TestWatchers:
    """Those who come, stay, and go."""

    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        return make_settings(
            tmp_path, shared_valkey.url, sse_poll_seconds=LONG_POLL_SECONDS, log_level="WARNING"
        )

    async def test_a_client_that_goes_leaves_nothing_behind(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        before = await open_streams(client)
        task_id = await submit(client)
        async with open_stream(client, task_id) as frames:
            await next_status(frames, "queued")
            await until_subscribed(worker, task_id)
            assert await open_streams(client) == before + 1

        async def nothing_is_left() -> bool:
            return await open_streams(client) == before and not await subscribed_channels(worker)

        await until(nothing_is_left)

    async def test_nor_does_one_whose_stream_ended(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        before = await open_streams(client)
        await watch(client, await finished_task(client, worker))

        async def nothing_is_left() -> bool:
            return await open_streams(client) == before and not await subscribed_channels(worker)

        await until(nothing_is_left)

    async def test_one_that_goes_does_not_deafen_the_others(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await submit(client)
        async with open_stream(client, task_id) as staying:
            await next_status(staying, "queued")
            async with open_stream(client, task_id) as going:
                await next_status(going, "queued")
            await execute(task_id, worker.execution)
            assert statuses(await events_of(staying)) == ["processing", "completed"]

    async def test_many_watch_one_task_over_one_subscription(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task_id = await submit(client)
        async with AsyncExitStack() as streams:
            watchers = [
                await streams.enter_async_context(open_stream(client, task_id)) for _ in range(20)
            ]
            for frames in watchers:
                await next_status(frames, "queued")
            channel = f"{worker.settings.redis_global_keyprefix}task_events:{task_id}"
            assert await worker.redis.pubsub_numsub(channel) == [(channel, 1)]
            await execute(task_id, worker.execution)
            first, *others = [await events_of(frames) for frames in watchers]
        assert statuses(first) == ["processing", "completed"]
        assert all(events == first for events in others)

    async def test_one_that_does_not_keep_up_still_gets_every_event(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        steps = 1000
        task = await worker.accept(agent="test")
        async with open_stream(client, task.task_id) as frames:
            await next_status(frames, "queued")
            await until_subscribed(worker, task.task_id)
            # Nobody reads meanwhile: more than the sockets and the hub's buffer can hold.
            await execute(task.task_id, worker.with_agent(TalkativeAgent(steps, 8000)))
            events = await events_of(frames)
        assert_in_order(events)
        assert statuses(events) == ["processing", "completed"]
        told = [event.json for event in events if event.event == "step"]
        numbers = [step["number"] for step in told if step["name"] == "talked"]
        assert numbers == list(range(steps))

    async def test_a_client_that_goes_in_the_middle_of_a_flood_leaves_nothing_behind(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        before = await open_streams(client)
        task = await worker.accept(agent="test")
        async with open_stream(client, task.task_id) as frames:
            await next_status(frames, "queued")
            await until_subscribed(worker, task.task_id)
            await execute(task.task_id, worker.with_agent(TalkativeAgent(1000, 8000)))

        async def nothing_is_left() -> bool:
            return await open_streams(client) == before and not await subscribed_channels(worker)

        await until(nothing_is_left)

    @pytest.mark.parametrize(
        "foreign",
        [
            pytest.param(message, id=message.decode(errors="backslashreplace")[:24])
            for message in (
                b"hello",
                b"5",
                b"[]",
                b"null",
                b"{}",
                b'{"_id": 1, "_kind": "token", "_prev": null}',
                b'{"_id": "2-1", "_kind": "shout", "_prev": null}',
                b'{"_id": "2-1", "_kind": "token", "_prev": 7}',
                b"\xff\xfe",
                b'{"task_id": "\xff"}',
            )
        ],
    )
    async def test_what_others_publish_on_the_channel_is_passed_over(
        self, client: httpx2.AsyncClient, worker: InProcessWorker, foreign: bytes
    ) -> None:
        task_id = await submit(client)
        async with open_stream(client, task_id) as frames:
            await next_status(frames, "queued")
            await until_subscribed(worker, task_id)
            channel = f"{worker.settings.redis_global_keyprefix}task_events:{task_id}"
            await worker.redis.publish(channel, foreign)
            await execute(task_id, worker.execution)
            assert statuses(await events_of(frames)) == ["processing", "completed"]


class TalkativeAgent:
    """Tells a given number of steps of a given size, as fast as they are taken."""

    def __init__(self, steps: int, size: int) -> None:
        self._steps = steps
        self._text = "x" * size

    async def run(self, task: AgentTask, events: EventSink) -> AgentOutput:
        """Talk."""
        for number in range(self._steps):
            await events.step("talked", {"number": number, "text": self._text})
        return AgentOutput(content="done", summary="done", model="test-model")


class TestWithoutRedis:
    """Redis goes while somebody watches: what the store knows is told all the same."""

    @pytest.fixture
    def settings(self, tmp_path: Path, own_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, own_valkey.url, sse_poll_seconds=0.1)

    @pytest.fixture
    def agent(self) -> WaitingAgent:
        return WaitingAgent()

    @pytest.fixture
    async def watched(
        self, client: httpx2.AsyncClient, worker: InProcessWorker, agent: WaitingAgent
    ) -> AsyncIterator[AsyncIterator[Frame]]:
        """The stream of a task that is being worked on until the agent may finish."""
        task = await worker.accept(agent="test")
        async with open_stream(client, task.task_id) as frames:
            await next_status(frames, "queued")
            running = asyncio.create_task(execute(task.task_id, worker.with_agent(agent)))
            await next_status(frames, "processing")
            await agent.started.wait()
            yield frames
        await running

    async def test_a_stream_still_ends_when_redis_died_in_the_middle(
        self, watched: AsyncIterator[Frame], agent: WaitingAgent, own_valkey: ValkeyServer
    ) -> None:
        own_valkey.kill()
        agent.may_finish.set()
        assert statuses(await events_of(watched)) == ["completed"]

    async def test_a_stream_still_ends_when_redis_stalls_in_the_middle(
        self, watched: AsyncIterator[Frame], agent: WaitingAgent, own_valkey: ValkeyServer
    ) -> None:
        own_valkey.pause()
        agent.may_finish.set()
        assert statuses(await events_of(watched)) == ["completed"]

    async def test_when_redis_is_back_the_stream_goes_on(
        self,
        client: httpx2.AsyncClient,
        worker: InProcessWorker,
        watched: AsyncIterator[Frame],
        agent: WaitingAgent,
        own_valkey: ValkeyServer,
    ) -> None:
        own_valkey.kill()
        own_valkey.start()

        async def is_heard_again() -> bool:
            return bool(await subscribed_channels(worker))

        await until(is_heard_again)
        agent.may_finish.set()
        assert statuses(await events_of(watched)) == ["completed"]

    async def test_a_stream_that_begins_without_redis_tells_the_whole_story(
        self, client: httpx2.AsyncClient, worker: InProcessWorker, own_valkey: ValkeyServer
    ) -> None:
        task_id = await submit(client)
        own_valkey.kill()
        async with open_stream(client, task_id) as frames:
            await next_status(frames, "queued")
            await execute(task_id, worker.execution)
            rest = await events_of(frames)
        assert statuses(rest) == ["processing", "completed"]
