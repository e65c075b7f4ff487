"""Everything ends, by force or on request, and the next start goes on where it was left."""

from pathlib import Path

import httpx2

from app.models.domain.task import TaskStatus
from tests.support.model_server import ModelServer, Reply
from tests.support.sse import statuses, watch
from tests.support.system import STOP_SECONDS, RunningSystem, running_system, store_of
from tests.support.tasks_over_http import (
    client_of,
    count_tasks,
    get_task,
    post_task,
    task_at_end,
    wait_for_status,
)
from tests.support.waiting import until

CODING_TASK = "Write a Python function that adds two numbers"
HANGING_CODER = ("GeneratedCode", Reply(kind="hang"))
"""The router answers, and then CodeAgent waits for ever for its model."""


async def test_kill_9_of_everything_loses_nothing_and_the_next_start_finishes_the_rest(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "data"
    settings = {
        "LEASE_SECONDS": "3",
        "SWEEP_INTERVAL_SECONDS": "0.5",
        "WORKER_CONCURRENCY": "2",
    }
    with ModelServer() as model:
        model.rule(*HANGING_CODER)
        with running_system(data_dir, OPENAI_BASE_URL=model.base_url, **settings) as system:
            async with client_of(system.url) as client:
                finished = [await post_task(client, "Write an article about tea") for _ in range(2)]
                before = [await task_at_end(client, task_id) for task_id in finished]
                running = [await post_task(client, CODING_TASK) for _ in range(2)]
                for task_id in running:
                    await wait_for_hanging_coder(client, task_id)
                queued = [await post_task(client, "Write an article about ink") for _ in range(3)]
                assert [(await get_task(client, task_id))["status"] for task_id in queued] == [
                    "queued"
                ] * 3

            system.kill()
            assert system.left_running() == []

    with (
        ModelServer() as model,
        running_system(data_dir, OPENAI_BASE_URL=model.base_url, **settings) as system,
    ):
        async with client_of(system.url) as client:
            assert await count_tasks(client) == 7
            assert [await get_task(client, task_id) for task_id in finished] == before
            for task_id in [*running, *queued]:
                task = await task_at_end(client, task_id)
                assert task["status"] == "completed", task["error"]
                assert [run["agent_role"] for run in task["agent_runs"]] == ["router", "executor"]
            for task_id in running:
                assert statuses(await watch(client, task_id)) == [
                    *("queued", "processing", "queued", "processing", "completed")
                ]
        # What the router had decided before the kill was recorded, and is not paid for again.
        routed_again = [call for call in model.calls if call.schema == "TaskClassification"]
        assert len(routed_again) == len(queued)


async def test_sigterm_hands_tasks_back_and_the_next_start_finishes_them(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with ModelServer() as model:
        model.rule(*HANGING_CODER)
        with running_system(data_dir, OPENAI_BASE_URL=model.base_url) as system:
            async with client_of(system.url) as client:
                task_ids = [await post_task(client, CODING_TASK) for _ in range(3)]
                for task_id in task_ids:
                    await wait_for_hanging_coder(client, task_id)

            assert system.terminate() < STOP_SECONDS
            assert system.left_running() == []
            assert_every_child_ended_by_itself(system)

    async with store_of(data_dir) as store:
        for task_id in task_ids:
            task = await store.tasks.load(task_id)
            assert task is not None
            assert (task.status, task.lease) == (TaskStatus.QUEUED, None)
            assert (task.attempt, task.attempts_used) == (1, 0)

    with (
        ModelServer() as model,
        running_system(data_dir, OPENAI_BASE_URL=model.base_url) as system,
    ):
        async with client_of(system.url) as client:
            for task_id in task_ids:
                task = await task_at_end(client, task_id)
                assert task["status"] == "completed", task["error"]
                assert statuses(await watch(client, task_id)) == [
                    *("queued", "processing", "queued", "processing", "completed")
                ]


async def wait_for_hanging_coder(client: httpx2.AsyncClient, task_id: str) -> None:
    """Wait until the task is routed and its agent is at work."""
    await wait_for_status(client, task_id, "processing")
    await until(lambda: has_been_routed(client, task_id))


async def has_been_routed(client: httpx2.AsyncClient, task_id: str) -> bool:
    """Whether the router's run is recorded."""
    return bool((await get_task(client, task_id))["agent_runs"])


def assert_every_child_ended_by_itself(system: RunningSystem) -> None:
    """Nobody had to be killed."""
    reasons = {line["name"]: line["reason"] for line in system.lines("child_stopped")}
    assert set(reasons) == set(system.children())
    assert "signal SIGKILL" not in reasons.values()
