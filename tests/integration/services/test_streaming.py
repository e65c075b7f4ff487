"""What a subscriber sees: every event once and in order, whenever and however often it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.core.config import Settings
from app.db.connect import connect_database
from app.db.repositories import Repositories
from app.messaging.event_hub import BUFFER_SIZE, EventHub, Subscription
from app.messaging.redis import connect_redis_for_listening
from app.models.domain.event import BEFORE_ALL, EventId, EventKind, TaskEvent, status_event
from app.models.domain.task import Task, TaskStatus
from app.services.execution import ExecutionParts, execute
from app.services.streaming import task_events
from app.services.task_feed import TaskFeed
from tests.integration.conftest import make_settings
from tests.support.agents import AnsweringAgent, WaitingAgent
from tests.support.execution import InProcessWorker, in_process_worker
from tests.support.valkey import ValkeyServer
from tests.support.waiting import until


@asynccontextmanager
async def running_hub(settings: Settings) -> AsyncIterator[EventHub]:
    hub = EventHub(connect_redis_for_listening(settings), settings)
    running = asyncio.create_task(hub.run())

    async def is_connected() -> bool:
        return hub.is_connected

    try:
        await until(is_connected)
        yield hub
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def hub(settings: Settings) -> AsyncIterator[EventHub]:
    async with running_hub(settings) as hub:
        yield hub


async def collect(
    task: Task, worker: InProcessWorker, hub: EventHub, *, after: EventId = BEFORE_ALL
) -> list[TaskEvent]:
    async with asyncio.timeout(15):
        parts = worker.streaming(hub)
        return [event async for event in task_events(task.task_id, after=after, parts=parts)]


def statuses(events: list[TaskEvent]) -> list[object]:
    return [event.data["status"] for event in events if event.kind is EventKind.STATUS]


def text_of(events: list[TaskEvent]) -> str:
    return "".join(str(e.data["text"]) for e in events if e.kind is EventKind.TOKEN)


def assert_once_and_in_order(events: list[TaskEvent]) -> None:
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))


async def test_live_and_late_subscribers_see_the_same(
    worker: InProcessWorker, hub: EventHub
) -> None:
    parts = worker.with_agent(AnsweringAgent(*(f"word{n} " for n in range(50))))
    task = await worker.accept(agent="test")
    live = [asyncio.create_task(collect(task, worker, hub)) for _ in range(3)]
    await execute(task.task_id, parts)
    seen = await asyncio.gather(*live)
    late = await collect(task, worker, hub)

    assert statuses(late) == ["queued", "processing", "completed"]
    assert text_of(late) == "".join(f"word{n} " for n in range(50))
    assert_once_and_in_order(late)
    assert all(events == late for events in seen)


async def test_resuming_behind_any_event_gives_exactly_the_rest(
    worker: InProcessWorker, hub: EventHub
) -> None:
    task = await worker.accept("Write a blog article about tea")
    await execute(task.task_id, worker.execution)
    everything = await collect(task, worker, hub)
    assert len(everything) > 5
    for number, event in enumerate(everything, start=1):
        assert await collect(task, worker, hub, after=event.id) == everything[number:]


async def test_a_retried_task_shows_every_change_of_status(
    worker: InProcessWorker, hub: EventHub
) -> None:
    agent = WaitingAgent()
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    watching = asyncio.create_task(collect(task, worker, hub))
    first = asyncio.create_task(execute(task.task_id, parts))
    await agent.started.wait()
    parts.leases.interrupt_all()
    await first
    agent.may_finish.set()
    await execute(task.task_id, worker.successor(parts))

    events = await watching
    assert statuses(events) == ["queued", "processing", "queued", "processing", "completed"]
    assert_once_and_in_order(events)


async def test_a_superseded_attempt_is_not_heard(worker: InProcessWorker, hub: EventHub) -> None:
    agent = WaitingAgent()
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    first = asyncio.create_task(execute(task.task_id, parts))
    await agent.started.wait()
    zombie_feed = TaskFeed(await worker.reload(task), parts.publisher)
    parts.leases.interrupt_all()
    await first
    agent.may_finish.set()
    await execute(task.task_id, worker.successor(parts))
    before = await collect(task, worker, hub)

    await zombie_feed.token("from the dead")
    await zombie_feed.step("late", {})
    await zombie_feed.flush()
    assert await collect(task, worker, hub) == before


async def test_a_repeated_publication_adds_nothing_and_a_superseded_one_is_refused(
    worker: InProcessWorker,
) -> None:
    publisher = worker.execution.publisher
    key = f"{worker.settings.redis_global_keyprefix}task_stream:t"
    events = [
        status_event("t", 2, TaskStatus.PROCESSING),
        TaskEvent(EventId(2, 1), EventKind.TOKEN, {"text": "x"}),
    ]
    assert await publisher.publish("t", events[:1]) == "published"
    # The answer got lost, so they are sent again, with what came since.
    assert await publisher.publish("t", events) == "published"
    assert await worker.redis.xlen(key) == 2
    assert await publisher.publish("t", [status_event("t", 3, TaskStatus.QUEUED)]) == "published"
    late = TaskEvent(EventId(2, 2), EventKind.TOKEN, {"text": "late"})
    assert await publisher.publish("t", [late]) == "refused"
    assert await worker.redis.xlen(key) == 3


async def test_when_the_stream_has_expired_the_status_events_are_still_told(
    worker: InProcessWorker, hub: EventHub
) -> None:
    task = await worker.accept()
    await execute(task.task_id, worker.execution)
    await worker.redis.flushall()
    events = await collect(task, worker, hub)
    assert statuses(events) == ["queued", "processing", "completed"]
    assert [event.kind for event in events] == [EventKind.STATUS] * 3


async def test_the_stream_expires_and_is_bounded(
    settings: Settings, repositories: Repositories
) -> None:
    small = settings.model_copy(update={"event_stream_max_length": 10})
    async with in_process_worker(small, repositories) as worker:
        for position in range(500):
            event = TaskEvent(EventId(2, position + 1), EventKind.TOKEN, {"text": "x"})
            await worker.execution.publisher.publish("t", [event])
        key = f"{settings.redis_global_keyprefix}task_stream:t"
        assert await worker.redis.xlen(key) < 250
        assert 0 < await worker.redis.ttl(key) <= settings.event_stream_ttl_seconds


async def test_nobody_is_left_subscribed(worker: InProcessWorker, hub: EventHub) -> None:
    task = await worker.accept()
    watching = asyncio.create_task(collect(task, worker, hub))
    channel = f"{worker.settings.redis_global_keyprefix}task_events:{task.task_id}"

    async def subscribers() -> int:
        [(_, number)] = await worker.redis.pubsub_numsub(channel)
        return int(number)

    async def is_subscribed() -> bool:
        return await subscribers() == 1

    async def is_gone() -> bool:
        return await subscribers() == 0

    await until(is_subscribed)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await until(is_gone)


async def test_a_hundred_watchers_share_one_connection(
    worker: InProcessWorker, hub: EventHub
) -> None:
    tasks = [await worker.accept(agent="content") for _ in range(10)]
    watching = [
        asyncio.create_task(collect(task, worker, hub)) for task in tasks for _ in range(10)
    ]
    channels = [
        f"{worker.settings.redis_global_keyprefix}task_events:{task.task_id}" for task in tasks
    ]

    async def all_subscribed() -> bool:
        counts = await worker.redis.pubsub_numsub(*channels)
        return all(number == 1 for _, number in counts)

    await until(all_subscribed)
    for task in tasks:
        await execute(task.task_id, worker.execution)
    for events in await asyncio.gather(*watching):
        assert statuses(events) == ["queued", "processing", "completed"]
        assert_once_and_in_order(events)


def test_a_full_buffer_is_told_to_the_watcher() -> None:
    subscription = Subscription()
    announcement = (status_event("t", 2, TaskStatus.PROCESSING), None)
    for _ in range(BUFFER_SIZE + 1):
        subscription.push(announcement)

    async def read() -> object:
        return await subscription.next(0.01)

    assert asyncio.run(read()) is None


class TestWithoutRedis:
    """Redis dies: what is durable goes on."""

    @pytest.fixture
    async def worker(
        self, tmp_path: Path, own_valkey: ValkeyServer
    ) -> AsyncIterator[InProcessWorker]:
        settings = make_settings(tmp_path, own_valkey.url, sse_poll_seconds=0.1)
        database = await connect_database(settings)
        repositories = Repositories.over(database)
        await repositories.ensure_indexes()
        async with in_process_worker(settings, repositories) as worker:
            yield worker
        await database.close()

    async def test_a_stream_ends_though_redis_died(
        self, worker: InProcessWorker, own_valkey: ValkeyServer
    ) -> None:
        async with running_hub(worker.settings) as hub:
            task = await worker.accept()
            watching = asyncio.create_task(collect(task, worker, hub))
            await asyncio.sleep(0)
            own_valkey.kill()
            await execute(task.task_id, worker.execution)
            assert statuses(await watching) == ["queued", "processing", "completed"]

    async def test_a_subscriber_hears_again_when_redis_is_back(
        self, worker: InProcessWorker, own_valkey: ValkeyServer
    ) -> None:
        agent = WaitingAgent()
        parts: ExecutionParts = worker.with_agent(agent)
        async with running_hub(worker.settings) as hub:
            task = await worker.accept(agent="test")
            watching = asyncio.create_task(collect(task, worker, hub))
            attempt = asyncio.create_task(execute(task.task_id, parts))
            await agent.started.wait()
            own_valkey.kill()
            own_valkey.start()

            async def is_connected() -> bool:
                return hub.is_connected

            await until(is_connected)
            agent.may_finish.set()
            await attempt
            events = await watching
            assert statuses(events) == ["queued", "processing", "completed"]
            assert_once_and_in_order(events)

    async def test_accepting_does_not_wait_for_a_stalled_broker(
        self, worker: InProcessWorker, own_valkey: ValkeyServer
    ) -> None:
        dispatching = asyncio.create_task(worker.recovery.dispatcher.run())
        own_valkey.pause()
        try:
            async with asyncio.timeout(1):
                task = await worker.accept()
            assert (await worker.reload(task)).status is TaskStatus.QUEUED
        finally:
            own_valkey.resume()
            dispatching.cancel()
            await asyncio.gather(dispatching, return_exceptions=True)
