"""Finding tasks that nobody works on, and giving each the end or the worker it is owed."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.clock import Clock
from app.core.config import Settings
from app.core.errors import (
    AppError,
    AttemptsExhaustedError,
    EventBusUnavailableError,
    TaskDeadlineExceededError,
)
from app.core.logging import get_logger, log_context
from app.db.repositories import Repositories
from app.messaging.events import EventPublisher
from app.messaging.queue import Dispatcher, QueueDepth
from app.models.domain.event import status_event
from app.models.domain.task import Task, TaskError, TaskStatus
from app.services.retry import RetryPolicy, next_attempt_at

logger = get_logger("recovery")

LEASE_NAME = "recovery"
BATCH = 500


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done."""


@dataclass(frozen=True)
class Redispatch:
    """Publish the task, again if it was before."""


@dataclass(frozen=True)
class Requeue:
    """Take the task from a worker that has gone silent and let another attempt begin."""

    at: datetime


@dataclass(frozen=True)
class Fail:
    """End the task: no attempt is left, or no time."""

    error: AppError


Decision = Wait | Redispatch | Requeue | Fail


def decide(task: Task, now: datetime, policy: RetryPolicy, *, queue_is_empty: bool) -> Decision:
    """What recovery does about a task. Pure.

    Args:
        task: as the store has it.
        now: compared with the task's lease, due time and deadline.
        policy: the backoff before another attempt; here without jitter, for a worker's death
            needs no spreading.
        queue_is_empty: the broker holds no message, so a published task that is still queued
            has lost its message.
    """
    if task.status is TaskStatus.PROCESSING:
        if task.lease is not None and task.lease.expires_at > now:
            return Wait()
        if task.deadline_at <= now:
            return Fail(TaskDeadlineExceededError("The task did not end before its deadline."))
        due = next_attempt_at(task, retryable=True, now=now, policy=policy, jitter=0.0)
        if due is None:
            return Fail(
                AttemptsExhaustedError(
                    f"The worker was lost in each of {task.attempts_used} attempts, or in the last."
                )
            )
        return Requeue(due)
    if task.status is TaskStatus.QUEUED:
        if task.deadline_at <= now:
            return Fail(TaskDeadlineExceededError("The task was not begun before its deadline."))
        if task.next_attempt_at is not None and task.next_attempt_at > now:
            return Wait()
        overdue = task.next_dispatch_at is None or task.next_dispatch_at <= now
        lost = queue_is_empty and task.dispatched_at is not None
        return Redispatch() if overdue or lost else Wait()
    return Wait()


@dataclass(frozen=True)
class RecoveryParts:
    """What a sweep needs."""

    repositories: Repositories
    dispatcher: Dispatcher
    publisher: EventPublisher
    queue_depth: QueueDepth
    retry_policy: RetryPolicy
    settings: Settings
    holder: str
    clock: Clock


async def run_sweeps(parts: RecoveryParts) -> None:
    """Sweep at the configured interval until cancelled. Every worker process runs this."""
    try:
        while True:
            try:
                await sweep(parts)
            except AppError as error:
                logger.warning("sweep_failed", error=error.message)
            await asyncio.sleep(parts.settings.sweep_interval_seconds)
    finally:
        await parts.repositories.leases.release(LEASE_NAME, holder=parts.holder)


async def sweep(parts: RecoveryParts) -> int:
    """One round, if this process has the lease; returns how many tasks it acted on."""
    interval = timedelta(seconds=parts.settings.sweep_interval_seconds)
    elected = await parts.repositories.leases.acquire(
        LEASE_NAME, holder=parts.holder, now=parts.clock(), length=interval * 3
    )
    if not elected:
        return 0
    tasks = parts.repositories.tasks
    now = parts.clock()
    queue_is_empty = await _queue_is_empty(parts.queue_depth)
    suspects = [
        *await tasks.find_expired_leases(now=now, limit=BATCH),
        *await tasks.find_queued_past_deadline(now=now, limit=BATCH),
        *await tasks.find_to_dispatch(now=now, limit=BATCH),
    ]
    if queue_is_empty:
        suspects += await tasks.find_dispatched_before(now - interval, limit=BATCH)
    acted = 0
    for task in {task.task_id: task for task in suspects}.values():
        decision = decide(task, now, parts.retry_policy, queue_is_empty=queue_is_empty)
        acted += await _act(task, decision, now, parts)
    return acted


async def _queue_is_empty(depth: QueueDepth) -> bool:
    try:
        return await depth.read() == 0
    except EventBusUnavailableError:
        return False


async def _act(task: Task, decision: Decision, now: datetime, parts: RecoveryParts) -> bool:
    tasks = parts.repositories.tasks
    with log_context(task_id=task.task_id, attempt=task.attempt):
        match decision:
            case Wait():
                return False
            case Redispatch():
                logger.info("task_dispatched_again", dispatches=task.dispatches)
                parts.dispatcher.offer(task.task_id, dispatches=task.dispatches)
                return True
            case Requeue(at):
                changed = await tasks.requeue(task, _lost_worker(task), next_attempt_at=at, now=now)
                following = TaskStatus.QUEUED
                if changed:
                    logger.warning("lease_taken_over", worker_id=_holder(task))
                    parts.dispatcher.offer(task.task_id)
            case Fail(error):
                details = TaskError(
                    type=type(error).__name__, code=error.code, message=error.message
                )
                changed = await tasks.fail(task, details, now=now)
                following = TaskStatus.FAILED
                if changed:
                    logger.error("task_failed", error_type=details.type, error=details.message)
        if changed:
            event = status_event(task.task_id, task.event_seq + 1, following)
            await parts.publisher.publish(task.task_id, [event])
        return changed


def _holder(task: Task) -> str | None:
    return task.lease.worker_id if task.lease else None


def _lost_worker(task: Task) -> TaskError:
    return TaskError(
        type="WorkerLostError",
        code="WORKER_LOST",
        message=f"Worker {_holder(task)} stopped renewing its lease.",
    )
