"""Holding on to claimed tasks, and letting go of those that are lost."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Raised inside :meth:`Hold.interruptible` where the work was stopped."""

    def __init__(self, interruption: Interruption) -> None:
        super().__init__(interruption.value)
        self.interruption = interruption


class Hold:
    """One attempt's claim on its task, from the claim to the attempt's last write."""

    def __init__(self) -> None:
        self._interruption: Interruption | None = None
        self._work: asyncio.Task[object] | None = None

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """The part of the attempt that may be stopped; what comes after it is its end.

        Raises:
            WorkInterruptedError: the lease was lost, or the process is stopping.
        """
        self._raise_if_interrupted()
        work = self._work = asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError:
            if work is not None and self._interruption is not None:
                work.uncancel()
                self._raise_if_interrupted()
            raise
        finally:
            self._work = None

    def _raise_if_interrupted(self) -> None:
        if self._interruption is not None:
            raise WorkInterruptedError(self._interruption)

    def interrupt(self, interruption: Interruption) -> None:
        """Stop the work, now or before it begins; an attempt that is at its end goes on."""
        if self._interruption is None:
            self._interruption = interruption
            if self._work is not None:
                self._work.cancel()


class LeaseKeeper:
    """Renews the leases of all tasks this process works on, with one update each round.

    Give it :meth:`run` as a background task.
    """

    def __init__(
        self, tasks: TaskRepository, *, worker_id: str, settings: Settings, clock: Clock
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._holds: dict[str, Hold] = {}
        self._attempts = 0
        self._is_stopping = False
        self.worker_id = worker_id
        self.lease = timedelta(seconds=settings.lease_seconds)

    @property
    def attempt_count(self) -> int:
        """How many attempts this process has not ended yet."""
        return self._attempts

    @contextmanager
    def held(self, task: Task) -> Iterator[Hold]:
        """Keep the lease of ``task`` while inside."""
        hold = Hold()
        predecessor = self._holds.get(task.task_id)
        if predecessor is not None:
            # An earlier attempt of this very process, which lost the lease while it was stalled.
            predecessor.interrupt(Interruption.LEASE_LOST)
        self._holds[task.task_id] = hold
        self._attempts += 1
        if self._is_stopping:
            hold.interrupt(Interruption.SHUTDOWN)
        try:
            yield hold
        finally:
            self._attempts -= 1
            if self._holds.get(task.task_id) is hold:
                del self._holds[task.task_id]

    def interrupt_all(self) -> None:
        """Stop all work, and whatever is begun from now on: the process is stopping."""
        self._is_stopping = True
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
