"""The embedded store's file, from outside of the program."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


def count_documents(path: Path) -> dict[str, int]:
    """How many documents every collection holds; those without any are left out."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        counts = {
            str(name): int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])
            for (name,) in names
        }
    return {name: count for name, count in counts.items() if count}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else can write as long as one is inside."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
