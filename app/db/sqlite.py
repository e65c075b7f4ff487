"""The embedded store: the port on one SQLite file, shared by any number of processes.

One table per collection holds each document as JSON text. Updates read the document, change it in
Python and write it back inside one ``BEGIN IMMEDIATE`` transaction; SQLite lets one process at a
time into such a transaction, so they are atomic across processes.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar, cast

from app.core.config import Settings
from app.db import sqlite_query
from app.db.codec import check_document, decode, encode, encode_string
from app.db.database import Document, Filter, Index, SortKeys, Update, UpdateResult
from app.db.sqlite_connection import open_connection, prepare_file
from app.db.sqlite_query import Sql
from app.db.sqlite_threads import Operation, SqliteThreads, run_reads, run_writes
from app.db.update_operators import apply_update, check_update, document_for_upsert

T = TypeVar("T")

_READERS: Final = 2
_LARGEST_READ_BATCH: Final = 32
_LARGEST_WRITE_BATCH: Final = 256

_TABLE_EXISTS: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"


class SqliteDatabase:
    """A store in one SQLite file. Make it with :meth:`open`; it may serve several event loops."""

    def __init__(self, reader: SqliteThreads, writer: SqliteThreads) -> None:
        self._reader = reader
        self._writer = writer
        self._collections: dict[str, SqliteCollection] = {}

    @classmethod
    async def open(cls, path: Path, settings: Settings) -> "SqliteDatabase":
        """Open the file, and make it where there is none.

        Raises:
            ConfigurationError: the file was written by a newer version of this program.
            StoreUnavailableError: the file cannot be opened, or stays locked.
        """
        return await asyncio.to_thread(cls._open, path, settings)

    @classmethod
    def _open(cls, path: Path, settings: Settings) -> "SqliteDatabase":
        prepare_file(path)
        timeout = settings.store_timeout_seconds
        with ExitStack() as opened:
            writing, *reading = (
                opened.enter_context(closing(open_connection(path, settings)))
                for _ in range(1 + _READERS)
            )
            opened.pop_all()
        # SQLite waits in growing steps of whole milliseconds, longer than another's commit takes:
        # the writer's thread waits for the lock by itself.
        writing.execute("PRAGMA busy_timeout = 0")
        reader = SqliteThreads(
            "store-reader",
            reading,
            run_reads,
            largest_batch=_LARGEST_READ_BATCH,
            timeout_seconds=timeout,
        )
        writer = SqliteThreads(
            "store-writer",
            [writing],
            run_writes,
            largest_batch=_LARGEST_WRITE_BATCH,
            timeout_seconds=timeout,
        )
        return cls(reader, writer)

    def collection(self, name: str) -> "SqliteCollection":
        """The collection of that name; ``ValueError`` if it cannot be one."""
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = SqliteCollection(name, self._reader, self._writer)
        return found

    async def ping(self) -> None:
        """Read from the file."""
        await self._reader.run(_read_schema)

    async def close(self) -> None:
        """Finish what is queued, end the threads, close the file. Idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.close()
        self._reader.close()

    async def explain(self, collection: str, where: Filter, sort: SortKeys = ()) -> list[str]:
        """SQLite's query plan of a ``find``, one line per step: is an index used, is there a sort?

        Empty while the collection has neither documents nor indexes.
        """
        return await self.collection(collection).explain(where, sort)


