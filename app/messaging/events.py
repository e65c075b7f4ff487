"""Task events in Redis: a capped stream to replay from and a channel as a hint."""

import asyncio
from collections.abc import Awaitable
from typing import Literal, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import EventBusUnavailableError
from app.core.logging import get_logger
from app.models.domain.event import EventId, EventKind, TaskEvent

logger = get_logger("events")

MUTE_SECONDS = 1.0

PublishOutcome = Literal["published", "refused", "failed"]
"""``refused``: the stream holds this event or a later one. ``failed``: Redis did not take it."""

# The stream takes only rising ids: a repeated event or one of an attempt that has been superseded
# is refused, and then nobody is told of it either.
_PUBLISH = """
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], ARGV[1],
                          'kind', ARGV[2], 'data', ARGV[3])
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller', 1, true) then return 0 end
  return redis.error_reply(added.err)
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[7])
return 1
"""


class EventKeys:
    """Names in Redis, all made by us: a task id is the only part that varies."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.redis_global_keyprefix

    def stream(self, task_id: str) -> str:
        """The stream of the task's events."""
        return f"{self._prefix}task_stream:{task_id}"

    def channel(self, task_id: str) -> str:
        """The channel on which the task's events are announced."""
        return f"{self._prefix}task_events:{task_id}"

    def task_id(self, channel: str) -> str:
        """The task that ``channel`` is about."""
        return channel.rpartition(":")[2]


def encode_announcement(event: TaskEvent, previous: EventId | None) -> bytes:
    """The channel's message: the payload a client gets, and the ids around it."""
    return orjson.dumps(
        {
            **event.data,
            "_id": str(event.id),
            "_kind": event.kind.value,
            "_prev": str(previous) if previous else None,
        }
    )


def decode_announcement(message: str | bytes) -> tuple[TaskEvent, EventId | None]:
    """The event and the id before it; ``ValueError``/``KeyError`` if it is not one of ours."""
    data = orjson.loads(message)
    event_id, kind, previous = data.pop("_id"), data.pop("_kind"), data.pop("_prev")
    event = TaskEvent(EventId.parse(event_id), EventKind(kind), data)
    return event, EventId.parse(previous) if previous else None


class EventPublisher:
    """Writes events. A failure is logged and never raised: what counts is in the store."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._keys = EventKeys(settings)
        self._script = redis.register_script(_PUBLISH)
        self._max_length = settings.event_stream_max_length
        self._ttl = settings.event_stream_ttl_seconds
        self._muted_until = 0.0

    async def publish(
        self, task_id: str, event: TaskEvent, *, previous: EventId | None = None
    ) -> PublishOutcome:
        """Append and announce.

        ``previous`` is the id of the event before it, if known: a subscriber who has seen that one
        knows that it missed nothing.
        """
        now = asyncio.get_running_loop().time()
        if now < self._muted_until:
            return "failed"
        try:
            added = await self._script(
                keys=[self._keys.stream(task_id)],
                args=[
                    str(event.id),
                    event.kind.value,
                    orjson.dumps(event.data),
                    self._max_length,
                    self._ttl,
                    self._keys.channel(task_id),
                    encode_announcement(event, previous),
                ],
            )
        except (RedisError, OSError) as error:
            # With Redis stalled each call takes as long as its timeout. The work must not wait
            # for that again and again, so for a moment we do not even try.
            self._muted_until = now + MUTE_SECONDS
            logger.warning("event_not_published", event_id=str(event.id), error=repr(error))
            return "failed"
        return "published" if added else "refused"


class EventStreamReader:
    """Reads what a task's stream still holds."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._keys = EventKeys(settings)

    async def read_after(self, task_id: str, after: EventId) -> list[TaskEvent]:
        """The events behind ``after``, in order; none once the stream has expired.

        Raises:
            EventBusUnavailableError: Redis does not answer.
        """
        try:
            entries = await cast(
                "Awaitable[list[tuple[str, dict[str, str]]]]",
                self._redis.xrange(self._keys.stream(task_id), min=f"({after}"),
            )
        except (RedisError, OSError) as error:
            raise EventBusUnavailableError("The event stream is not available.") from error
        return [
            TaskEvent(
                EventId.parse(entry_id), EventKind(fields["kind"]), orjson.loads(fields["data"])
            )
            for entry_id, fields in entries
        ]
