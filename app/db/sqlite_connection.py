"""Opening the store's SQLite file, and what its errors mean."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from app.core.config import Settings
from app.core.errors import ConfigurationError, StoreUnavailableError
from app.core.logging import get_logger
from app.db.database import DuplicateKeyError

SCHEMA_VERSION: Final = 1
"""Kept in the file's ``user_version``. Raise it when old code could misread a new file."""

_RETRY_SECONDS: Final = 0.02
_CACHE_KIB: Final = 16 * 1024
_WAL_BYTES_KEPT: Final = 64 * 1024 * 1024
_CHECKPOINT_PAGES: Final = 4000

_REASONS: Final = {
    sqlite3.SQLITE_BUSY: "the file is locked by another process",
    sqlite3.SQLITE_LOCKED: "the file is locked by another process",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "reading or writing the file failed",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_READONLY: "the file is read-only",
}

_log = get_logger(__name__)


def prepare_file(path: Path) -> None:
    """Make the folder (0700) and the file (0600) where they are missing.

    SQLite gives the files it adds beside this one the same permissions.

    Raises:
        StoreUnavailableError: where the file system refuses.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailableError(f"the store's file cannot be opened: {error}") from error


def open_connection(path: Path, settings: Settings) -> sqlite3.Connection:
    """A connection to a file that is, or here becomes, a store of this schema version.

    Several processes may do this to a new file at once: SQLite's own waiting does not cover the
    switch to WAL, so that is repeated for up to ``store_timeout_seconds``.

    Raises:
        ConfigurationError: the file was written by a newer version of this program.
        StoreUnavailableError: the file cannot be opened or stays locked.
    """
    deadline = time.monotonic() + settings.store_timeout_seconds
    while True:
        try:
            return _try_to_open(path, settings)
        except sqlite3.Error as error:
            if not is_locked(error) or time.monotonic() >= deadline:
                raise unavailable(error) from error
        time.sleep(_RETRY_SECONDS)


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another connection is in the way and waiting may help."""
    return _primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_file_failure(error: sqlite3.Error) -> bool:
    """Whether the file or its disk is at fault, rather than the one statement."""
    return _primary_code(error) in _REASONS


def unavailable(error: sqlite3.Error) -> StoreUnavailableError:
    """What the port raises for a failure of SQLite."""
    failure = StoreUnavailableError(f"the store is unavailable: {describe(error)['reason']}")
    failure.__cause__ = error
    return failure


def describe(error: sqlite3.Error) -> dict[str, str | None]:
    """The failure's fields for a log line: ``reason`` in words, SQLite's ``code`` and ``error``."""
    return {
        "reason": _REASONS.get(_primary_code(error), "SQLite reports an error"),
        "code": getattr(error, "sqlite_errorname", None),
        "error": str(error),
    }


def translate(error: Exception) -> Exception:
    """The error a caller of the port gets for one that an operation raised."""
    if isinstance(error, sqlite3.IntegrityError):
        return DuplicateKeyError(str(error))
    if isinstance(error, sqlite3.Error):
        _log.warning("store_operation_failed", **describe(error))
        return unavailable(error)
    return error


def _primary_code(error: sqlite3.Error) -> int:
    # The low byte: extended codes, e.g. SQLITE_IOERR_FSYNC, carry the detail above it.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _try_to_open(path: Path, settings: Settings) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=settings.store_timeout_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {settings.sqlite_synchronous}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        _check_schema_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_schema_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer version of this program (schema {version}, this one"
            f" knows {SCHEMA_VERSION}): upgrade, or set DATA_DIR to another folder"
        )
    if version == 0:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
