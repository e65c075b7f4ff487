"""What the SQLite engine promises about its file: other processes, full disks, damage, threads."""

import asyncio
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.errors import ConfigurationError, StoreUnavailableError
from app.db.connect import connect_database
from app.db.database import Document, DuplicateKeyError, Index
from app.db.sqlite import SqliteDatabase
from app.db.sqlite_connection import SCHEMA_VERSION
from tests.support import store_increment


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With a short timeout, for the tests that wait for it to pass."""
    return settings.model_copy(update={"store_timeout_seconds": 0.3})


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's write lock, as another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def test_increments_of_several_processes_add_up(settings: Settings) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, store_increment.__file__, str(settings.data_dir), "150"
        )
        for _ in range(3)
    ]
    async with asyncio.timeout(60):
        assert [await process.wait() for process in processes] == [0, 0, 0]
    database = await connect_database(settings)
    assert await database.collection("counters").find({}) == [{"_id": "shared", "n": 450}]
    await database.close()


async def test_many_openings_of_a_new_file_at_once_all_succeed(settings: Settings) -> None:
    patient = settings.model_copy(update={"store_timeout_seconds": 10})
    stores = await asyncio.gather(*(connect_database(patient) for _ in range(8)))
    for number, store in enumerate(stores):
        await store.collection("things").insert_one({"_id": str(number)})
    assert await stores[0].collection("things").count({}) == 8
    for store in stores:
        await store.close()


async def test_a_file_locked_for_too_long_is_unavailable_until_it_is_free(
    sqlite: SqliteDatabase, settings: Settings
) -> None:
    things = sqlite.collection("things")
    await things.insert_one({"_id": "before"})
    with locked(settings.sqlite_path):
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="locked by another process"):
            await things.insert_one({"_id": "during"})
        assert settings.store_timeout_seconds <= time.monotonic() - began < 2
        assert await things.count({}) == 1, "readers do not wait for writers"
    await things.insert_one({"_id": "after"})
    assert await things.count({"_id": {"$in": ["before", "after"]}}) == 2
    assert await things.find_one({"_id": "during"}) is None


async def test_a_write_waits_for_a_lock_that_is_soon_released(
    sqlite: SqliteDatabase, settings: Settings
) -> None:
    things = sqlite.collection("things")
    with locked(settings.sqlite_path):
        write = asyncio.create_task(things.insert_one({"_id": "a"}))
        await asyncio.sleep(0)
    await write
    assert await things.count({}) == 1


async def test_a_write_given_up_by_its_caller_while_it_waits_is_not_done(
    sqlite: SqliteDatabase, settings: Settings
) -> None:
    things = sqlite.collection("things")
    await things.insert_one({"_id": "before"})
    with locked(settings.sqlite_path):
        write = asyncio.create_task(things.insert_one({"_id": "a"}))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
    await things.insert_one({"_id": "after"})
    assert await things.count({}) == 2


async def test_a_full_disk_fails_the_writes_and_loses_nothing_before(
    sqlite: SqliteDatabase,
) -> None:
    things = sqlite.collection("things")
    await things.insert_one({"_id": "before"})
    await sqlite._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 20"))
    large: list[Document] = [{"_id": str(n), "text": "x" * 20_000} for n in range(10)]
    results = await asyncio.gather(
        *(things.insert_one(document) for document in large), return_exceptions=True
    )
    failures = [result for result in results if result is not None]
    assert failures
    assert all(isinstance(failure, StoreUnavailableError) for failure in failures)
    assert "the disk is full" in str(failures[0])
    assert await things.count({}) == 1 + results.count(None)
    await sqlite._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 2000"))
    await things.insert_one({"_id": "after", "text": "x" * 20_000})
    assert await things.count({"_id": {"$in": ["before", "after"]}}) == 2


async def test_an_operation_that_fails_leaves_the_rest_of_its_batch_alone(
    sqlite: SqliteDatabase,
) -> None:
    things = sqlite.collection("things")
    await things.insert_many([{"_id": "a", "n": 1}, {"_id": "b", "n": "text"}])
    results = await asyncio.gather(
        things.insert_one({"_id": "c"}),
        things.insert_one({"_id": "a"}),
        things.insert_many([{"_id": "d"}, {"_id": "a"}]),
        things.update_many({"n": {"$exists": True}}, {"$inc": {"n": 1}}),
        things.insert_one({"_id": "e"}),
        return_exceptions=True,
    )
    kinds = [type(result) for result in results]
    nothing = type(None)
    assert kinds == [nothing, DuplicateKeyError, DuplicateKeyError, ValueError, nothing]
    found = await things.find({}, sort=[("_id", 1)])
    assert found == [{"_id": "a", "n": 1}, {"_id": "b", "n": "text"}, {"_id": "c"}, {"_id": "e"}]


async def test_an_index_over_duplicates_cannot_be_made_unique(sqlite: SqliteDatabase) -> None:
    things = sqlite.collection("things")
    await things.insert_many([{"_id": "a", "k": 1}, {"_id": "b", "k": 1}])
    with pytest.raises(DuplicateKeyError):
        await things.ensure_indexes([Index((("k", 1),), unique=True)])
    await things.insert_one({"_id": "c", "k": 1})


async def test_what_was_written_is_there_after_reopening(settings: Settings) -> None:
    for number in range(3):
        database = await connect_database(settings)
        await database.collection("things").insert_one({"_id": str(number)})
        assert await database.collection("things").count({}) == number + 1
        await database.close()


async def test_a_file_of_a_newer_version_is_not_opened(settings: Settings) -> None:
    await (await connect_database(settings)).close()
    with closing(sqlite3.connect(settings.sqlite_path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(ConfigurationError, match="newer version"):
        await connect_database(settings)


async def test_a_file_that_is_no_database_is_unavailable(settings: Settings) -> None:
    settings.data_dir.mkdir()
    settings.sqlite_path.write_text("not a database, and longer than its header " * 10)
    with pytest.raises(StoreUnavailableError, match="not a SQLite database"):
        await connect_database(settings)


async def test_a_folder_that_cannot_be_made_is_unavailable(settings: Settings) -> None:
    settings.data_dir.write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        await connect_database(settings)


async def test_a_damaged_file_is_unavailable(settings: Settings) -> None:
    database = await connect_database(settings)
    things = database.collection("things")
    await things.insert_many([{"_id": str(n), "text": "x" * 900} for n in range(100)])
    await database.close()
    content = bytearray(settings.sqlite_path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    settings.sqlite_path.write_bytes(content)
    database = await connect_database(settings)
    with pytest.raises(StoreUnavailableError, match="damaged"):
        await database.collection("things").find({})
    await database.close()


async def test_only_the_owner_can_read_the_files(
    sqlite: SqliteDatabase, settings: Settings
) -> None:
    await sqlite.collection("things").insert_one({"_id": "a"})
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    files = list(settings.data_dir.iterdir())
    assert len(files) == 3, "the file, its log and the log's index"
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_another_event_loop_can_use_the_same_store(sqlite: SqliteDatabase) -> None:
    things = sqlite.collection("things")
    await things.insert_one({"_id": "a"})
    await asyncio.to_thread(asyncio.run, things.insert_one({"_id": "b"}))
    assert await things.count({}) == 2


async def test_an_event_loop_that_ends_early_disturbs_nobody(
    sqlite: SqliteDatabase, settings: Settings
) -> None:
    things = sqlite.collection("things")

    async def leave_behind() -> None:
        future = asyncio.ensure_future(things.insert_one({"_id": "a"}))
        await asyncio.sleep(0)
        future.cancel()

    with locked(settings.sqlite_path):
        await asyncio.to_thread(asyncio.run, leave_behind())
    await things.insert_one({"_id": "b"})
    assert await things.find_one({"_id": "b"}) == {"_id": "b"}


async def test_a_disk_that_hangs_is_unavailable(sqlite: SqliteDatabase) -> None:
    released = threading.Event()
    hanging = asyncio.create_task(sqlite._writer.run(lambda _: released.wait(10)))
    with pytest.raises(StoreUnavailableError, match="did not answer in time"):
        await hanging
    released.set()
    await sqlite.collection("things").insert_one({"_id": "a"})


async def test_closing_finishes_what_was_begun_and_ends_the_threads(settings: Settings) -> None:
    before = threading.active_count()
    database = await SqliteDatabase.open(settings.sqlite_path, settings)
    assert threading.active_count() > before
    things = database.collection("things")
    writes = [asyncio.create_task(things.insert_one({"_id": str(n)})) for n in range(100)]
    await asyncio.sleep(0)
    await asyncio.gather(database.close(), database.close())
    await asyncio.gather(*writes)
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"store-reader", "store-writer"}
    database = await SqliteDatabase.open(settings.sqlite_path, settings)
    assert await database.collection("things").count({}) == 100
    await database.close()


async def test_a_listing_walks_its_index_and_sorts_nothing(sqlite: SqliteDatabase) -> None:
    assert await sqlite.explain("things", {"owner.id": "o"}) == []
    things = sqlite.collection("things")
    listing = Index((("owner.id", 1), ("at", -1), ("_id", -1)))
    due = Index((("status", 1), ("due", 1)))
    by_key = Index((("key", 1),), unique=True, sparse=True)
    await things.ensure_indexes([listing, due, by_key])

    plan = await sqlite.explain("things", {"owner.id": "o"}, [("at", -1), ("_id", -1)])
    assert plan == ["SEARCH things USING INDEX things:owner.id_1_at_-1__id_-1 (<expr>=?)"]
    (plan_due,) = await sqlite.explain("things", {"status": "queued", "due": {"$lte": 5}})
    assert "USING INDEX things:status_1_due_1 (<expr>=? AND <expr><?)" in plan_due
    (plan_key,) = await sqlite.explain("things", {"key": {"$in": ["a", "b"]}})
    assert "USING INDEX things:key_1 (<expr>=?)" in plan_key
    (plan_id,) = await sqlite.explain("things", {"_id": "a", "status": "queued"})
    assert "(_id=?)" in plan_id
    plan = await sqlite.explain("things", {"owner.id": "o"}, [("status", 1)])
    assert plan[-1] == "USE TEMP B-TREE FOR ORDER BY"
