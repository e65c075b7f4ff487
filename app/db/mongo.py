"""The store on MongoDB: the port's language passed through to PyMongo's async client.

What is outside the language is refused here, before the server sees it, and the driver's errors
become the port's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Final

from pymongo import AsyncMongoClient, IndexModel, ReturnDocument
from pymongo import errors as driver_errors
from pymongo.asynchronous.collection import AsyncCollection

from app.core.config import Settings
from app.core.errors import ConfigurationError, StoreUnavailableError
from app.core.logging import get_logger
from app.db.codec import check_document
from app.db.database import (
    Document,
    DuplicateKeyError,
    Filter,
    Index,
    SortKeys,
    Update,
    UpdateResult,
)
from app.db.language import (
    check_collection_name,
    check_index,
    check_sort,
    check_window,
    parse_filter,
)
from app.db.update_operators import check_update, document_for_upsert

_DUPLICATE_KEY: Final = 11000

_UPDATE_DOES_NOT_FIT: Final = frozenset({2, 9, 14, 28, 40, 66})
"""BadValue, FailedToParse, TypeMismatch, PathNotViable, ConflictingUpdateOperators, ImmutableField:
the document's values do not allow the update, whoever asks and however often."""

_WILL_NOT_PASS: Final = frozenset({13, 18, 85, 86})
"""Unauthorized, AuthenticationFailed, IndexOptionsConflict, IndexKeySpecsConflict: to wait for
these to pass would be to wait for ever."""

_log = get_logger(__name__)


class MongoDatabase:
    """A database of a MongoDB server. ``client`` is handed in and closed with it."""

    def __init__(self, client: AsyncMongoClient[Document], name: str) -> None:
        self._client = client
        self._database = client[name]

    @classmethod
    def connect(cls, uri: str, settings: Settings) -> "MongoDatabase":
        """A client that connects with its first operation.

        Writes are acknowledged by a majority. ``store_timeout_seconds`` bounds each operation as a
        whole, retries and the search for a server included.

        Raises:
            ConfigurationError: the URI cannot be used.
        """
        timeout_ms = int(settings.store_timeout_seconds * 1000)
        try:
            client: AsyncMongoClient[Document] = AsyncMongoClient(
                uri,
                appname=settings.app_name,
                tz_aware=True,
                tzinfo=UTC,
                w="majority",
                timeoutMS=timeout_ms,
                serverSelectionTimeoutMS=timeout_ms,
                connectTimeoutMS=timeout_ms,
            )
        except (driver_errors.PyMongoError, ValueError):
            # The driver's message is not passed on: it may quote the URI, password included.
            raise ConfigurationError("MONGO_URI is not a valid connection URI") from None
        return cls(client, settings.mongo_db_name)

    def collection(self, name: str) -> "MongoCollection":
        """The collection of that name; ``ValueError`` if it cannot be one."""
        return MongoCollection(self._database[check_collection_name(name)])

    async def ping(self) -> None:
        """Ask the server for a sign of life."""
        with _translated_errors():
            await self._database.command("ping")

    async def close(self) -> None:
        """Close the client's connections. Idempotent."""
        await self._client.close()


class MongoCollection:
    """One collection of the server."""

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection

    async def insert_one(self, document: Document) -> None:
        check_document(document)
        with _translated_errors():
            await self._collection.insert_one(document)

    async def insert_many(
        self, documents: Sequence[Document], *, ignore_duplicates: bool = False
    ) -> int:
        for document in documents:
            check_document(document)
        if not documents:
            return 0
        try:
            with _translated_errors():
                await self._collection.insert_many(documents, ordered=not ignore_duplicates)
        except DuplicateKeyError as error:
            if ignore_duplicates and isinstance(error.__cause__, driver_errors.BulkWriteError):
                return len(documents) - len(error.__cause__.details["writeErrors"])
            raise
        return len(documents)

    async def find_one(self, where: Filter) -> Document | None:
        parse_filter(where)
        with _translated_errors():
            return await self._collection.find_one(where)

    async def find(
        self, where: Filter, *, sort: SortKeys = (), skip: int = 0, limit: int | None = None
    ) -> list[Document]:
        parse_filter(where)
        check_sort(sort)
        check_window(skip, limit)
        if limit == 0:
            return []  # which MongoDB takes for "no limit"
        with _translated_errors():
            cursor = self._collection.find(where, skip=skip, limit=limit or 0, sort=list(sort))
            return await cursor.to_list()

    async def update_one(
        self, where: Filter, update: Update, *, upsert: bool = False
    ) -> UpdateResult:
        parse_filter(where)
        check_update(update)
        if upsert:
            document_for_upsert(where, update)
        with _translated_errors():
            result = await self._collection.update_one(where, _without_empty(update), upsert=upsert)
        return UpdateResult(result.matched_count, upserted=result.upserted_id is not None)

    async def update_many(self, where: Filter, update: Update) -> int:
        parse_filter(where)
        check_update(update)
        with _translated_errors():
            result = await self._collection.update_many(where, _without_empty(update))
        return result.matched_count

    async def find_one_and_update(
        self, where: Filter, update: Update, *, sort: SortKeys = ()
    ) -> Document | None:
        parse_filter(where)
        check_update(update)
        check_sort(sort)
        with _translated_errors():
            found: Document | None = await self._collection.find_one_and_update(
                where,
                _without_empty(update),
                sort=list(sort) or None,
                return_document=ReturnDocument.AFTER,
            )
        return found

    async def count(self, where: Filter) -> int:
        parse_filter(where)
        with _translated_errors():
            return await self._collection.count_documents(where)

    async def delete_many(self, where: Filter) -> int:
        parse_filter(where)
        with _translated_errors():
            return (await self._collection.delete_many(where)).deleted_count

    async def ensure_indexes(self, indexes: Sequence[Index]) -> None:
        for index in indexes:
            check_index(index)
        models = [
            # Left out where false: a server compares the options that were given by their words.
            IndexModel(
                list(index.keys),
                name=index.name,
                **{option: True for option in ("unique", "sparse") if getattr(index, option)},
            )
            for index in indexes
        ]
        if models:
            with _translated_errors():
                await self._collection.create_indexes(models)


def _without_empty(update: Update) -> dict[str, Mapping[str, object]]:
    """Servers before 5.0 refuse an operator that names no field."""
    return {operator: fields for operator, fields in update.items() if fields}


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except driver_errors.DuplicateKeyError as error:
        raise DuplicateKeyError(str(error)) from error
    except driver_errors.BulkWriteError as error:
        codes = {failure.get("code") for failure in error.details.get("writeErrors", ())}
        if codes == {_DUPLICATE_KEY} and not error.details.get("writeConcernErrors"):
            raise DuplicateKeyError(str(error)) from error
        raise _unavailable(error) from error
    except driver_errors.DocumentTooLarge as error:
        raise ValueError(str(error)) from error
    except driver_errors.OperationFailure as error:
        if error.code in _UPDATE_DOES_NOT_FIT:
            raise ValueError(str(error)) from error
        if error.code in _WILL_NOT_PASS:
            _log.error("store_refuses", error=str(error))
            raise ConfigurationError(
                "MongoDB refuses: the user may not do this, or an index has other options"
            ) from error
        raise _unavailable(error) from error
    except driver_errors.PyMongoError as error:
        raise _unavailable(error) from error


def _unavailable(error: driver_errors.PyMongoError) -> StoreUnavailableError:
    _log.warning("store_operation_failed", error=str(error), kind=type(error).__name__)
    return StoreUnavailableError(f"the store is unavailable: {type(error).__name__}")
