"""A database that counts and times what is asked of it, for Prometheus."""

import time
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from prometheus_client import Histogram

from app.db.database import (
    Collection,
    Database,
    Document,
    Filter,
    Index,
    SortKeys,
    Update,
    UpdateResult,
)

STORE_OPERATIONS = Histogram(
    "store_operation_seconds",
    "Time of a store operation as its caller sees it, in seconds",
    ("collection", "operation"),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
)

Result = TypeVar("Result")


class InstrumentedDatabase:
    """Hands everything on to another database, and measures it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collection(self, name: str) -> Collection:
        """The other's collection, measured."""
        return InstrumentedCollection(name, self._database.collection(name))

    async def ping(self) -> None:
        """As the port says; not measured."""
        await self._database.ping()

    async def close(self) -> None:
        """As the port says."""
        await self._database.close()


class InstrumentedCollection:
    """Hands everything on to another collection, and measures it."""

    def __init__(self, name: str, collection: Collection) -> None:
        self._collection = collection
        self._timers = {
            operation: STORE_OPERATIONS.labels(name, operation)
            for operation in (
                "insert_one",
                "insert_many",
                "find_one",
                "find",
                "update_one",
                "update_many",
                "find_one_and_update",
                "count",
                "delete_many",
            )
        }

    async def _measured(self, operation: str, work: Awaitable[Result]) -> Result:
        started = time.perf_counter()
        try:
            return await work
        finally:
            self._timers[operation].observe(time.perf_counter() - started)

    async def insert_one(self, document: Document) -> None:
        """As the port says."""
        await self._measured("insert_one", self._collection.insert_one(document))

    async def insert_many(
        self, documents: Sequence[Document], *, ignore_duplicates: bool = False
    ) -> int:
        """As the port says."""
        work = self._collection.insert_many(documents, ignore_duplicates=ignore_duplicates)
        return await self._measured("insert_many", work)

    async def find_one(self, where: Filter) -> Document | None:
        """As the port says."""
        return await self._measured("find_one", self._collection.find_one(where))

    async def find(
        self, where: Filter, *, sort: SortKeys = (), skip: int = 0, limit: int | None = None
    ) -> list[Document]:
        """As the port says."""
        work = self._collection.find(where, sort=sort, skip=skip, limit=limit)
        return await self._measured("find", work)

    async def update_one(
        self, where: Filter, update: Update, *, upsert: bool = False
    ) -> UpdateResult:
        """As the port says."""
        work = self._collection.update_one(where, update, upsert=upsert)
        return await self._measured("update_one", work)

    async def update_many(self, where: Filter, update: Update) -> int:
        """As the port says."""
        return await self._measured("update_many", self._collection.update_many(where, update))

    async def find_one_and_update(
        self, where: Filter, update: Update, *, sort: SortKeys = ()
    ) -> Document | None:
        """As the port says."""
        work = self._collection.find_one_and_update(where, update, sort=sort)
        return await self._measured("find_one_and_update", work)

    async def count(self, where: Filter) -> int:
        """As the port says."""
        return await self._measured("count", self._collection.count(where))

    async def delete_many(self, where: Filter) -> int:
        """As the port says."""
        return await self._measured("delete_many", self._collection.delete_many(where))

    async def ensure_indexes(self, indexes: Sequence[Index]) -> None:
        """As the port says; not measured."""
        await self._collection.ensure_indexes(indexes)
