"""One Redis subscription per process, fanned out to all who watch a task in it."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.logging import get_logger
from app.messaging.events import EventKeys, decode_announcement
from app.models.domain.event import EventId, TaskEvent

logger = get_logger("event_hub")

BUFFER_SIZE = 256
SUBSCRIBE_TIMEOUT_SECONDS = 1.0
RECONNECT_SECONDS = 0.5
LISTEN_SECONDS = 5.0
_KEEPALIVE = "keepalive"


class Subscription:
    """What one watcher receives: announcements, in the order they came.

    The buffer is bounded. A watcher that does not keep up loses announcements, not events: it is
    told so and reads them from the stream.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[TaskEvent, EventId | None] | None] = asyncio.Queue(
            BUFFER_SIZE
        )
        self._lossy = False

    def push(self, announcement: tuple[TaskEvent, EventId | None]) -> None:
        """Hand over an announcement, or note that there was no room for it."""
        try:
            self._queue.put_nowait(announcement)
        except asyncio.QueueFull:
            self._lossy = True

    def interrupt(self) -> None:
        """Note that announcements may have been missed, and wake the watcher."""
        self._lossy = True
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(None)

    async def next(self, timeout: float) -> tuple[TaskEvent, EventId | None] | None:
        """The next announcement; ``None`` when it is time to read the stored events again.

        That is after ``timeout`` seconds of silence, or when announcements were lost.
        """
        if self._lossy:
            self._lossy = False
            while not self._queue.empty():
                self._queue.get_nowait()
            return None
        try:
            async with asyncio.timeout(timeout):
                announcement = await self._queue.get()
        except TimeoutError:
            return None
        if announcement is None:
            self._lossy = False
        return announcement


class EventHub:
    """Keeps the subscription; give it :meth:`run` as a background task."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._keys = EventKeys(settings)
        self._subscriptions: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None

    @property
    def is_connected(self) -> bool:
        """Whether announcements arrive at present."""
        return self._pubsub is not None

    @asynccontextmanager
    async def subscription(self, task_id: str) -> AsyncIterator[Subscription]:
        """Watch a task. Once inside, nothing announced from now on is missed unnoticed.

        With Redis away the subscription is silent; it is interrupted when Redis is back.
        """
        channel = self._keys.channel(task_id)
        subscription = Subscription()
        first = not self._subscriptions[channel]
        self._subscriptions[channel].add(subscription)
        try:
            if first:
                self._confirmed[channel] = asyncio.Event()
                await self._subscribe(channel)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
                    await self._confirmed[channel].wait()
            yield subscription
        finally:
            self._subscriptions[channel].discard(subscription)
            if not self._subscriptions[channel]:
                del self._subscriptions[channel]
                self._confirmed.pop(channel, None)
                await self._unsubscribe(channel)

    async def run(self) -> None:
        """Receive until cancelled, connecting again whenever the connection is lost."""
        try:
            while True:
                try:
                    await self._receive()
                except (RedisError, OSError, UnicodeDecodeError) as error:
                    # Whoever reaches Redis can publish bytes that are no text; that ends the
                    # connection and must not end us.
                    logger.warning("event_subscription_lost", error=repr(error))
                self._drop_connection()
                await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            self._drop_connection()
            await self._redis.aclose()

    async def _receive(self) -> None:
        async with self._redis.pubsub() as pubsub:
            # A subscription that is always there keeps the connection in listening state.
            await pubsub.subscribe(self._keys.channel(_KEEPALIVE))
            # No await between the next two lines: who comes in later subscribes by itself.
            self._pubsub = pubsub
            waiting = set(self._subscriptions)
            if waiting:
                await pubsub.subscribe(*waiting)
            while True:
                message = await pubsub.get_message(timeout=LISTEN_SECONDS)
                if message is not None:
                    self._handle(message, waiting)

    def _handle(self, message: dict[str, str], waiting: set[str]) -> None:
        channel = message["channel"]
        if message["type"] == "subscribe":
            if channel in self._confirmed:
                self._confirmed[channel].set()
            if channel in waiting:
                # These were deaf until now and must look at what they missed.
                waiting.discard(channel)
                self._interrupt(channel)
        elif message["type"] == "message":
            try:
                announcement = decode_announcement(message["data"])
            except (ValueError, KeyError):
                logger.warning("foreign_message_on_event_channel", channel=channel)
                return
            for subscription in self._subscriptions.get(channel, ()):
                subscription.push(announcement)

    def _interrupt(self, channel: str) -> None:
        for subscription in self._subscriptions.get(channel, ()):
            subscription.interrupt()

    def _drop_connection(self) -> None:
        self._pubsub = None
        for event in self._confirmed.values():
            event.clear()
        for channel in self._subscriptions:
            self._interrupt(channel)

    async def _subscribe(self, channel: str) -> None:
        if self._pubsub is not None:
            with contextlib.suppress(RedisError, OSError):
                # A dead connection shows itself to the receiving side, which then subscribes anew.
                await self._pubsub.subscribe(channel)

    async def _unsubscribe(self, channel: str) -> None:
        if self._pubsub is not None and channel not in self._subscriptions:
            with contextlib.suppress(RedisError, OSError):
                await self._pubsub.unsubscribe(channel)
