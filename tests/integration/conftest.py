"""Real parts: one Valkey per test process, one SQLite file and one key prefix per test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.core.config import Settings
from app.db.connect import connect_database
from app.db.database import Database
from app.db.repositories import Repositories
from tests.support.valkey import ValkeyServer


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server that no test disturbs."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server of the test's own, to be paused and killed. It keeps its data over a restart."""
    server = ValkeyServer(tmp_path, append_only=True)
    server.start()
    yield server
    server.stop()


def make_settings(data_dir: Path, redis_url: str, **values: object) -> Settings:
    """Settings for a test: nothing from the environment, short times, keys of its own."""
    defaults: dict[str, object] = {
        "environment": "test",
        "data_dir": data_dir,
        "redis_url": redis_url,
        "redis_global_keyprefix": f"test-{uuid4().hex[:8]}:",
        "lease_seconds": 3,
        "sweep_interval_seconds": 0.2,
        "sse_poll_seconds": 0.5,
        "retry_backoff_seconds": 0,
        "sqlite_synchronous": "NORMAL",  # tests end no machine's power
    }
    return Settings.model_validate({**defaults, **values})


@pytest.fixture
def settings(tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
    """Settings on the shared server."""
    return make_settings(tmp_path, shared_valkey.url)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The embedded store in the test's own folder."""
    database = await connect_database(settings)
    yield database
    await database.close()


@pytest.fixture
async def repositories(database: Database) -> Repositories:
    """The repositories over that store, with their indexes."""
    repositories = Repositories.over(database)
    await repositories.ensure_indexes()
    return repositories