class SqliteCollection:
    """One table. Its statements are those of :mod:`app.db.sqlite_query`."""

    def __init__(self, name: str, reader: SqliteThreads, writer: SqliteThreads) -> None:
        self._name = name
        self._insert = sqlite_query.insert(name)
        self._insert_new = sqlite_query.insert(name, ignore_duplicates=True)
        self._replace = sqlite_query.replace(name)
        self._reader = reader
        self._writer = writer
        # Set only once the table is known to be committed; tables are never dropped.
        self._exists = False

    async def insert_one(self, document: Document) -> None:
        row = _to_row(document)
        await self._write(lambda connection: connection.execute(self._insert, row))

    async def insert_many(
        self, documents: Sequence[Document], *, ignore_duplicates: bool = False
    ) -> int:
        rows = [_to_row(document) for document in documents]
        statement = self._insert_new if ignore_duplicates else self._insert

        def insert(connection: sqlite3.Connection) -> int:
            with _savepoint(connection):
                return connection.executemany(statement, rows).rowcount

        return await self._write(insert) if rows else 0

    async def find_one(self, where: Filter) -> Document | None:
        found = await self.find(where, limit=1)
        return found[0] if found else None

    async def find(
        self, where: Filter, *, sort: SortKeys = (), skip: int = 0, limit: int | None = None
    ) -> list[Document]:
        query = sqlite_query.select("doc", self._name, where, sort=sort, skip=skip, limit=limit)
        return await self._read(
            lambda connection: [decode(text) for (text,) in connection.execute(*query)], []
        )

    async def update_one(
        self, where: Filter, update: Update, *, upsert: bool = False
    ) -> UpdateResult:
        check_update(update)
        new_row = _to_row(document_for_upsert(where, update)) if upsert else None
        query = sqlite_query.select("rowid, doc", self._name, where, limit=1)

        def change(connection: sqlite3.Connection) -> UpdateResult:
            row = connection.execute(*query).fetchone()
            if row is not None:
                self._rewrite(connection, row, update)
                return UpdateResult(matched=1)
            if new_row is not None:
                connection.execute(self._insert, new_row)
            return UpdateResult(matched=0, upserted=upsert)

        return await self._write(change)

    async def update_many(self, where: Filter, update: Update) -> int:
        check_update(update)
        query = sqlite_query.select("rowid, doc", self._name, where)

        def change(connection: sqlite3.Connection) -> int:
            rows = connection.execute(*query).fetchall()
            with _savepoint(connection):
                for row in rows:
                    self._rewrite(connection, row, update)
            return len(rows)

        return await self._write(change)

    async def find_one_and_update(
        self, where: Filter, update: Update, *, sort: SortKeys = ()
    ) -> Document | None:
        check_update(update)
        query = sqlite_query.select("rowid, doc", self._name, where, sort=sort, limit=1)

        def change(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(*query).fetchone()
            return None if row is None else self._rewrite(connection, row, update)

        text = await self._write(change)
        return None if text is None else decode(text)

    async def count(self, where: Filter) -> int:
        query = sqlite_query.select("count(*)", self._name, where)
        return await self._read(lambda connection: int(connection.execute(*query).fetchone()[0]), 0)

    async def delete_many(self, where: Filter) -> int:
        statement = sqlite_query.delete(self._name, where)
        return await self._write(lambda connection: connection.execute(*statement).rowcount)

    async def ensure_indexes(self, indexes: Sequence[Index]) -> None:
        statements = [
            statement
            for index in indexes
            for statement in sqlite_query.create_index(self._name, index)
        ]

        def create(connection: sqlite3.Connection) -> None:
            with _savepoint(connection):
                for statement in statements:
                    connection.execute(statement)

        await self._write(create)

    async def explain(self, where: Filter, sort: SortKeys = ()) -> list[str]:
        """The query plan of a ``find``; see :meth:`SqliteDatabase.explain`."""
        query = sqlite_query.select("doc", self._name, where, sort=sort)
        plan = Sql(f"EXPLAIN QUERY PLAN {query.text}", query.values)
        return await self._read(
            lambda connection: [str(row[-1]) for row in connection.execute(*plan)], []
        )

    async def _write(self, operation: Operation[T]) -> T:
        if self._exists:
            return await self._writer.run(operation)
        create_table = sqlite_query.create_table(self._name)

        def create_first(connection: sqlite3.Connection) -> T:
            connection.execute(create_table)
            return operation(connection)

        result = await self._writer.run(create_first)
        self._exists = True
        return result

    async def _read(self, operation: Operation[T], when_missing: T) -> T:
        if self._exists:
            return await self._reader.run(operation)

        def look_first(connection: sqlite3.Connection) -> T:
            if connection.execute(_TABLE_EXISTS, (self._name,)).fetchone() is None:
                return when_missing
            self._exists = True
            return operation(connection)

        return await self._reader.run(look_first)

    def _rewrite(self, connection: sqlite3.Connection, row: tuple[int, str], update: Update) -> str:
        """Apply the update to a row as read; returns the document's new text."""
        rowid, old = row
        new = encode(apply_update(decode(old), update))
        if new != old:
            connection.execute(self._replace, (new, rowid))
        return new


def _to_row(document: Document) -> tuple[str, str]:
    check_document(document)
    return encode_string(cast("str", document["_id"])), encode(document)


def _read_schema(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """Undo all that happens inside if it fails, but not the rest of the transaction."""
    connection.execute("SAVEPOINT operation")
    try:
        yield
    except BaseException:
        # After some failures of the file SQLite has rolled back everything already.
        if connection.in_transaction:
            connection.execute("ROLLBACK TO operation")
            connection.execute("RELEASE operation")
        raise
    connection.execute("RELEASE operation")
