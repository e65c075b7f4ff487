"""Events of a task, in the one order that all who watch it see."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from app.models.domain.task import Task, TaskStatus

_EVENT_ID = re.compile(r"(\d{1,9})-(\d{1,9})")


class EventId(NamedTuple):
    """``seq-position``: position 0 is the ``seq``-th status event, the others what followed it.

    Ordered, and also a legal explicit id of a Redis stream entry.
    """

    seq: int
    position: int

    def __str__(self) -> str:
        return f"{self.seq}-{self.position}"

    @classmethod
    def parse(cls, text: str) -> "EventId":
        """Read ``"3-17"``; ``ValueError`` for anything else."""
        match = _EVENT_ID.fullmatch(text)
        if match is None:
            raise ValueError("an event id has the form 3-17")
        return cls(int(match[1]), int(match[2]))


BEFORE_ALL = EventId(0, 0)
"""Where a subscriber stands who has seen nothing."""


class EventKind(StrEnum):
    """What an event is about."""

    STATUS = "status"
    TOKEN = "token"  # noqa: S105 - a piece of text, not a credential
    STEP = "step"


@dataclass(frozen=True)
class TaskEvent:
    """One event. ``data`` is JSON-like and is what a client receives."""

    id: EventId
    kind: EventKind
    data: Mapping[str, object]

    @property
    def ends_stream(self) -> bool:
        """Whether no event can follow."""
        return self.kind is EventKind.STATUS and TaskStatus(str(self.data["status"])).is_final


def status_event(task_id: str, seq: int, status: TaskStatus) -> TaskEvent:
    """The event of a change of status, which is the ``seq``-th of its task."""
    data = {"task_id": task_id, "status": status.value}
    return TaskEvent(EventId(seq, 0), EventKind.STATUS, data)


def status_events(task: Task) -> list[TaskEvent]:
    """The task's status events as its document tells them."""
    return [
        status_event(task.task_id, seq, event.status)
        for seq, event in enumerate(task.events, start=1)
    ]


def merge_events(
    stored: Sequence[TaskEvent], streamed: Sequence[TaskEvent], *, after: EventId
) -> list[TaskEvent]:
    """What a subscriber at ``after`` has to see next, each event once and in order.

    ``streamed`` may be ahead of ``stored``, which was read first. What belongs behind a status
    event that is not in ``stored`` waits for the next reading: emitting it now would put it
    before events that the stream may have lost.
    """
    newest = stored[-1].id.seq if stored else 0
    by_id = {event.id: event for event in streamed if event.id.seq <= newest}
    by_id |= {event.id: event for event in stored}
    return [by_id[key] for key in sorted(by_id) if key > after]
