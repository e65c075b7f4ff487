"""The task: its document, its life cycle and its status events.

A task is at once the unit of work, the outbox entry (``status`` queued and ``dispatched_at``) and
the log of what happened to it (``events``), so that each change of state is a single write.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from app.core.ids import new_id

TASK_SCHEMA_VERSION = 1
"""A worker leaves alone what a newer version wrote: it may not know all there is to it."""


class TaskStatus(StrEnum):
    """Where a task stands. The last three are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the task has ended, so that its event stream has, too."""
        return self in FINAL_STATUSES


TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = MappingProxyType(
    {
        TaskStatus.QUEUED: frozenset(
            {TaskStatus.PROCESSING, TaskStatus.FAILED, TaskStatus.CANCELLED}
        ),
        TaskStatus.PROCESSING: frozenset(
            {TaskStatus.QUEUED, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}
        ),
        TaskStatus.COMPLETED: frozenset(),
        TaskStatus.FAILED: frozenset(),
        TaskStatus.CANCELLED: frozenset(),
    }
)
"""The only legal changes of status. The repositories' filters are built from it."""


FINAL_STATUSES = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})


def sources_of(target: TaskStatus) -> list[str]:
    """The statuses from which ``target`` may be reached, in a stable order."""
    return [status.value for status in TaskStatus if target in TRANSITIONS[status]]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Citation(_Frozen):
    """A source that a tool really returned."""

    source: str
    title: str
    url: str


class TaskResult(_Frozen):
    """What an agent made. ``model`` is ``"offline"`` where no model was asked."""

    summary: str | None = None
    raw_output: str | None = None
    code_language: str | None = None
    citations: tuple[Citation, ...] = ()
    model: str | None = None


class TaskError(_Frozen):
    """Why an attempt or a task failed. ``type`` is the error class's name."""

    type: str
    message: str
    stack: str | None = None
    code: str | None = None


class TaskMetadata(_Frozen):
    """Where a task came from."""

    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    api_key_id: str | None = None


class TaskCost(_Frozen):
    """Tokens as the provider reported them; ``usd_estimate`` is null where no price is known."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    usd_estimate: float | None = None


class Lease(_Frozen):
    """Which worker process holds a task, and until when unless it renews."""

    worker_id: str
    expires_at: datetime


class AttemptFailure(_Frozen):
    """How one attempt ended that did not complete, and who had it."""

    attempt: int
    worker_id: str | None
    at: datetime
    error: TaskError


class StatusEvent(_Frozen):
    """One change of status. Its number is its place in ``Task.events``, counted from 1."""

    status: TaskStatus
    at: datetime


class Task(_Frozen):
    """One document of the ``tasks`` collection; ``_id`` equals ``task_id``.

    ``event_seq`` always equals ``len(events)``: one update raises the first and pushes to the
    second. ``attempt`` counts claims; every write of an attempt names it, so that a worker that
    lost its lease changes nothing. ``handbacks`` counts those of them that a stopping worker gave
    back, which do not count against ``max_attempts``.

    While a task is queued, ``next_dispatch_at`` is when recovery publishes it (again), and
    ``next_attempt_at`` the moment before which it may not be claimed; null means at once, whatever
    the clocks of the hosts say. Neither field is stored otherwise.
    """

    task_id: str
    session_id: str
    owner_id: str | None = None
    input_text: str
    requested_agent: str | None = None
    status: TaskStatus = TaskStatus.QUEUED
    selected_agent: str | None = None
    agent_type: str | None = None
    peer_routing_reason: str | None = None

    created_at: datetime
    updated_at: datetime
    queued_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None

    error: TaskError | None = None
    result: TaskResult | None = None
    metadata: TaskMetadata = TaskMetadata()
    cost: TaskCost = TaskCost()

    attempt: int = 0
    max_attempts: int = 3
    handbacks: int = 0
    next_attempt_at: datetime | None = None
    next_dispatch_at: datetime | None = None
    deadline_at: datetime
    dispatched_at: datetime | None = None
    dispatches: int = 0
    lease: Lease | None = None
    failures: tuple[AttemptFailure, ...] = ()
    event_seq: int = 1
    events: tuple[StatusEvent, ...]
    schema_version: int = TASK_SCHEMA_VERSION

    @property
    def attempts_used(self) -> int:
        """Attempts that count against ``max_attempts``."""
        return self.attempt - self.handbacks

    @classmethod
    def new(
        cls,
        *,
        input_text: str,
        session_id: str,
        owner_id: str | None,
        requested_agent: str | None,
        metadata: TaskMetadata,
        now: datetime,
        deadline: timedelta,
        redispatch_after: timedelta,
        max_attempts: int,
    ) -> "Task":
        """A task as it is accepted: queued, due at once, with its first event.

        It counts as published from the start, since whoever accepts it does so right away;
        recovery publishes it if nobody has claimed it ``redispatch_after``.
        """
        return cls(
            task_id=new_id(),
            session_id=session_id,
            owner_id=owner_id,
            input_text=input_text,
            requested_agent=requested_agent,
            metadata=metadata,
            created_at=now,
            updated_at=now,
            queued_at=now,
            next_dispatch_at=now + redispatch_after,
            dispatched_at=now,
            dispatches=1,
            deadline_at=now + deadline,
            max_attempts=max_attempts,
            events=(StatusEvent(status=TaskStatus.QUEUED, at=now),),
        )
