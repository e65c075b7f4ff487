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
MAX_SILENCES = 2
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

    def clear(self) -> None:
        """Forget what came so far."""
        self._lossy = False
        while not self._queue.empty():
            self._queue.get_nowait()

    async def next(self, timeout: float) -> tuple[TaskEvent, EventId | None] | None:
        """The next announcement; ``None`` when it is time to read the stored events again.

        That is after ``timeout`` seconds of silence, or when announcements were lost.
        """
        if self._lossy:
            self.clear()
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
    """Keeps the subscription; give it :meth:`run` as a background task.

    Only that task talks to Redis. A watcher that comes or goes says so and does not wait for the
    connection: if it is cancelled in the middle, the connection that all share is not disturbed.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._keys = EventKeys(settings)
        self._watchers: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._listening: dict[str, asyncio.Event] = {}
        self._confirmed: set[str] = set()
        self._changed: asyncio.Queue[str] = asyncio.Queue()
        self._is_connected = False

    @property
    def is_connected(self) -> bool:
        """Whether announcements arrive at present."""
        return self._is_connected

    @asynccontextmanager
    async def subscription(self, task_id: str) -> AsyncIterator[Subscription]:
        """Watch a task. Once inside, nothing announced from now on is missed unnoticed.

        With Redis away the subscription is silent; it is interrupted when Redis is back.
        """
        channel = self._keys.channel(task_id)
        subscription = Subscription()
        self._watchers[channel].add(subscription)
        listening = self._listening.setdefault(channel, asyncio.Event())
        self._tell(channel)
        try:
            if self._is_connected:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
                        await listening.wait()
            # What came until now is in the store or the stream, which the watcher reads next.
            subscription.clear()
            yield subscription
        finally:
            self._watchers[channel].discard(subscription)
            if not self._watchers[channel]:
                del self._watchers[channel], self._listening[channel]
                self._tell(channel)

    async def run(self) -> None:
        """Receive until cancelled, connecting again whenever the connection is lost."""
        try:
            while True:
                try:
                    await self._listen()
                except (RedisError, OSError) as error:
                    logger.warning("event_subscription_lost", error=repr(error))
                self._lose_connection()
                await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            self._lose_connection()
            await self._redis.aclose()

    def _tell(self, channel: str) -> None:
        # A new connection begins with all channels that are watched then.
        if self._is_connected:
            self._changed.put_nowait(channel)

    async def _listen(self) -> None:
        async with self._redis.pubsub() as pubsub:
            # A subscription that is always there keeps the connection in listening state.
            await pubsub.subscribe(self._keys.channel(_KEEPALIVE))
            self._changed = asyncio.Queue()
            self._is_connected = True
            for channel in self._watchers:
                self._tell(channel)
            following = asyncio.create_task(self._follow_watchers(pubsub))
            try:
                silence = 0
                while not following.done():
                    message = await pubsub.get_message(timeout=LISTEN_SECONDS)
                    if message is not None:
                        silence = 0
                        self._handle(message)
                        continue
                    # A peer that is stalled or gone without a word answers no ping either.
                    silence += 1
                    if silence > MAX_SILENCES:
                        raise ConnectionError("Redis has been silent for too long")
                    await pubsub.ping()
                await following
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _follow_watchers(self, pubsub: PubSub) -> None:
        subscribed: set[str] = set()
        while True:
            channel = await self._changed.get()
            is_watched = channel in self._watchers
            if is_watched and channel in self._confirmed:
                # The last watcher left and another came before we got to unsubscribe.
                self._listening[channel].set()
            elif is_watched and channel not in subscribed:
                subscribed.add(channel)
                await pubsub.subscribe(channel)
            elif not is_watched and channel in subscribed:
                subscribed.discard(channel)
                self._confirmed.discard(channel)
                await pubsub.unsubscribe(channel)

    def _handle(self, message: dict[str, str]) -> None:
        channel = message["channel"]
        if message["type"] == "subscribe" and channel in self._listening:
            self._confirmed.add(channel)
            self._listening[channel].set()
            # Whoever did not wait for this must look at what was announced meanwhile.
            self._interrupt(channel)
        elif message["type"] == "message":
            try:
                announcement = decode_announcement(message["data"])
            except (ValueError, KeyError):
                logger.warning("foreign_message_on_event_channel", channel=channel)
                return
            for subscription in self._watchers.get(channel, ()):
                subscription.push(announcement)

    def _interrupt(self, channel: str) -> None:
        for subscription in self._watchers.get(channel, ()):
            subscription.interrupt()

    def _lose_connection(self) -> None:
        self._is_connected = False
        self._confirmed.clear()
        for listening in self._listening.values():
            listening.clear()
        for channel in self._watchers:
            self._interrupt(channel)
