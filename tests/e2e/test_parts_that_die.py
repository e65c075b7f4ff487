"""One part of a running system dies or stalls, and no task is lost, doubled or left behind."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import httpx2
import pytest

from tests.support.model_server import ModelServer, Reply
from tests.support.sse import Frame, next_event, open_stream, statuses, watch
from tests.support.system import RunningSystem, running_system, store_of
from tests.support.tasks_over_http import client_of, post_task, task_at_end

QUICKLY_SECONDS = 1.5
"""Less than any time-out towards Valkey: nobody who submits a task waits for one."""


@pytest.fixture(scope="module")
def slow_model() -> Iterator[ModelServer]:
    """A model whose articles take a second or two to stream."""
    with ModelServer(token_delay=0.03) as server:
        yield server


@pytest.fixture(scope="module")
def system(
    slow_model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSystem]:
    """A system that goes through all of this."""
    with running_system(
        tmp_path_factory.mktemp("restless") / "data",
        OPENAI_BASE_URL=slow_model.base_url,
        LEASE_SECONDS="3",
        SWEEP_INTERVAL_SECONDS="0.5",
    ) as system:
        yield system


@pytest.fixture
async def client(system: RunningSystem) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that system."""
    async with client_of(system.url) as client:
        yield client


async def post_articles(client: httpx2.AsyncClient, count: int, subject: str) -> list[str]:
    """Submit writing tasks, which take the model a while."""
    return [
        await post_task(client, f"Write article {number} about {subject}")
        for number in range(count)
    ]


async def wait_for_a_token(client: httpx2.AsyncClient, task_id: str) -> None:
    """Wait until the model's answer is on its way."""
    async with open_stream(client, task_id) as frames:
        while (await next_event(frames)).event != "token":
            pass


async def assert_done_once(
    system: RunningSystem, client: httpx2.AsyncClient, task_ids: list[str]
) -> None:
    """Wait for the tasks' completion; each has one run of its executor and one answer."""
    for task_id in task_ids:
        task = await task_at_end(client, task_id, within=30)
        assert task["status"] == "completed", task["error"]
    async with store_of(system.data_dir) as store:
        for task_id in task_ids:
            runs = await store.agent_runs.list_for_task(task_id)
            assert [run.agent_role for run in runs] == ["router", "executor"]
            messages = await store.messages.list_for_task(task_id)
            assert [message.role for message in messages] == ["user", "assistant"]
    completed = [line["task_id"] for line in system.lines("task_completed")]
    assert [completed.count(task_id) for task_id in task_ids] == [1] * len(task_ids)


def assert_in_order(events: list[Frame]) -> None:
    """Every event came once, and behind those before it."""
    ids = [tuple(int(part) for part in (event.id or "").split("-")) for event in events]
    assert ids == sorted(set(ids))


async def test_tasks_of_a_killed_worker_are_finished_by_its_successor(
    system: RunningSystem, client: httpx2.AsyncClient
) -> None:
    task_ids = await post_articles(client, 4, "rivers")
    for task_id in task_ids:
        await wait_for_a_token(client, task_id)

    killed = await asyncio.to_thread(system.kill_child, "worker-1")
    await asyncio.to_thread(system.wait_for_successor, "worker-1", killed)

    assert system.lines("child_died", name="worker-1")[-1]["reason"] == "signal SIGKILL"
    await assert_done_once(system, client, task_ids)
    for task_id in task_ids:
        events = await watch(client, task_id)
        assert_in_order(events)
        assert statuses(events) == ["queued", "processing", "queued", "processing", "completed"]


async def test_a_subscriber_that_comes_back_after_the_apis_death_sees_every_event_once(
    system: RunningSystem, client: httpx2.AsyncClient, slow_model: ModelServer
) -> None:
    # Long enough that the API is back before the end, so that the end is seen live again.
    slow_model.rule("about mountains", Reply.text("# Mountains\n\n" + "High and far away. " * 30))
    task_id = await post_task(client, "Write an article about mountains", agent="content")
    seen: list[Frame] = []
    async with open_stream(client, task_id) as frames:
        while not seen or seen[-1].event != "token":
            seen.append(await next_event(frames))
        killed = system.kill_child("api")
        with suppress(httpx2.TransportError):
            async for frame in frames:
                seen += [frame] if frame.data is not None else []
            pytest.fail("the stream of a killed process ended as if it were whole")

    await asyncio.to_thread(system.wait_for_successor, "api", killed)
    async with client_of(system.url) as new_client:
        seen += await watch(new_client, task_id, headers={"Last-Event-ID": seen[-1].id})
        task = await task_at_end(new_client, task_id)

    assert_in_order(seen)
    assert statuses(seen) == ["queued", "processing", "completed"]
    streamed = "".join(event.json["text"] for event in seen if event.event == "token")
    assert streamed == task["result"]["raw_output"]
    assert task["attempt"] == 1


async def test_tasks_are_accepted_while_valkey_is_dead_and_done_when_it_is_back(
    system: RunningSystem, client: httpx2.AsyncClient
) -> None:
    api, worker = system.pid_of("api"), system.pid_of("worker-1")
    address = (system.data_dir / "redis.url").read_text()
    [running] = await post_articles(client, 1, "lakes")
    await wait_for_a_token(client, running)

    killed = system.kill_child("valkey")
    posted = await post_articles(client, 3, "lakes without a broker")
    await asyncio.to_thread(system.wait_for_successor, "valkey", killed)

    assert (system.data_dir / "redis.url").read_text() == address
    await assert_done_once(system, client, [running, *posted])
    for task_id in [running, *posted]:
        events = await watch(client, task_id)
        assert_in_order(events)
        assert statuses(events) == ["queued", "processing", "completed"]
    assert (system.pid_of("api"), system.pid_of("worker-1")) == (api, worker)


async def test_tasks_are_accepted_quickly_while_valkey_is_stalled(
    system: RunningSystem, client: httpx2.AsyncClient
) -> None:
    api, worker = system.pid_of("api"), system.pid_of("worker-1")
    task_ids: list[str] = []
    slowest = 0.0

    valkey = system.pid_of("valkey")
    os.kill(valkey, signal.SIGSTOP)
    try:
        for subject in ("seas", "oceans"):
            for _ in range(3):
                began = time.monotonic()
                task_ids += await post_articles(client, 1, subject)
                slowest = max(slowest, time.monotonic() - began)
            # The probe gives Valkey two seconds, so the stall takes twice that.
            health = await client.get("/health")
            assert (health.status_code, health.text) == (
                200,
                "degraded | mongo=up | redis=down | env=test",
            )
    finally:
        os.kill(valkey, signal.SIGCONT)

    assert slowest < QUICKLY_SECONDS
    await assert_done_once(system, client, task_ids)
    assert (system.pid_of("api"), system.pid_of("worker-1")) == (api, worker)
