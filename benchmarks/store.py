"""Inserts and reads per second through the store port on SQLite, beside raw sqlite3.

    python -m benchmarks.store [--documents N] [--concurrency N] [--json]

Raw sqlite3 is one thread on the same disk, table and indexes: it commits every insert by itself and
does not decode what it reads. The two take turns, and the median of the rounds is shown, so that
what else the machine does falls on both.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from app.core.clock import utc_now
from app.core.config import Settings, load_settings
from app.core.ids import new_id
from app.db import sqlite_query
from app.db.codec import encode
from app.db.connect import connect_database
from app.db.database import Collection, Document, Index
from app.db.sqlite_connection import open_connection

COLLECTION = "tasks"
INDEXES = (
    Index((("session_id", 1), ("created_at", -1))),
    Index((("owner_id", 1), ("created_at", -1))),
    Index((("status", 1), ("next_attempt_at", 1))),
)
LOAD_BATCH = 1000
ROUNDS = 5
INSERTS = 2000
READS = 5000
ALONE = 500


def make_document(number: int) -> Document:
    """A task as it is accepted, about 1 KB as text."""
    now = utc_now()
    task_id = new_id()
    return {
        "_id": task_id,
        "task_id": task_id,
        "session_id": f"session-{number % 1000}",
        "owner_id": f"owner-{number % 20}",
        "input_text": f"Write a short article about topic {number}. " * 6,
        "requested_agent": None,
        "status": "queued",
        "selected_agent": None,
        "created_at": now + timedelta(milliseconds=number),
        "updated_at": now,
        "queued_at": now,
        "started_at": None,
        "completed_at": None,
        "error": None,
        "result": None,
        "metadata": {"ip": "127.0.0.1", "user_agent": "curl/8", "request_id": new_id()},
        "cost": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        "attempt": 0,
        "max_attempts": 3,
        "next_attempt_at": now,
        "deadline_at": now + timedelta(minutes=15),
        "lease": None,
        "event_seq": 1,
        "events": [{"status": "queued", "at": now}],
        "schema_version": 1,
    }


async def per_second(
    concurrency: int, times: int, operation: Callable[[int], Awaitable[object]]
) -> float:
    """Operations per second when ``concurrency`` coroutines share ``times`` of them."""
    numbers = iter(range(times))

    async def work() -> None:
        for number in numbers:
            await operation(number)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return times / (time.perf_counter() - began)


def raw_per_second(times: int, operation: Callable[[int], object]) -> float:
    """Operations per second of plain calls."""
    began = time.perf_counter()
    for number in range(times):
        operation(number)
    return times / (time.perf_counter() - began)


class Figures:
    """What was measured per second, one value for each round."""

    def __init__(self) -> None:
        self._rounds: dict[str, list[float]] = {}

    def add(self, kind: str, **values: float) -> None:
        """Note a round of ``kind``: ``raw``, ``together`` and ``alone``."""
        for name, value in values.items():
            self._rounds.setdefault(f"{kind}_{name}", []).append(value)

    def summary(self) -> dict[str, float]:
        """Medians, and the port's as ratios to raw sqlite3's."""
        medians = {name: statistics.median(values) for name, values in self._rounds.items()}
        ratios = {
            f"{kind}_{name}_to_raw": medians[f"{kind}_{name}"] / medians[f"{kind}_raw"]
            for kind in ("inserts", "reads")
            for name in ("together", "alone")
        }
        return {name: round(value, 3) for name, value in (medians | ratios).items()}


def load_raw(
    path: Path, settings: Settings, documents: int
) -> tuple[sqlite3.Connection, list[str]]:
    """A file of its own with the same table, indexes and number of documents."""
    connection = open_connection(path, settings)
    connection.execute(sqlite_query.create_table(COLLECTION))
    for index in INDEXES:
        for statement in sqlite_query.create_index(COLLECTION, index):
            connection.execute(statement)
    ids = []
    for first in range(0, documents, LOAD_BATCH):
        batch = [make_document(first + number) for number in range(LOAD_BATCH)]
        connection.execute("BEGIN")
        rows = [(str(document["_id"]), encode(document)) for document in batch]
        connection.executemany(sqlite_query.insert(COLLECTION), rows)
        connection.execute("COMMIT")
        ids += [row[0] for row in rows]
    return connection, ids


async def load(collection: Collection, documents: int) -> list[str]:
    """Fill the store; returns the ids."""
    await collection.ensure_indexes(INDEXES)
    ids: list[str] = []
    for first in range(0, documents, LOAD_BATCH):
        batch = [make_document(first + number) for number in range(LOAD_BATCH)]
        await collection.insert_many(batch)
        ids += [str(document["_id"]) for document in batch]
    return ids


class Contest:
    """The port and raw sqlite3, each on a file with as many documents."""

    def __init__(
        self, collection: Collection, ids: list[str], raw: sqlite3.Connection, raw_ids: list[str]
    ) -> None:
        self._collection = collection
        self._ids = ids
        self._raw = raw
        self._raw_ids = raw_ids
        self.figures = Figures()

    async def insert(self, concurrency: int, first: int) -> None:
        """One round of inserts of documents numbered from ``first``."""
        new = [make_document(first + number) for number in range(INSERTS + ALONE)]
        rows = [(new_id(), encode(make_document(first + number))) for number in range(ALONE)]
        statement = sqlite_query.insert(COLLECTION)
        insert = self._collection.insert_one
        raw = raw_per_second(ALONE, lambda n: self._raw.execute(statement, rows[n]))
        together = await per_second(concurrency, INSERTS, lambda n: insert(new[n]))
        alone = await per_second(1, ALONE, lambda n: insert(new[INSERTS + n]))
        self.figures.add("inserts", raw=raw, together=together, alone=alone)

    async def read(self, concurrency: int) -> None:
        """One round of reads of random documents by their id."""
        wanted = random.choices(self._ids, k=READS)
        rows = random.choices(self._raw_ids, k=READS)
        statement = sqlite_query.select("doc", COLLECTION, {"_id": ""}).text
        find_one = self._collection.find_one
        raw = raw_per_second(READS, lambda n: self._raw.execute(statement, (rows[n],)).fetchone())
        together = await per_second(concurrency, READS, lambda n: find_one({"_id": wanted[n]}))
        alone = await per_second(1, ALONE, lambda n: find_one({"_id": wanted[n]}))
        self.figures.add("reads", raw=raw, together=together, alone=alone)


async def measure(folder: Path, documents: int, concurrency: int) -> dict[str, float]:
    """Fill both stores, then measure them in turn."""
    settings = load_settings(data_dir=folder).model_copy(update={"mongo_uri": None})
    database = await connect_database(settings)
    collection = database.collection(COLLECTION)
    ids = await load(collection, documents)
    raw, raw_ids = load_raw(folder / "raw.sqlite3", settings, documents)
    contest = Contest(collection, ids, raw, raw_ids)
    with closing(raw):
        for number in range(ROUNDS):
            await contest.insert(concurrency, first=documents + number * (INSERTS + ALONE))
            await contest.read(concurrency)
    await database.close()
    return contest.figures.summary()


def main() -> None:
    """Run it in a temporary folder below the current one: /tmp may be memory, not a disk."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        figures = asyncio.run(measure(Path(folder), arguments.documents, arguments.concurrency))
    if arguments.json:
        print(json.dumps(vars(arguments) | figures))
        return
    print(f"SQLite with {arguments.documents:,} documents, each commit durable (per second):")
    for kind in ("inserts", "reads"):
        print(
            f"  {kind}: {figures[f'{kind}_together']:,.0f} from {arguments.concurrency} coroutines"
            f" ({figures[f'{kind}_together_to_raw']:.2f} of raw),"
            f" {figures[f'{kind}_alone']:,.0f} from one"
            f" ({figures[f'{kind}_alone_to_raw']:.2f} of raw),"
            f" raw sqlite3 {figures[f'{kind}_raw']:,.0f}"
        )


if __name__ == "__main__":
    main()
