"""Holding on to claimed tasks, and letting go of those that are lost."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from app.core.clock import Clock
from app.core.config import Settings
from app.core.errors import StoreUnavailableError
from app.core.logging import get_logger
from app.db.repositories.tasks import TaskRepository
from app.models.domain.task import Task

logger = get_logger("lease_keeper")

RENEWALS_PER_LEASE = 3


class Interruption(StrEnum):
    """Why work was stopped from outside."""

    LEASE_LOST = "lease_lost"
    SHUTDOWN = "shutdown"


class WorkInterruptedError(Exception):
    """Raised inside :meth:`LeaseKeeper.held` where the work was stopped."""

    def __init__(self, interruption: Interruption) -> None:
        super().__init__(interruption.value)
        self.interruption = interruption


@dataclass
class _Hold:
    work: asyncio.Task[object]
    interruption: Interruption | None = None

    def interrupt(self, interruption: Interruption) -> None:
        if self.interruption is None:
            self.interruption = interruption
            self.work.cancel()


class LeaseKeeper:
    """Renews the leases of all tasks this process works on, with one update each round.

    Give it :meth:`run` as a background task.
    """

    def __init__(
        self, tasks: TaskRepository, *, worker_id: str, settings: Settings, clock: Clock
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._holds: dict[str, _Hold] = {}
        self.worker_id = worker_id
        self.lease = timedelta(seconds=settings.lease_seconds)

    @property
    def held_count(self) -> int:
        """How many tasks this process works on at present."""
        return len(self._holds)

    @contextmanager
    def held(self, task: Task) -> Iterator[None]:
        """Keep the lease of ``task`` while the current asyncio task is inside.

        Raises:
            WorkInterruptedError: the lease was lost, or the process is stopping.
        """
        work = asyncio.current_task()
        if work is None:
            raise RuntimeError("a lease is held by an asyncio task")
        hold = _Hold(work)
        self._holds[task.task_id] = hold
        try:
            yield
        except asyncio.CancelledError:
            if hold.interruption is None:
                raise
            work.uncancel()
            raise WorkInterruptedError(hold.interruption) from None
        finally:
            if self._holds.get(task.task_id) is hold:
                del self._holds[task.task_id]

    def interrupt_all(self) -> None:
        """Stop all work because the process is stopping."""
        for hold in list(self._holds.values()):
            hold.interrupt(Interruption.SHUTDOWN)

    async def run(self) -> None:
        """Renew until cancelled."""
        interval = self.lease.total_seconds() / RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(interval)
            try:
                await self.renew()
            except StoreUnavailableError as error:
                # The lease outlasts two failed rounds; after that another worker may take over,
                # and our fenced writes then match nothing.
                logger.warning("lease_renewal_failed", error=error.message)

    async def renew(self) -> None:
        """One round: extend what is held, interrupt what is not ours any more."""
        holds = dict(self._holds)
        if not holds:
            return
        still_held = await self._tasks.renew_leases(
            list(holds), worker_id=self.worker_id, now=self._clock(), lease=self.lease
        )
        for task_id, hold in holds.items():
            # What ended meanwhile has no lease either, and is no loss.
            if task_id not in still_held and self._holds.get(task_id) is hold:
                logger.warning("lease_lost", task_id=task_id)
                hold.interrupt(Interruption.LEASE_LOST)
