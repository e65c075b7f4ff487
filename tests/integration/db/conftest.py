"""Every engine behind the store port, one after the other."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.core.config import Settings, load_settings
from app.db.database import Collection, Database
from app.db.mongo import MongoDatabase
from app.db.sqlite import SqliteDatabase
from tests.support.mongomock_store import MongomockDatabase


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a store in the test's own folder; no server but a database is needed here."""
    return load_settings(environment="test", data_dir=tmp_path / "data")


@pytest.fixture(params=["sqlite", "mongomock", "mongodb"])
def engine(request: pytest.FixtureRequest) -> str:
    """Which engine the test runs on."""
    name = str(request.param)
    if name == "mongodb" and "TEST_MONGO_URI" not in os.environ:
        pytest.skip("TEST_MONGO_URI is not set; scripts/mongo_for_tests.sh can start a server")
    return name


@pytest.fixture
async def database(engine: str, settings: Settings) -> AsyncIterator[Database]:
    """An empty store of the engine."""
    if engine == "sqlite":
        database: Database = await SqliteDatabase.open(settings.sqlite_path, settings)
        yield database
        await database.close()
    elif engine == "mongomock":
        yield MongomockDatabase()
    else:
        name = f"test-{uuid4().hex[:12]}"
        on_server = MongoDatabase.connect(
            os.environ["TEST_MONGO_URI"], settings.model_copy(update={"mongo_db_name": name})
        )
        yield on_server
        await on_server._client.drop_database(name)
        await on_server.close()


@pytest.fixture
def things(database: Database) -> Collection:
    """An empty collection of that store."""
    return database.collection("things")


@pytest.fixture
async def sqlite(settings: Settings) -> AsyncIterator[SqliteDatabase]:
    """An empty SQLite store, for what only a file can do."""
    database = await SqliteDatabase.open(settings.sqlite_path, settings)
    yield database
    await database.close()
