"""One attempt of a task, from its claim to its end."""

import asyncio
import contextlib
import random
import traceback
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from app.agents.peer_agent import PeerAgent, PeerAgentOutcome
from app.agents.spec import AgentTask
from app.core.clock import Clock
from app.core.errors import AppError, StoreUnavailableError, TaskDeadlineExceededError
from app.core.logging import get_logger, log_context
from app.db.repositories import Repositories
from app.messaging.events import EventPublisher
from app.models.domain.agent_run import TokenUsage
from app.models.domain.task import Task, TaskCost, TaskError, TaskResult, TaskStatus
from app.services.failing import fail_task, message_of
from app.services.lease_keeper import Hold, Interruption, LeaseKeeper, WorkInterruptedError
from app.services.retry import RetryPolicy, next_attempt_at
from app.services.step_log import StoredStepLog
from app.services.task_feed import TaskFeed

logger = get_logger("execution")

ATTEMPTS_IN_FLIGHT = Gauge("worker_attempts_in_flight", "Attempts this process works on at present")
ATTEMPTS = Counter("worker_attempts_total", "Attempts that ended, by how", ("outcome",))
TASK_SECONDS = Histogram(
    "worker_task_seconds",
    "From acceptance to completion of a task, in seconds",
    ("agent",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900),
)


@dataclass(frozen=True)
class ExecutionParts:
    """What an attempt needs; made once per worker process."""

    repositories: Repositories
    peer_agent: PeerAgent
    publisher: EventPublisher
    leases: LeaseKeeper
    retry_policy: RetryPolicy
    clock: Clock


async def execute(task_id: str, parts: ExecutionParts) -> None:
    """Run the task, if it waits to be run; any second delivery of its id does nothing.

    Never raises: what goes wrong with the task is in its document. If the store fails in the
    middle the lease runs out, and recovery gives the task to another attempt.
    """
    try:
        task = await parts.repositories.tasks.claim(
            task_id,
            worker_id=parts.leases.worker_id,
            now=parts.clock(),
            lease=parts.leases.lease,
        )
        if task is None:
            logger.info("task_not_claimable", task_id=task_id)
            return
        context = log_context(
            task_id=task_id,
            session_id=task.session_id,
            attempt=task.attempt,
            request_id=task.metadata.request_id,
        )
        feed = TaskFeed(task, parts.publisher)
        with (
            context,
            ATTEMPTS_IN_FLIGHT.track_inprogress(),
            contextlib.closing(feed),
            parts.leases.held(task) as hold,
        ):
            await _run_attempt(task, hold, feed, parts)
    except Exception:
        # The store failed, or there is a fault in this module: the lease, not renewed any more,
        # brings the task back. Raising would only have Celery log it a second time.
        ATTEMPTS.labels("abandoned").inc()
        logger.exception("attempt_abandoned", task_id=task_id)


async def _run_attempt(task: Task, hold: Hold, feed: TaskFeed, parts: ExecutionParts) -> None:
    logger.info("task_started", waited_ms=_milliseconds(task, parts.clock))
    steps = StoredStepLog(task, parts.repositories.agent_runs)
    work = AgentTask(
        task_id=task.task_id,
        session_id=task.session_id,
        text=task.input_text,
        attempt=task.attempt,
        requested_agent=task.requested_agent,
    )
    deadline = asyncio.timeout((task.deadline_at - parts.clock()).total_seconds())
    try:
        with hold.interruptible():
            async with deadline:
                feed.begin()
                outcome = await parts.peer_agent.run(work, steps=steps, events=feed)
    except WorkInterruptedError as interrupted:
        await _let_go(task, interrupted.interruption, feed, parts)
    except StoreUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - an agent may raise anything; the task must end
        late = TaskDeadlineExceededError("The task did not end before its deadline.")
        failure = late if deadline.expired() else error
        await _end_failed(task, failure, steps.usage, feed, parts)
    else:
        await _end_completed(task, outcome, steps.usage, feed, parts)


