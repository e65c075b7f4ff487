"""The store port: what the repositories may ask of a database, and nothing else.

Documents are JSON-like: strings, integers (64-bit), floats, booleans, ``None``, timezone-aware
``datetime`` in whole milliseconds, lists and string-keyed dicts of these. Each has a string
``_id``. Keys must not begin with ``$`` nor contain ``.``.

**Filters** are MongoDB's, cut to what the repositories use. A field is a dotted path of names to
a scalar (list elements are not searched)::

    {"field": value}                         equality; None matches null and missing
    {"field": {"$ne" | "$lt" | "$lte" | "$gt" | "$gte": value}}
    {"field": {"$in" | "$nin": [values]}}
    {"field": {"$exists": bool}}
    {"$or": [filter, ...]}

Several conditions must all hold. As in MongoDB, ``$lt`` and its kin compare only values of one
type (numbers, strings, booleans or datetimes), and ``$ne``/``$nin`` match missing fields.

**Updates** combine ``$set``, ``$unset``, ``$inc``, ``$max``, ``$setOnInsert`` and ``$push`` (one
element, or ``{"$each": [...], "$slice": n}``); two operators must not name the same path. An
upsert that finds nothing inserts the filter's equality fields with the update applied.

An engine refuses anything outside this language with ``ValueError``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Document = dict[str, object]
Filter = Mapping[str, object]
Update = Mapping[str, Mapping[str, object]]
Direction = Literal[1, -1]
SortKeys = Sequence[tuple[str, Direction]]


class DuplicateKeyError(Exception):
    """A document with the same ``_id`` or unique index entry exists."""


@dataclass(frozen=True)
class Index:
    """An index over ``keys``, in order; each direction is 1 (ascending) or -1.

    ``sparse`` leaves out documents that have none of the fields.
    """

    keys: tuple[tuple[str, Direction], ...]
    unique: bool = False
    sparse: bool = False

    @property
    def name(self) -> str:
        """A name made from the keys as MongoDB makes it: ``status_1_created_at_-1``."""
        return "_".join(f"{field}_{direction}" for field, direction in self.keys)


@dataclass(frozen=True)
class UpdateResult:
    """How many documents the filter matched; whether an upsert inserted one instead."""

    matched: int
    upserted: bool = False


class Collection(Protocol):
    """One named set of documents.

    Every method raises ``StoreUnavailableError`` when the store does not answer in time.
    """

    async def insert_one(self, document: Document) -> None:
        """Insert; ``DuplicateKeyError`` if its ``_id`` or a unique key is taken."""
        ...

    async def insert_many(
        self, documents: Sequence[Document], *, ignore_duplicates: bool = False
    ) -> int:
        """Insert in order and return how many were inserted.

        With ``ignore_duplicates``, documents whose ``_id`` or unique key is taken are left out;
        otherwise the first of them raises ``DuplicateKeyError``, and those before it may stay.
        """
        ...

    async def find_one(self, where: Filter) -> Document | None:
        """Any one document that matches."""
        ...

    async def find(
        self, where: Filter, *, sort: SortKeys = (), skip: int = 0, limit: int | None = None
    ) -> list[Document]:
        """All that match, sorted; ``None`` and missing sort first in ascending order."""
        ...

    async def update_one(
        self, where: Filter, update: Update, *, upsert: bool = False
    ) -> UpdateResult:
        """Update one document that matches, atomically."""
        ...

    async def update_many(self, where: Filter, update: Update) -> int:
        """Update all that match, each atomically; returns how many matched."""
        ...

    async def find_one_and_update(
        self, where: Filter, update: Update, *, sort: SortKeys = ()
    ) -> Document | None:
        """Update the first that matches in ``sort`` order and return it as it is afterwards.

        Of several callers racing for one document, exactly one wins where the update ends the
        match.
        """
        ...

    async def count(self, where: Filter) -> int:
        """How many match."""
        ...

    async def delete_many(self, where: Filter) -> int:
        """Delete all that match; returns how many."""
        ...

    async def ensure_indexes(self, indexes: Sequence[Index]) -> None:
        """Create what is missing. Idempotent, and safe when several processes do it at once."""
        ...


class Database(Protocol):
    """A set of collections."""

    def collection(self, name: str) -> Collection:
        """The collection of that name, which comes into being with its first document."""
        ...

    async def ping(self) -> None:
        """Return if the store answers; ``StoreUnavailableError`` otherwise."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads. Idempotent."""
        ...
