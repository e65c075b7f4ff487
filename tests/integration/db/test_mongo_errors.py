"""What the MongoDB engine makes of a server that is not there."""

import asyncio
import gc
import socket
import time
from collections.abc import Iterator

import pytest

from app.core.config import Settings, load_settings
from app.core.errors import ConfigurationError, StoreUnavailableError
from app.db.connect import connect_database
from app.db.mongo import MongoDatabase


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken but nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_server_that_is_silent_is_reported_within_the_timeout(silent_port: int) -> None:
    asyncio.run(ask_a_silent_server(silent_port))
    # The driver's monitor forgets a socket whose handshake its closing interrupts. Let that come
    # out here, where it is expected, and not in whichever test the collector runs next.
    gc.collect()


async def ask_a_silent_server(port: int) -> None:
    """Every call is refused in time, before the closing and after it."""
    settings = load_settings(mongo_uri=f"mongodb://127.0.0.1:{port}", store_timeout_seconds=0.5)
    database = await connect_database(settings)
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        await database.ping()
    with pytest.raises(StoreUnavailableError):
        await database.collection("things").insert_one({"_id": "a"})
    assert time.monotonic() - began < 4
    await database.close()
    await database.close()
    with pytest.raises(StoreUnavailableError):
        await database.collection("things").find({})


async def test_a_uri_that_cannot_be_used_is_not_repeated(settings: Settings) -> None:
    with pytest.raises(ConfigurationError) as raised:
        MongoDatabase.connect("mongodb://user:hunter2@host:port/", settings)
    assert "MONGO_URI" in str(raised.value)
    assert "hunter2" not in str(raised.value)
