"""Keeping the outbox in step with what was published."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from app.core.clock import Clock
from app.core.config import Settings
from app.db.repositories.tasks import TaskRepository
from app.messaging.queue import Dispatch, DispatchedCallback

MAX_DOUBLINGS = 4


def redispatch_delay(settings: Settings, dispatches: int) -> timedelta:
    """How long a task may lie in the broker before it is published again.

    Doubles with each time, because the usual reason is a long queue, which copies make longer.
    """
    doublings = min(dispatches, MAX_DOUBLINGS)
    return timedelta(seconds=settings.redispatch_after_seconds) * (1 << doublings)


def record_dispatches(
    tasks: TaskRepository, settings: Settings, clock: Clock
) -> DispatchedCallback:
    """A callback that notes in the store what the dispatcher has published."""

    async def record(published: Sequence[Dispatch]) -> None:
        alike: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
        for dispatch in published:
            alike[dispatch.attempt, dispatch.dispatches].append(dispatch.task_id)
        now = clock()
        for (attempt, dispatches), task_ids in alike.items():
            again = now + redispatch_delay(settings, dispatches)
            await tasks.mark_dispatched(task_ids, attempt=attempt, now=now, next_dispatch_at=again)

    return record
