"""What one attempt tells those who watch its task."""

import asyncio
from collections.abc import Mapping

from app.core.text import storable
from app.messaging.events import EventPublisher
from app.models.domain.event import EventId, EventKind, TaskEvent, status_event
from app.models.domain.task import Task, TaskStatus

GATHER_SECONDS = 1 / 30
"""Steps and tokens are gathered for this long: no reader sees more than thirty updates a second."""


class TaskFeed:
    """Numbers the events of one attempt and publishes them in order.

    ``task`` is as the attempt's claim returned it: its latest status event is the claim's own.
    Events that Redis did not take are kept and sent with the next ones.
    """

    def __init__(self, task: Task, publisher: EventPublisher) -> None:
        self._task_id = task.task_id
        self._publisher = publisher
        self._latest = EventId(task.event_seq, 0)
        # In a first attempt nothing lies between `queued` and its claim. What an earlier attempt
        # published last is not known, so watchers have to look.
        self._published = EventId(task.event_seq - 1, 0) if task.attempt == 1 else None
        self._attempted = EventId(0, 0)
        self._pending: list[TaskEvent] = []
        self._is_over = False
        self._flush_later: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def begin(self) -> None:
        """Take the claim's own status event; it is published shortly after."""
        self._take(status_event(self._task_id, self._latest.seq, TaskStatus.PROCESSING))

    async def status(self, seq: int, status: TaskStatus) -> None:
        """Publish the change of status that the store holds as its ``seq``-th, at once."""
        self._latest = EventId(seq, 0)
        self._pending.append(status_event(self._task_id, seq, status))
        await self.flush()

    async def step(self, name: str, data: Mapping[str, object]) -> None:
        """Take a step; it is published shortly after."""
        said = {key: storable(v) if isinstance(v, str) else v for key, v in data.items()}
        self._append(EventKind.STEP, {"name": name, **said})

    async def token(self, text: str) -> None:
        """Take a piece of the answer; it is published with its neighbours shortly after."""
        last = self._pending[-1] if self._pending else None
        # What was sent once may have arrived, so it must not change any more.
        if last is not None and last.kind is EventKind.TOKEN and last.id > self._attempted:
            data = {"text": f"{last.data['text']}{storable(text)}"}
            self._pending[-1] = TaskEvent(last.id, EventKind.TOKEN, data)
        else:
            self._append(EventKind.TOKEN, {"text": storable(text)})

    async def flush(self) -> None:
        """Publish what was taken so far."""
        async with self._lock:
            events = list(self._pending)
            if not events or self._is_over:
                return
            self._attempted = events[-1].id
            outcome = await self._publisher.publish(self._task_id, events, previous=self._published)
            if outcome != "failed":
                del self._pending[: len(events)]
                self._published = events[-1].id
            if outcome == "refused":
                self.close()

    def close(self) -> None:
        """Publish nothing more: the attempt is over, or another has taken its place."""
        self._is_over = True
        self._pending.clear()

    def _append(self, kind: EventKind, data: Mapping[str, object]) -> None:
        if self._is_over:
            return
        self._latest = EventId(self._latest.seq, self._latest.position + 1)
        self._take(TaskEvent(self._latest, kind, data))

    def _take(self, event: TaskEvent) -> None:
        self._pending.append(event)
        if self._flush_later is None or self._flush_later.done():
            self._flush_later = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        while self._pending:
            await asyncio.sleep(GATHER_SECONDS)
            await self.flush()
