"""Accepting a task."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from app.core.clock import Clock
from app.core.config import Settings
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.repositories import Repositories
from app.messaging.queue import Dispatcher
from app.models.domain.session import SessionMetadata
from app.models.domain.task import Task, TaskMetadata
from app.services.dispatching import redispatch_delay

logger = get_logger("AgentExecute")


@dataclass(frozen=True)
class Submission:
    """What a client asks for, checked. ``agent`` is a registered agent's type, or ``None``."""

    text: str
    session_id: str | None
    agent: str | None
    owner_id: str | None
    metadata: TaskMetadata


async def submit(
    submission: Submission,
    *,
    repositories: Repositories,
    dispatcher: Dispatcher,
    settings: Settings,
    clock: Clock,
) -> Task:
    """Store the task, then hand its id to the dispatcher.

    When this returns the task is durable; the broker need not even be there.

    Raises:
        SessionNotFoundError: the session belongs to another owner.
        StoreUnavailableError: nothing was accepted.
    """
    now = clock()
    task = Task.new(
        input_text=submission.text,
        session_id=submission.session_id or new_id(),
        owner_id=submission.owner_id,
        requested_agent=submission.agent,
        metadata=submission.metadata,
        now=now,
        deadline=timedelta(seconds=settings.task_deadline_seconds),
        redispatch_after=redispatch_delay(settings, dispatches=1),
        max_attempts=settings.task_max_attempts,
    )
    ensure_session = repositories.sessions.ensure(
        task.session_id,
        owner_id=task.owner_id,
        metadata=SessionMetadata(ip=task.metadata.ip),
        last_task_id=task.task_id,
        now=now,
    )
    if submission.session_id is None:
        # Nobody else can have a session that was named just now: both at once, in one commit.
        await asyncio.gather(ensure_session, repositories.tasks.insert(task))
    else:
        await ensure_session
        await repositories.tasks.insert(task)
    dispatcher.offer(task.task_id)
    logger.info("task_accepted", task_id=task.task_id, session_id=task.session_id)
    return task
