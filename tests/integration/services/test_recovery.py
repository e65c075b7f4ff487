"""The sweep, on real stores and a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from app.core.clock import utc_now
from app.db.database import Database
from app.messaging.queue import Dispatcher, make_producer
from app.models.domain.task import TaskStatus
from app.services.dispatching import take_back_dispatches
from app.services.execution import execute
from app.services.recovery import LEASE_NAME, WORKER_LOST, sweep
from tests.support.execution import InProcessWorker
from tests.support.waiting import until

MINUTE = timedelta(minutes=1)


async def queued_messages(worker: InProcessWorker) -> int | None:
    return await worker.recovery.queue_depth.read()


@asynccontextmanager
async def dispatching(worker: InProcessWorker) -> AsyncIterator[None]:
    running = asyncio.create_task(worker.recovery.dispatcher.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def published(worker: InProcessWorker, count: int) -> None:
    """Have the dispatcher publish what it was offered, until so many messages wait."""

    async def all_wait() -> bool:
        return await queued_messages(worker) == count

    async with dispatching(worker):
        await until(all_wait)


async def test_a_task_whose_worker_died_is_done_by_another(worker: InProcessWorker) -> None:
    task = await worker.accept()
    await worker.repositories.tasks.claim(
        task.task_id, worker_id="dead", now=utc_now(), lease=timedelta(0)
    )
    assert await sweep(worker.recovery) == 2  # taken over, and published

    waiting = await worker.reload(task)
    assert waiting.status is TaskStatus.QUEUED
    assert waiting.error is not None
    assert waiting.error.code == "WORKER_LOST"
    assert [failure.worker_id for failure in waiting.failures] == ["dead"]
    await execute(task.task_id, worker.execution)
    assert (await worker.reload(task)).status is TaskStatus.COMPLETED


async def test_a_task_that_kills_its_workers_fails_after_its_last_attempt(
    worker: InProcessWorker,
) -> None:
    task = await worker.accept()
    for _ in range(worker.settings.task_max_attempts):
        claimed = await worker.repositories.tasks.claim(
            task.task_id, worker_id="killed", now=utc_now(), lease=timedelta(0)
        )
        assert claimed is not None
        await sweep(worker.recovery)
    failed = await worker.reload(task)
    assert failed.status is TaskStatus.FAILED
    assert failed.error is not None
    assert failed.error.type == "AttemptsExhaustedError"


async def test_a_task_that_was_never_published_is_published(worker: InProcessWorker) -> None:
    await worker.accept()
    # The API dies between storing and publishing: what it had offered is gone with it.
    dispatcher = Dispatcher(
        make_producer(worker.settings),
        take_back_dispatches(worker.repositories.tasks, utc_now),
    )
    late = replace(
        worker.recovery, dispatcher=dispatcher, clock=lambda: utc_now() + timedelta(minutes=1)
    )
    assert await sweep(late) == 1
    await published(replace(worker, recovery=late), 1)


async def test_tasks_whose_messages_were_lost_are_published_again(worker: InProcessWorker) -> None:
    for _ in range(5):
        await worker.accept()
    await published(worker, 5)
    await worker.redis.flushall()
    later = replace(worker.recovery, clock=lambda: utc_now() + timedelta(seconds=2))
    assert await sweep(later) == 5
    await published(worker, 5)


async def test_what_the_broker_did_not_take_is_published_by_the_next_sweep(
    worker: InProcessWorker,
) -> None:
    task = await worker.accept()
    await take_back_dispatches(worker.repositories.tasks, utc_now)([task.task_id])
    waiting = await worker.reload(task)
    assert waiting.dispatched_at is None
    assert await sweep(worker.recovery) == 1


async def test_tasks_that_wait_in_the_queue_are_not_published_again(
    worker: InProcessWorker,
) -> None:
    for _ in range(3):
        await worker.accept()
    await published(worker, 3)
    later = replace(worker.recovery, clock=lambda: utc_now() + timedelta(seconds=2))
    assert await sweep(later) == 0


async def test_a_queued_task_past_its_deadline_fails(worker: InProcessWorker) -> None:
    task = await worker.accept()
    late = timedelta(seconds=worker.settings.task_deadline_seconds + 1)
    await sweep(replace(worker.recovery, clock=lambda: utc_now() + late))
    failed = await worker.reload(task)
    assert failed.status is TaskStatus.FAILED
    assert failed.error is not None
    assert failed.error.code == "DEADLINE_EXCEEDED"


async def test_one_process_sweeps_and_another_takes_over_when_it_is_gone(
    worker: InProcessWorker,
) -> None:
    other = replace(worker.recovery, holder="another")
    await worker.accept()
    assert await sweep(worker.recovery) == 0
    leases = worker.repositories.leases
    soon = utc_now()
    assert not await leases.acquire(LEASE_NAME, holder="another", now=soon, length=MINUTE)
    assert await leases.acquire(
        LEASE_NAME, holder=worker.recovery.holder, now=soon, length=timedelta(0)
    )
    later = replace(other, clock=lambda: utc_now() + MINUTE)
    assert await sweep(later) == 1


async def test_a_lease_that_was_renewed_meanwhile_is_left_alone(worker: InProcessWorker) -> None:
    task = await worker.accept()
    tasks = worker.repositories.tasks
    await tasks.claim(task.task_id, worker_id="w", now=utc_now(), lease=timedelta(0))
    seen = await worker.reload(task)
    await tasks.renew_leases([task.task_id], worker_id="w", now=utc_now(), lease=MINUTE)
    assert not await tasks.requeue(seen, WORKER_LOST, now=utc_now(), unless_renewed=True)


async def test_one_unreadable_document_does_not_keep_the_others_from_being_recovered(
    worker: InProcessWorker, database: Database
) -> None:
    tasks = [await worker.accept() for _ in range(2)]
    for task in tasks:
        await worker.repositories.tasks.claim(
            task.task_id, worker_id="dead", now=utc_now(), lease=timedelta(0)
        )
    await database.collection("tasks").update_one(
        {"_id": tasks[0].task_id}, {"$set": {"attempt": "unreadable"}}
    )
    assert await sweep(worker.recovery) == 2  # taken over, and published
    assert (await worker.reload(tasks[1])).status is TaskStatus.QUEUED


async def test_a_finished_task_is_never_touched(worker: InProcessWorker) -> None:
    task = await worker.accept()
    await execute(task.task_id, worker.execution)
    before = await worker.reload(task)
    assert await sweep(replace(worker.recovery, clock=lambda: utc_now() + 1000 * MINUTE)) == 0
    assert await worker.reload(task) == before
