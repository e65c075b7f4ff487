"""What we rely on in the Redis client."""

import asyncio
from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.errors import EventBusUnavailableError
from app.messaging.events import EventStreamReader
from app.messaging.queue import QueueDepth
from app.messaging.redis import COMMAND_TIMEOUT_SECONDS, connect_redis
from app.models.domain.event import BEFORE_ALL
from tests.integration.conftest import make_settings
from tests.support.valkey import ValkeyServer


async def test_a_cancelled_reader_does_not_go_on(settings: Settings) -> None:
    # With a read timeout of the client's own, redis-py 8.1.0 went on in 58 of 400 cases.
    redis = connect_redis(settings)
    reader = EventStreamReader(redis, settings)
    went_on = 0
    for number in range(200):
        reading = asyncio.create_task(reader.read_after("t", BEFORE_ALL))
        for _ in range(number % 20):
            await asyncio.sleep(0)
        if reading.done():
            continue
        reading.cancel()
        await asyncio.wait([reading])
        went_on += not reading.cancelled()
    await redis.aclose()
    assert went_on == 0


async def test_a_stalled_server_is_given_up_in_time(
    tmp_path: Path, own_valkey: ValkeyServer
) -> None:
    settings = make_settings(tmp_path, own_valkey.url)
    redis = connect_redis(settings)
    depth = QueueDepth(redis, settings)
    assert await depth.read() == 0
    own_valkey.pause()
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS + 1):
            with pytest.raises(EventBusUnavailableError):
                await depth.read()
    finally:
        own_valkey.resume()
    assert await depth.read() == 0
    await redis.aclose()
