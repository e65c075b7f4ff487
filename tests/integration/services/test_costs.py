"""What a task costs the store and Redis: more is a regression, less a reason to look."""

import time

from prometheus_client import REGISTRY

from app.services.execution import execute
from app.services.task_feed import GATHER_SECONDS
from tests.support.execution import InProcessWorker


def store_operations() -> dict[str, float]:
    """Operations so far, by collection and kind."""
    return {
        f"{sample.labels['collection']}.{sample.labels['operation']}": sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "store_operation_seconds_count" and sample.value
    }


def difference(after: dict[str, float], before: dict[str, float]) -> dict[str, int]:
    changes = {name: int(after[name] - before.get(name, 0)) for name in after}
    return {name: count for name, count in changes.items() if count}


async def test_store_operations_of_a_task(worker: InProcessWorker) -> None:
    before = store_operations()
    task = await worker.accept("Write a blog article about tea")
    accepted = store_operations()
    assert difference(accepted, before) == {"sessions.update_one": 1, "tasks.insert_one": 1}

    await execute(task.task_id, worker.execution)
    assert difference(store_operations(), accepted) == {
        "tasks.find_one_and_update": 1,  # the claim
        "agent_runs.insert_one": 2,  # router and agent, each before it is acted upon
        "messages.insert_many": 1,
        "tasks.update_one": 1,  # the result
    }


async def test_redis_round_trips_of_an_attempt(worker: InProcessWorker) -> None:
    async def round_trips() -> int:
        # Valkey counts each reading of a client's socket: a pipeline or a script is one.
        info = await worker.redis.info("stats")
        return int(info["total_reads_processed"])

    task = await worker.accept("Write a blog article about tea")
    await execute((await worker.accept()).task_id, worker.execution)  # connections, script loaded
    asking = -(await round_trips() - await round_trips())
    before = await round_trips()
    started = time.monotonic()
    await execute(task.task_id, worker.execution)
    seconds = time.monotonic() - started
    spent = await round_trips() - before - asking
    # What came of it, and `completed`; what takes longer tells of it meanwhile.
    assert 2 <= spent <= 2 + seconds / GATHER_SECONDS
