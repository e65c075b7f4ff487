"""Keeping the outbox in step with what was published."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from app.core.clock import Clock
from app.core.config import Settings
from app.db.repositories.tasks import TaskRepository
from app.messaging.queue import Dispatcher, FailureCallback
from app.models.domain.task import Task

MAX_DOUBLINGS = 4


def redispatch_delay(settings: Settings, dispatches: int) -> timedelta:
    """How long a task that was published so often may lie in the broker before it is again.

    Doubles with each time, because the usual reason is a long queue, which copies make longer.
    """
    doublings = min(dispatches - 1, MAX_DOUBLINGS)
    return timedelta(seconds=settings.redispatch_after_seconds) * (1 << doublings)


async def dispatch_again(
    tasks: Sequence[Task],
    *,
    repository: TaskRepository,
    dispatcher: Dispatcher,
    settings: Settings,
    clock: Clock,
) -> None:
    """Note that the tasks are published, and have them published."""
    by_count: defaultdict[int, list[str]] = defaultdict(list)
    for task in tasks:
        by_count[task.dispatches + 1].append(task.task_id)
    now = clock()
    for dispatches, task_ids in by_count.items():
        again = now + redispatch_delay(settings, dispatches)
        await repository.mark_dispatched(task_ids, now=now, next_dispatch_at=again)
        for task_id in task_ids:
            dispatcher.offer(task_id)


def take_back_dispatches(repository: TaskRepository, clock: Clock) -> FailureCallback:
    """A callback that notes in the store what could not be published after all."""

    async def take_back(task_ids: Sequence[str]) -> None:
        await repository.mark_undispatched(task_ids, now=clock())

    return take_back