async def _end_completed(
    task: Task, outcome: PeerAgentOutcome, usage: TokenUsage, feed: TaskFeed, parts: ExecutionParts
) -> None:
    output, classification = outcome.output, outcome.classification
    now = parts.clock()
    messages = [
        message_of(task, "user", None, task.input_text, at=task.created_at),
        message_of(task, "assistant", classification.agent_name, output.content, at=now),
    ]
    # Whoever sees the end in the store must find everything before it in the stream.
    await asyncio.gather(parts.repositories.messages.add(messages), feed.flush())
    completed = await parts.repositories.tasks.complete(
        task,
        selected_agent=classification.agent_name,
        agent_type=classification.agent_type,
        reason=classification.reasoning,
        result=TaskResult(
            summary=output.summary,
            raw_output=output.content,
            code_language=output.code_language,
            citations=output.citations,
            model=output.model,
        ),
        cost=_cost(usage),
        now=now,
    )
    if not completed:
        _note_discarded()
        return
    ATTEMPTS.labels("completed").inc()
    TASK_SECONDS.labels(classification.agent_name).observe((now - task.created_at).total_seconds())
    logger.info("task_completed", agent_name=classification.agent_name, total_tokens=usage.total)
    await feed.status(task.event_seq + 1, TaskStatus.COMPLETED)


async def _end_failed(
    task: Task, error: Exception, usage: TokenUsage, feed: TaskFeed, parts: ExecutionParts
) -> None:
    await feed.flush()
    now = parts.clock()
    details = describe_error(error)
    unexpected = None if isinstance(error, AppError) else error
    logger.warning(
        "attempt_failed", error_type=details.type, error=details.message, exc_info=unexpected
    )
    due = next_attempt_at(
        task,
        retryable=isinstance(error, AppError) and error.retryable,
        now=now,
        policy=parts.retry_policy,
        jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
    )
    if due is not None:
        outcome, following = "to_be_retried", TaskStatus.QUEUED
        owned = await parts.repositories.tasks.requeue(task, details, not_before=due, now=now)
    else:
        outcome, following = "failed", TaskStatus.FAILED
        owned = await fail_task(
            task, details, cost=_cost(usage), now=now, repositories=parts.repositories
        )
    if not owned:
        _note_discarded()
        return
    ATTEMPTS.labels(outcome).inc()
    await feed.status(task.event_seq + 1, following)


async def _let_go(
    task: Task, interruption: Interruption, feed: TaskFeed, parts: ExecutionParts
) -> None:
    if interruption is Interruption.LEASE_LOST:
        # The task is another's now; there is nothing to write.
        ATTEMPTS.labels("superseded").inc()
        logger.warning("attempt_superseded")
        return
    await feed.flush()
    if await parts.repositories.tasks.requeue(task, None, now=parts.clock()):
        ATTEMPTS.labels("handed_back").inc()
        logger.info("task_handed_back")
        await feed.status(task.event_seq + 1, TaskStatus.QUEUED)


def _note_discarded() -> None:
    ATTEMPTS.labels("discarded").inc()
    logger.warning("outcome_discarded", reason="the attempt no longer owns the task")


def describe_error(error: Exception) -> TaskError:
    """The error as a task's document keeps it.

    What an agent raises that is not ours may say anything, so its text is in the stack only, which
    operators see and clients do not.
    """
    if isinstance(error, AppError):
        return TaskError(type=type(error).__name__, code=error.code, message=error.message)
    return TaskError(
        type=type(error).__name__,
        code="AGENT_ERROR",
        message="The agent failed unexpectedly; the log tells more under the task's id.",
        stack="".join(traceback.format_exception(error)),
    )


def _cost(usage: TokenUsage) -> TaskCost:
    return TaskCost(
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        total_tokens=usage.total,
    )


def _milliseconds(task: Task, clock: Clock) -> int:
    return int((clock() - task.queued_at).total_seconds() * 1000)
