"""A process of its own that raises a counter in a SQLite store: its arguments are folder and times.

It opens the store as any process of the product does, so several of these started at once also
race for making the file.
"""

import asyncio
import sys
from pathlib import Path

from app.core.config import load_settings
from app.db.connect import connect_database

CONCURRENCY = 8


async def increment(data_dir: Path, times: int) -> None:
    """Raise ``counters/shared.n`` by one, ``times`` times."""
    database = await connect_database(load_settings(data_dir=data_dir, store_timeout_seconds=30))
    counters = database.collection("counters")
    remaining = iter(range(times))

    async def work() -> None:
        for _ in remaining:
            await counters.update_one({"_id": "shared"}, {"$inc": {"n": 1}}, upsert=True)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    await database.close()


if __name__ == "__main__":
    asyncio.run(increment(Path(sys.argv[1]), int(sys.argv[2])))
