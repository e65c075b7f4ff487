"""A task's events for one subscriber: every one once, in order, from any point on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from app.core.errors import EventBusUnavailableError, StoreUnavailableError
from app.core.logging import get_logger
from app.db.repositories.tasks import TaskRepository
from app.messaging.event_hub import EventHub
from app.messaging.events import EventStreamReader
from app.models.domain.event import EventId, TaskEvent, merge_events, status_events

logger = get_logger("TaskEvents")

QUIET_POLL_FACTOR = 5
"""While announcements arrive, the store is polled this much more rarely."""


@dataclass(frozen=True)
class StreamingParts:
    """What a subscriber needs; ``poll_seconds`` bounds how long a lost announcement stays lost."""

    tasks: TaskRepository
    reader: EventStreamReader
    hub: EventHub
    poll_seconds: float


async def task_events(
    task_id: str, *, after: EventId, parts: StreamingParts
) -> AsyncIterator[TaskEvent]:
    """Yield the events behind ``after`` until the task has ended.

    Subscribes first, so that nothing falls between what is stored and what is announced. An
    announcement is only believed if it follows directly on what was yielded last.

    With the store away it waits for it: a browser that is cut off and then answered with an error
    would not come back.
    """
    position = after
    async with parts.hub.subscription(task_id) as subscription:
        while True:
            try:
                missed, is_ended = await _read_missed(task_id, position, parts)
            except StoreUnavailableError as error:
                logger.warning("event_stream_waits_for_store", error=error.message)
                await asyncio.sleep(parts.poll_seconds)
                continue
            for event in missed:
                yield event
                position = event.id
            if is_ended:
                return
            while True:
                factor = QUIET_POLL_FACTOR if parts.hub.is_connected else 1
                announcement = await subscription.next(parts.poll_seconds * factor)
                if announcement is None:
                    break
                event, previous = announcement
                if event.id <= position:
                    continue
                if previous != position:
                    break
                yield event
                position = event.id
                if event.ends_stream:
                    return


async def _read_missed(
    task_id: str, position: EventId, parts: StreamingParts
) -> tuple[Sequence[TaskEvent], bool]:
    # The store first: what the stream then holds beyond it belongs to a later reading.
    task = await parts.tasks.load(task_id)
    if task is None:
        return [], True
    try:
        streamed = await parts.reader.read_after(task_id, position)
    except EventBusUnavailableError:
        streamed = []
    return merge_events(status_events(task), streamed, after=position), task.status.is_final
