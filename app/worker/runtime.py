"""Composition root of a worker process: one event loop in a thread of its own, and its parts.

Celery's pool threads hand their coroutines to this loop and wait, so one process keeps as many
model calls in flight as it has pool threads, over one set of clients.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError as FutureCancelledError
from typing import TypeVar

import uvloop

from app.agents.assembly import build_peer_agent
from app.core.background import start_background, stop_background
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.ids import new_worker_id
from app.core.logging import get_logger
from app.db.connect import connect_database
from app.db.repositories import Repositories
from app.llm.connect import connect_llm, connect_search
from app.messaging.events import EventPublisher
from app.messaging.queue import Dispatcher, QueueDepth, make_producer
from app.messaging.redis import connect_redis
from app.services.dispatching import take_back_dispatches
from app.services.execution import ExecutionParts, execute
from app.services.indexes import ensure_indexes
from app.services.lease_keeper import LeaseKeeper
from app.services.recovery import RecoveryParts, run_sweeps
from app.services.retry import RetryPolicy

logger = get_logger("worker")

Result = TypeVar("Result")

HAND_BACK_SECONDS = 3.0


class WorkerRuntime:
    """Everything a worker process shares among its tasks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runtime", daemon=True)
        self._resources = contextlib.AsyncExitStack()
        self._background: list[asyncio.Task[None]] = []
        self._execution: ExecutionParts | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the loop and connect; waits for the store as long as it takes."""
        self._thread.start()
        self._run(self._open())

    def execute(self, task_id: str) -> bool:
        """Run one attempt of a task and wait for its end. Called from Celery's pool threads.

        False if the process is stopping and left the task for another.
        """
        if self._execution is None:
            raise RuntimeError("the worker runtime has not been started")
        if self._stopping.is_set():
            return False
        with contextlib.suppress(FutureCancelledError):
            self._run(execute(task_id, self._execution))
        return True

    def begin_shutdown(self) -> None:
        """Claim nothing more; after the grace period, hand back what is still being worked on."""
        if self._execution is None or self._stopping.is_set():
            return
        self._stopping.set()
        leases = self._execution.leases
        logger.info("worker_stopping", tasks_in_flight=leases.attempt_count)
        self._loop.call_soon_threadsafe(
            self._loop.call_later, self._settings.shutdown_grace_seconds, leases.interrupt_all
        )

    def stop(self) -> None:
        """Let go of everything. Idempotent."""
        if not self._thread.is_alive():
            return
        self._stopping.set()
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=HAND_BACK_SECONDS)

    def _run(self, coroutine: Coroutine[object, object, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self) -> None:
        settings = self._settings
        database = await connect_database(settings)
        self._resources.push_async_callback(database.close)
        repositories = Repositories.over(database)
        await ensure_indexes(repositories)

        llm = connect_llm(settings)
        self._resources.push_async_callback(llm.close)
        search = connect_search(settings)
        if search is not None:
            self._resources.push_async_callback(search.close)
        redis = connect_redis(settings)
        self._resources.push_async_callback(redis.aclose)

        publisher = EventPublisher(redis, settings)
        policy = RetryPolicy.of(settings)
        worker_id = new_worker_id()
        leases = LeaseKeeper(
            repositories.tasks, worker_id=worker_id, settings=settings, clock=utc_now
        )
        dispatcher = Dispatcher(
            make_producer(settings),
            take_back_dispatches(repositories.tasks, utc_now),
        )
        recovery = RecoveryParts(
            repositories=repositories,
            dispatcher=dispatcher,
            publisher=publisher,
            queue_depth=QueueDepth(redis, settings),
            settings=settings,
            holder=worker_id,
            clock=utc_now,
        )
        self._execution = ExecutionParts(
            repositories=repositories,
            peer_agent=build_peer_agent(settings, llm, search),
            publisher=publisher,
            leases=leases,
            retry_policy=policy,
            clock=utc_now,
        )
        self._background = [
            start_background(leases.run(), name="lease_keeper"),
            start_background(dispatcher.run(), name="dispatcher"),
            start_background(run_sweeps(recovery), name="recovery"),
        ]
        logger.info("worker_started", worker_id=worker_id, offline=llm.is_offline)

    async def _close(self) -> None:
        if self._execution is not None:
            self._execution.leases.interrupt_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HAND_BACK_SECONDS):
                    while self._execution.leases.attempt_count:  # noqa: ASYNC110 - ends within the bound
                        await asyncio.sleep(0.01)
        await stop_background(self._background)
        await self._resources.aclose()
