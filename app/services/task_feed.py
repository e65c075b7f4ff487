"""What one attempt tells those who watch its task."""

import asyncio
from collections.abc import Mapping

from app.messaging.events import EventPublisher
from app.models.domain.event import EventId, EventKind, TaskEvent, status_event
from app.models.domain.task import Task, TaskStatus

TOKEN_INTERVAL_SECONDS = 1 / 30
"""Tokens are gathered for this long: no reader sees more than thirty updates a second."""


class TaskFeed:
    """Numbers the events of one attempt and publishes them in order.

    ``task`` is as the attempt's claim returned it: its latest status event is the claim's own.
    """

    def __init__(self, task: Task, publisher: EventPublisher) -> None:
        self._task_id = task.task_id
        self._publisher = publisher
        self._seq = task.event_seq
        self._position = 0
        # In a first attempt nothing lies between `queued` and its claim. What an earlier attempt
        # published last is not known, so watchers have to look.
        self._previous = EventId(task.event_seq - 1, 0) if task.attempt == 1 else None
        self._superseded = False
        self._tokens: list[str] = []
        self._flush_later: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def status(self, seq: int, status: TaskStatus) -> None:
        """Publish the change of status that the store holds as its ``seq``-th."""
        event = status_event(self._task_id, seq, status)
        await self._publisher.publish(self._task_id, event, previous=self._previous)
        self._seq, self._position, self._previous = seq, 0, event.id

    async def step(self, name: str, data: Mapping[str, object]) -> None:
        """Publish a step."""
        await self.flush()
        async with self._lock:
            await self._publish(EventKind.STEP, {"name": name, **data})

    async def token(self, text: str) -> None:
        """Take a piece of the answer; it is published with its neighbours shortly after."""
        self._tokens.append(text)
        if self._flush_later is None or self._flush_later.done():
            self._flush_later = asyncio.create_task(self._flush_soon())

    async def flush(self) -> None:
        """Publish the tokens taken so far."""
        async with self._lock:
            if not self._tokens:
                return
            text = "".join(self._tokens)
            self._tokens.clear()
            if not await self._publish(EventKind.TOKEN, {"text": text}):
                # Redis is away for the moment: keep the text for the next try.
                self._tokens.insert(0, text)

    async def close(self) -> None:
        """Publish what is left and stop."""
        if self._flush_later is not None:
            self._flush_later.cancel()
        await self.flush()

    async def _flush_soon(self) -> None:
        await asyncio.sleep(TOKEN_INTERVAL_SECONDS)
        await self.flush()

    async def _publish(self, kind: EventKind, data: Mapping[str, object]) -> bool:
        if self._superseded:
            return True
        event = TaskEvent(EventId(self._seq, self._position + 1), kind, data)
        outcome = await self._publisher.publish(self._task_id, event, previous=self._previous)
        if outcome == "published":
            self._position, self._previous = event.id.position, event.id
        # A refusal means that a later attempt has published.
        self._superseded = outcome == "refused"
        return outcome != "failed"
