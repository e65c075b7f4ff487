"""The end of a task that failed for good, by its attempt or by recovery."""

from datetime import datetime

from prometheus_client import Counter

from app.core.logging import get_logger
from app.db.repositories import Repositories
from app.models.domain.log_entry import LogEntry
from app.models.domain.message import Message, MessageRole
from app.models.domain.task import Task, TaskCost, TaskError

logger = get_logger("failing")

TASKS_FAILED = Counter("worker_tasks_failed_total", "Tasks that failed for good", ("code",))


async def fail_task(
    task: Task,
    error: TaskError,
    *,
    cost: TaskCost,
    now: datetime,
    repositories: Repositories,
    unless_renewed: bool = False,
) -> bool:
    """End the task with its error, and keep what the user said and that it failed.

    False, and nothing is kept, if whoever asks does not own the task any more; ``unless_renewed``
    is as for ``TaskRepository.fail``.
    """
    if not await repositories.tasks.fail(
        task, error, cost=cost, now=now, unless_renewed=unless_renewed
    ):
        return False
    logger.error("task_failed", error_type=error.type, error=error.message)
    TASKS_FAILED.labels(error.code or error.type).inc()
    await repositories.messages.add(
        [message_of(task, "user", None, task.input_text, at=task.created_at)]
    )
    await repositories.logs.add(
        LogEntry(
            timestamp=now,
            level="ERROR",
            message="task_failed",
            context={
                "task_id": task.task_id,
                "session_id": task.session_id,
                "request_id": task.metadata.request_id,
                "attempt": task.attempt,
                "error_type": error.type,
            },
        )
    )
    return True


def message_of(
    task: Task, role: MessageRole, agent_name: str | None, content: str, *, at: datetime
) -> Message:
    """What was said in a task; one message a role, however many attempts it takes."""
    return Message(
        message_id=f"{task.task_id}:{role}",
        session_id=task.session_id,
        task_id=task.task_id,
        role=role,
        agent_name=agent_name,
        content=content,
        created_at=at,
    )
