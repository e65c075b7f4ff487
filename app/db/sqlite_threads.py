"""Threads that run SQLite operations for coroutines, many in one transaction.

A coroutine hands over an operation and awaits its result. The thread takes all that has queued up
meanwhile, runs it in one transaction, and wakes the event loop once. For writes this is a *group
commit*: one fsync makes the whole batch durable, and no caller hears of success before it.
"""

import asyncio
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, TypeVar, cast

from app.core.errors import StoreUnavailableError
from app.core.logging import get_logger
from app.db.sqlite_connection import (
    describe,
    is_file_failure,
    is_locked,
    translate,
    unavailable,
)

T = TypeVar("T")

Operation = Callable[[sqlite3.Connection], T]

_GRACE_SECONDS: Final = 0.5
"""Past an operation's time, how long its thread has to say why, before the loop gives up."""

_SHORTEST_PAUSE_SECONDS: Final = 0.0002
_LONGEST_PAUSE_SECONDS: Final = 0.005
"""Between tries to take the file's write lock; another process' commit takes less than one ms."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One operation, and the future that waits for it on a loop."""

    operation: Operation[object]
    future: asyncio.Future[object]
    loop: asyncio.AbstractEventLoop
    expires_at: float
    """On the clock of ``time.monotonic``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: a result, or an error."""

    job: Job
    result: object = None
    error: Exception | None = None


class SqliteThreads:
    """Threads that share one queue, each with a connection of its own, which it closes at the end.

    ``run_batch`` runs the jobs of one batch on a connection and posts each one's outcome.
    """

    def __init__(
        self,
        name: str,
        connections: list[sqlite3.Connection],
        run_batch: Callable[[sqlite3.Connection, list[Job]], None],
        *,
        largest_batch: int,
        timeout_seconds: float,
    ) -> None:
        self._run_batch = run_batch
        self._largest_batch = largest_batch
        self._timeout_seconds = timeout_seconds
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        # Daemons, so that a process that forgets to close can still end: SQLite outlives a crash.
        self._threads = [
            threading.Thread(target=self._work, args=(connection,), name=name, daemon=True)
            for connection in connections
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, operation: Operation[T]) -> T:
        """Run ``operation`` on one of the threads.

        When the awaiting task is cancelled, an operation that has not begun is dropped; one that
        has begun is finished, and its result ignored.

        Raises:
            StoreUnavailableError: the result did not come in time, or the threads have ended.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        expires_at = time.monotonic() + self._timeout_seconds
        with self._closing:
            if self._closed:
                raise StoreUnavailableError("the store is closed")
            self._queue.put(Job(operation, future, loop, expires_at))
        guard = loop.call_later(self._timeout_seconds + _GRACE_SECONDS, _give_up, future)
        try:
            return cast("T", await future)
        finally:
            guard.cancel()

    def close(self) -> None:
        """Finish what is queued, then end the threads. Blocks; may be called again."""
        with self._closing:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, connection: sqlite3.Connection) -> None:
        try:
            while (job := self._queue.get()) is not None:
                batch = [job]
                ended = self._drain_into(batch)
                try:
                    self._run_batch(connection, batch)
                except sqlite3.Error as error:
                    # This batch is lost, and the thread must not be: others would wait in vain.
                    post(_failed(batch, error))
                    _roll_back(connection)
                if ended:
                    return
        finally:
            connection.close()

    def _drain_into(self, batch: list[Job]) -> bool:
        """Add what is queued already; tells whether that was the end of the queue."""
        try:
            while len(batch) < self._largest_batch:
                job = self._queue.get_nowait()
                if job is None:
                    return True
                batch.append(job)
        except Empty:
            pass
        return False


def run_reads(connection: sqlite3.Connection, batch: list[Job]) -> None:
    """Run a batch of reads on one snapshot, which is taken now and so holds all that is committed.

    One transaction spares each read from taking and dropping the file's locks.
    """
    connection.execute("BEGIN")
    try:
        post([_read(connection, job) for job in _awaited(batch)])
    finally:
        _roll_back(connection)


def run_writes(connection: sqlite3.Connection, batch: list[Job]) -> None:
    """Run a batch of writes in one transaction, which is durable before any result is posted.

    An operation that fails on its own account leaves the others alone. A failure of the file fails
    all of them, since none is stored then.
    """
    jobs = _begin(connection, batch)
    if not jobs:
        return
    try:
        outcomes = [_write(connection, job) for job in jobs]
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(connection)
        outcomes = _failed(jobs, error)
    post(outcomes)


def post(outcomes: list[Outcome]) -> None:
    """Hand results to the coroutines that wait, waking each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_loop[outcome.job.loop].append(outcome)
    for loop, of_loop in by_loop.items():
        # A closed loop refuses the call, and then nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, of_loop)


def _settle(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        future = outcome.job.future
        if future.done():
            continue
        if outcome.error is None:
            future.set_result(outcome.result)
        else:
            future.set_exception(outcome.error)


def _give_up(future: asyncio.Future[object]) -> None:
    if not future.done():
        future.set_exception(StoreUnavailableError("the store did not answer in time"))


def _awaited(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if not job.future.done()]


def _read(connection: sqlite3.Connection, job: Job) -> Outcome:
    try:
        return Outcome(job, job.operation(connection))
    except Exception as error:  # noqa: BLE001  # the caller's: it is raised where it waits
        return Outcome(job, error=translate(error))


def _write(connection: sqlite3.Connection, job: Job) -> Outcome:
    try:
        return Outcome(job, job.operation(connection))
    except Exception as error:
        if isinstance(error, sqlite3.Error) and is_file_failure(error):
            raise
        return Outcome(job, error=translate(error))


def _begin(connection: sqlite3.Connection, batch: list[Job]) -> list[Job]:
    """Begin the batch's transaction as soon as the file is not locked; returns the jobs to run.

    Jobs whose time passes meanwhile fail one by one, so that none waits for another's time.
    """
    jobs = _awaited(batch)
    pause = _SHORTEST_PAUSE_SECONDS
    while jobs:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            now = time.monotonic()
            given_up = [job for job in jobs if job.expires_at <= now or not is_locked(error)]
            if given_up:
                post(_failed(given_up, error))
            jobs = [job for job in _awaited(jobs) if job not in given_up]
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        else:
            return jobs
    return []


def _failed(jobs: list[Job], error: sqlite3.Error) -> list[Outcome]:
    _log.warning("store_operations_failed", operations=len(jobs), **describe(error))
    return [Outcome(job, error=unavailable(error)) for job in jobs]


def _roll_back(connection: sqlite3.Connection) -> None:
    """End the transaction, if SQLite has not done so itself."""
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
