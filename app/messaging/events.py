"""Task events in Redis: a capped stream to replay from and a channel as a hint."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Literal, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import EventBusUnavailableError
from app.core.logging import get_logger
from app.messaging.redis import command_deadline
from app.models.domain.event import EventId, EventKind, TaskEvent

logger = get_logger("events")

MUTE_SECONDS = 1.0

PublishOutcome = Literal["published", "refused", "failed"]
"""``refused``: a later attempt has published. ``failed``: Redis may not have taken them."""

# The stream takes only rising ids: a repeated event or one of an attempt that has been superseded
# is refused, and then nobody is told of it either. Four arguments an event: id, kind, data,
# announcement. Returns the stream's last id.
_PUBLISH = """
for i = 4, #ARGV, 4 do
  local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], ARGV[i],
                            'kind', ARGV[i + 1], 'data', ARGV[i + 2])
  if type(added) == 'table' and added.err then
    if not string.find(added.err, 'equal or smaller', 1, true) then
      return redis.error_reply(added.err)
    end
  else
    redis.call('PUBLISH', ARGV[3], ARGV[i + 3])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
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
    if not isinstance(data, dict):
        raise ValueError("an announcement is a JSON object")
    event_id, kind, previous = data.pop("_id"), data.pop("_kind"), data.pop("_prev")
    event = TaskEvent(EventId.parse(str(event_id)), EventKind(kind), data)
    return event, EventId.parse(str(previous)) if previous else None


class EventPublisher:
    """Writes events. A failure is logged and never raised: what counts is in the store."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._keys = EventKeys(settings)
        self._script = redis.register_script(_PUBLISH)
        self._max_length = settings.event_stream_max_length
        self._ttl = settings.event_stream_ttl_seconds
        self._muted_until = 0.0

    async def publish(
        self, task_id: str, events: Sequence[TaskEvent], *, previous: EventId | None = None
    ) -> PublishOutcome:
        """Append and announce, all in one round trip.

        ``previous`` is the id of the event before the first, if known: a subscriber who has seen
        that one knows that it missed nothing.
        """
        now = asyncio.get_running_loop().time()
        if now < self._muted_until:
            return "failed"
        try:
            arguments = self._arguments(task_id, events, previous)
            async with command_deadline():
                last: str = await self._script(keys=[self._keys.stream(task_id)], args=arguments)
        except TypeError:
            # A step's data that is no JSON is its agent's fault; the work itself goes on.
            logger.exception("events_not_publishable", count=len(events))
            return "refused"
        except (RedisError, OSError) as error:
            # With Redis stalled each call takes as long as its timeout. The work must not wait
            # for that again and again, so for a moment we do not even try.
            self._muted_until = now + MUTE_SECONDS
            logger.warning("events_not_published", count=len(events), error=repr(error))
            return "failed"
        # Behind what we sent there can only be a later attempt's; what we sent twice is there.
        return "published" if EventId.parse(last) <= events[-1].id else "refused"

    def _arguments(
        self, task_id: str, events: Sequence[TaskEvent], previous: EventId | None
    ) -> list[str | bytes | int]:
        arguments: list[str | bytes | int] = [
            self._max_length,
            self._ttl,
            self._keys.channel(task_id),
        ]
        for event in events:
            arguments += [
                str(event.id),
                event.kind.value,
                orjson.dumps(event.data),
                encode_announcement(event, previous),
            ]
            previous = event.id
        return arguments


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
            async with command_deadline():
                entries = await cast(
                    "Awaitable[list[tuple[str, dict[str, str]]]]",
                    self._redis.xrange(self._keys.stream(task_id), min=f"({after}"),
                )
        except (RedisError, OSError) as error:
            raise EventBusUnavailableError("The event stream is not available.") from error
        events = [_read_entry(entry_id, fields) for entry_id, fields in entries]
        return [event for event in events if event is not None]


def _read_entry(entry_id: str, fields: Mapping[str, str]) -> TaskEvent | None:
    try:
        data = orjson.loads(fields["data"])
        return TaskEvent(EventId.parse(entry_id), EventKind(fields["kind"]), data)
    except (KeyError, ValueError):
        # Not written by us; one such entry must not keep a subscriber from all the others.
        logger.warning("foreign_entry_in_event_stream", entry_id=entry_id)
        return None
