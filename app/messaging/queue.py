"""The way from an accepted task to a Celery worker.

Only ids travel. Losing one is no harm: a queued task that nobody claimed is found by recovery.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import AppError, EventBusUnavailableError
from app.core.logging import get_logger
from app.messaging.redis import command_deadline

logger = get_logger("queue")

QUEUE_NAME = "agent_tasks"
TASK_NAME = "app.worker.tasks.process_task"

PUBLISH_TIMEOUT_SECONDS = 2.0
CONSUMER_SOCKET_TIMEOUT_SECONDS = 30.0
MAX_BATCH = 100
MAX_WAITING = 10_000
PAUSE_AFTER_FAILURE_SECONDS = 1.0


FailureCallback = Callable[[Sequence[str]], Awaitable[None]]


def make_producer(settings: Settings) -> Celery:
    """A Celery application that publishes: each try is short, and there is one.

    It blocks a thread meanwhile, and what fails is published later by recovery.
    """
    options = {"socket_timeout": PUBLISH_TIMEOUT_SECONDS, "max_retries": 0}
    return _make_celery(settings, options)


def make_consumer(settings: Settings) -> Celery:
    """A Celery application that works: it waits out a stall of Redis.

    A short read timeout leaks a prefetch slot with each message that cannot be acknowledged.
    """
    return _make_celery(settings, {"socket_timeout": CONSUMER_SOCKET_TIMEOUT_SECONDS})


def _make_celery(settings: Settings, transport_options: Mapping[str, float]) -> Celery:
    celery = Celery("agent_orchestrator", set_as_current=False)
    celery.conf.update(
        broker_url=settings.resolve_broker_url(),
        result_backend=settings.resolve_result_backend(),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": settings.redis_global_keyprefix,
            **transport_options,
            "socket_connect_timeout": PUBLISH_TIMEOUT_SECONDS,
            "socket_keepalive": True,
            # A message comes back when its worker did not acknowledge in this time. The claim
            # makes an early return harmless; a return at all is recovery's second net.
            "visibility_timeout": max(3600, int(settings.task_deadline_seconds * 2)),
        },
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_default_queue=QUEUE_NAME,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        worker_concurrency=settings.worker_concurrency,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        enable_utc=True,
    )
    return celery


class Dispatcher:
    """Publishes task ids off the event loop, in batches, and reports which could not be published.

    The store says of an id that it was published before it is offered here, which spares a write
    for each task; ``on_failure`` takes that back. What dies in between is found by recovery, like
    a message that got lost. :meth:`offer` never waits and never fails; :meth:`run` does the work as
    a background task.
    """

    def __init__(self, celery: Celery, on_failure: FailureCallback) -> None:
        self._celery = celery
        self._on_failure = on_failure
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING)

    def offer(self, task_id: str) -> None:
        """Hand over an id. With too many waiting it is left to recovery."""
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait(task_id)

    async def run(self) -> None:
        """Publish until cancelled."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="dispatcher")
        try:
            while True:
                batch = [await self._waiting.get()]
                while len(batch) < MAX_BATCH and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                published = await loop.run_in_executor(thread, self._publish, batch)
                if published < len(batch):
                    await self._report_failure(batch[published:])
                    await asyncio.sleep(PAUSE_AFTER_FAILURE_SECONDS)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _report_failure(self, task_ids: Sequence[str]) -> None:
        try:
            await self._on_failure(task_ids)
        except AppError as error:
            # They are taken for published, and found when nobody claims them in time.
            logger.warning("failure_not_recorded", count=len(task_ids), error=error.message)

    def _publish(self, task_ids: Sequence[str]) -> int:
        published = 0
        try:
            with self._celery.producer_pool.acquire(block=True) as producer:
                for task_id in task_ids:
                    self._celery.send_task(
                        TASK_NAME,
                        args=(task_id,),
                        task_id=task_id,
                        queue=QUEUE_NAME,
                        producer=producer,
                        retry=False,
                        ignore_result=True,
                    )
                    published += 1
        except Exception as error:  # noqa: BLE001 - a transport raises whatever its driver does
            # Whatever it was, recovery publishes what is left, and tries again if need be.
            logger.warning("dispatch_failed", waiting=len(task_ids) - published, error=repr(error))
        return published


class QueueDepth:
    """Tells how many messages wait in the broker, where the broker is Redis."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._key = f"{settings.redis_global_keyprefix}{QUEUE_NAME}"
        self._known = settings.celery_broker_url is None

    async def read(self) -> int | None:
        """The number of waiting messages; ``None`` where another broker holds them.

        Raises:
            EventBusUnavailableError: Redis does not answer.
        """
        if not self._known:
            return None
        try:
            async with command_deadline():
                return int(await self._redis.llen(self._key))
        except (RedisError, OSError) as error:
            raise EventBusUnavailableError("Redis is not available.") from error
