"""Finding tasks that nobody works on, and giving each the end or the worker it is owed."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.clock import Clock
from app.core.config import Settings
from app.core.errors import (
    AppError,
    AttemptsExhaustedError,
    EventBusUnavailableError,
    StoreUnavailableError,
    TaskDeadlineExceededError,
)
from app.core.logging import get_logger, log_context
from app.db.repositories import Repositories
from app.messaging.events import EventPublisher
from app.messaging.queue import Dispatcher, QueueDepth
from app.models.domain.event import status_event
from app.models.domain.task import Task, TaskError, TaskStatus
from app.services.dispatching import dispatch_again
from app.services.failing import fail_task

logger = get_logger("recovery")

LEASE_NAME = "recovery"
BATCH = 500
RELEASE_SECONDS = 1.0
WORKER_LOST = TaskError(
    type="WorkerLostError",
    code="WORKER_LOST",
    message="The worker that had the task stopped renewing its lease.",
)


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done."""


@dataclass(frozen=True)
class Redispatch:
    """Publish the task, again if it was before."""


@dataclass(frozen=True)
class Requeue:
    """Take the task from a worker that has gone silent and let another attempt begin."""


@dataclass(frozen=True)
class Fail:
    """End the task: no attempt is left, or no time."""

    error: AppError


Decision = Wait | Redispatch | Requeue | Fail


def decide(task: Task, now: datetime, *, queue_is_empty: bool, overrun: timedelta) -> Decision:
    """What recovery does about a task. Pure.

    Args:
        task: as the store has it.
        now: compared with the task's lease, due time and deadline.
        queue_is_empty: the broker holds no message, so a published task that is still queued
            has lost its message.
        overrun: how long after its deadline a task may still be held by a worker that is alive;
            workers end their tasks at the deadline themselves.
    """
    if task.status is TaskStatus.PROCESSING:
        return _decide_on_held(task, now, overrun)
    if task.status is not TaskStatus.QUEUED:
        return Wait()
    if task.deadline_at <= now:
        return Fail(TaskDeadlineExceededError("The task was not begun before its deadline."))
    if task.next_attempt_at is not None and task.next_attempt_at > now:
        return Wait()
    is_due = task.next_dispatch_at is not None and task.next_dispatch_at <= now
    is_lost = queue_is_empty and task.dispatched_at is not None
    return Redispatch() if is_due or is_lost else Wait()


def _decide_on_held(task: Task, now: datetime, overrun: timedelta) -> Decision:
    late = TaskDeadlineExceededError("The task did not end before its deadline.")
    if task.deadline_at + overrun <= now:
        return Fail(late)
    if task.lease is not None and task.lease.expires_at > now:
        return Wait()
    if task.deadline_at <= now:
        return Fail(late)
    if task.attempts_used >= task.max_attempts:
        return Fail(
            AttemptsExhaustedError(
                f"The last of {task.attempts_used} attempts ended with the loss of its worker."
            )
        )
    return Requeue()


@dataclass(frozen=True)
class RecoveryParts:
    """What a sweep needs."""

    repositories: Repositories
    dispatcher: Dispatcher
    publisher: EventPublisher
    queue_depth: QueueDepth
    settings: Settings
    holder: str
    clock: Clock


async def run_sweeps(parts: RecoveryParts) -> None:
    """Sweep at the configured interval until cancelled. Every worker process runs this."""
    try:
        while True:
            try:
                await sweep(parts)
            except Exception:
                # The next sweep may do better; without any, nothing lost would ever be found.
                logger.exception("sweep_failed")
            await asyncio.sleep(parts.settings.sweep_interval_seconds)
    finally:
        # A courtesy to the next holder, who gets the lease anyway when it runs out.
        with contextlib.suppress(StoreUnavailableError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await parts.repositories.leases.release(LEASE_NAME, holder=parts.holder)


async def sweep(parts: RecoveryParts) -> int:
    """One round, if this process has the lease; returns how many tasks it acted on."""
    interval = timedelta(seconds=parts.settings.sweep_interval_seconds)
    elected = await parts.repositories.leases.acquire(
        LEASE_NAME, holder=parts.holder, now=parts.clock(), length=interval * 3
    )
    if not elected:
        return 0
    return await _end_and_take_over(parts) + await _dispatch(parts)


async def _end_and_take_over(parts: RecoveryParts) -> int:
    tasks, now = parts.repositories.tasks, parts.clock()
    overrun = timedelta(seconds=parts.settings.lease_seconds)
    suspects = [
        *await tasks.find_expired_leases(now=now, limit=BATCH),
        *await tasks.find_past_deadline(now - overrun, status=TaskStatus.PROCESSING, limit=BATCH),
        *await tasks.find_past_deadline(now, status=TaskStatus.QUEUED, limit=BATCH),
    ]
    acted = 0
    for task in {task.task_id: task for task in suspects}.values():
        decision = decide(task, now, queue_is_empty=False, overrun=overrun)
        with log_context(task_id=task.task_id, attempt=task.attempt):
            acted += await _act(task, decision, now, parts)
    return acted


async def _dispatch(parts: RecoveryParts) -> int:
    tasks, now = parts.repositories.tasks, parts.clock()
    overrun = timedelta(seconds=parts.settings.lease_seconds)
    try:
        queue_is_empty = await parts.queue_depth.read() == 0
    except EventBusUnavailableError:
        # Nothing could be published.
        return 0
    suspects = await tasks.find_to_dispatch(now=now, limit=BATCH)
    if queue_is_empty:
        interval = timedelta(seconds=parts.settings.sweep_interval_seconds)
        suspects += await tasks.find_dispatched_before(now - interval, limit=BATCH)
    due = [
        task
        for task in {task.task_id: task for task in suspects}.values()
        if decide(task, now, queue_is_empty=queue_is_empty, overrun=overrun) == Redispatch()
    ]
    if due:
        logger.info("tasks_dispatched_again", count=len(due))
        await dispatch_again(
            due,
            repository=tasks,
            dispatcher=parts.dispatcher,
            settings=parts.settings,
            clock=parts.clock,
        )
    return len(due)


async def _act(task: Task, decision: Decision, now: datetime, parts: RecoveryParts) -> bool:
    match decision:
        case Wait() | Redispatch():
            return False
        case Requeue():
            following = TaskStatus.QUEUED
            changed = await parts.repositories.tasks.requeue(
                task, WORKER_LOST, now=now, unless_renewed=True
            )
            if changed:
                holder = task.lease.worker_id if task.lease else None
                logger.warning("lease_taken_over", worker_id=holder)
        case Fail(error):
            following = TaskStatus.FAILED
            details = TaskError(type=type(error).__name__, code=error.code, message=error.message)
            changed = await fail_task(
                task,
                details,
                cost=task.cost,
                now=now,
                repositories=parts.repositories,
                unless_renewed=task.deadline_at > now,
            )
    if changed:
        event = status_event(task.task_id, task.event_seq + 1, following)
        await parts.publisher.publish(task.task_id, [event])
    return changed
