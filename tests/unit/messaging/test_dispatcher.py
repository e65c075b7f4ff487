"""The dispatcher, with a broker that lives in the test's own memory."""

from collections.abc import Sequence

from celery import Celery

from app.core.background import start_background
from app.messaging.queue import Dispatch, Dispatcher
from tests.support.waiting import until


class Record:
    """Notes what was published."""

    def __init__(self) -> None:
        self.dispatches: list[Dispatch] = []

    async def __call__(self, published: Sequence[Dispatch]) -> None:
        self.dispatches += published


async def test_an_id_that_waits_is_not_taken_a_second_time() -> None:
    record = Record()
    dispatcher = Dispatcher(Celery(broker="memory://", set_as_current=False), record)
    for task_id in ("one", "two", "one"):
        dispatcher.offer(task_id)

    running = start_background(dispatcher.run(), name="dispatcher")
    await until(lambda: have_been_published(record, 2))
    assert [dispatch.task_id for dispatch in record.dispatches] == ["one", "two"]

    dispatcher.offer("one", dispatches=1)
    await until(lambda: have_been_published(record, 3))
    assert record.dispatches[2] == Dispatch("one", attempt=0, dispatches=1)
    running.cancel()


async def have_been_published(record: Record, count: int) -> bool:
    """Whether so many ids are out."""
    return len(record.dispatches) == count
