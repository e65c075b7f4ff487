"""Tasks as a test needs them to be stored."""

from datetime import datetime, timedelta

from app.core.clock import utc_now
from app.models.domain.task import Task, TaskMetadata, TaskResult, TaskStatus


def stored_task(
    *,
    created_at: datetime | None = None,
    status: TaskStatus = TaskStatus.QUEUED,
    agent_name: str | None = None,
    took: timedelta | None = None,
    owner_id: str | None = None,
    session_id: str = "session",
) -> Task:
    """A task in any state. ``took`` is the time from its acceptance to its end."""
    now = created_at or utc_now()
    task = Task.new(
        input_text="Write a blog article",
        session_id=session_id,
        owner_id=owner_id,
        requested_agent=None,
        metadata=TaskMetadata(),
        now=now,
        deadline=timedelta(hours=1),
        redispatch_after=timedelta(hours=1),
        max_attempts=3,
    )
    return task.model_copy(
        update={
            "status": status,
            "selected_agent": agent_name,
            "agent_type": agent_name.removesuffix("Agent").lower() if agent_name else None,
            "completed_at": now + took if took is not None else None,
            "result": (
                TaskResult(summary="A summary", raw_output="Text", model="offline")
                if status is TaskStatus.COMPLETED
                else None
            ),
        }
    )
