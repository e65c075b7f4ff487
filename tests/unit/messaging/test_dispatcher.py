"""The dispatcher, with a broker that lives in the test's own memory and one that is not there."""

import asyncio
from collections.abc import Sequence

from celery import Celery
from kombu import Connection

from app.messaging.queue import MAX_WAITING, QUEUE_NAME, Dispatcher
from tests.support.waiting import until

NOWHERE = "redis://127.0.0.1:1/0"


class Failures:
    """Notes what could not be published."""

    def __init__(self) -> None:
        self.task_ids: list[str] = []

    async def __call__(self, task_ids: Sequence[str]) -> None:
        self.task_ids += task_ids


async def test_every_id_is_published_and_nothing_is_reported() -> None:
    failures = Failures()
    celery = Celery(broker="memory://", set_as_current=False)
    dispatcher = Dispatcher(celery, failures)
    running = asyncio.create_task(dispatcher.run())
    for task_id in ("one", "two", "three"):
        dispatcher.offer(task_id)
    received: list[str] = []

    async def all_received() -> bool:
        with Connection("memory://") as connection, connection.SimpleQueue(QUEUE_NAME) as queue:
            while queue.qsize():
                message = queue.get_nowait()
                received.append(message.headers["id"])
                message.ack()
        return len(received) == 3

    await until(all_received)
    running.cancel()
    assert received == ["one", "two", "three"]
    assert failures.task_ids == []


async def test_what_the_broker_does_not_take_is_reported() -> None:
    failures = Failures()
    celery = Celery(broker=NOWHERE, set_as_current=False)
    celery.conf.broker_transport_options = {"max_retries": 0, "socket_connect_timeout": 1}
    dispatcher = Dispatcher(celery, failures)
    running = asyncio.create_task(dispatcher.run())
    dispatcher.offer("one")
    dispatcher.offer("two")

    async def both_reported() -> bool:
        return failures.task_ids == ["one", "two"]

    await until(both_reported)
    running.cancel()


async def test_with_too_many_waiting_an_offer_neither_waits_nor_fails() -> None:
    dispatcher = Dispatcher(Celery(broker=NOWHERE, set_as_current=False), Failures())
    for number in range(MAX_WAITING + 1):
        dispatcher.offer(str(number))
