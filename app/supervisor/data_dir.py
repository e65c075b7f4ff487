"""The data directory and the lock that gives it to one instance at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.errors import ConfigurationError

LOCK_FILE = "lock"


@contextmanager
def hold_data_dir(path: Path) -> Iterator[Path]:
    """Create ``path`` (mode 0700) where it is missing, and own it until the block ends.

    The kernel drops the lock with the process, however that dies. The file stays: removing it
    would let two instances lock two files of the same name.

    Yields:
        The absolute path.

    Raises:
        ConfigurationError: another instance owns it, or it cannot be used.
    """
    directory = path.absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Python opens files close-on-exec: no child can keep the lock after us.
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"DATA_DIR={str(directory)!r}: is not a directory") from None
    except OSError as error:
        raise _unusable(directory, error) from None
    try:
        _lock(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        try:
            yield directory
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Put ``text`` into ``path`` in one step, readable by its owner only."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        raise ConfigurationError(
            f"DATA_DIR={str(directory)!r}: another orchestrator (pid {holder}) is running on it;"
            " stop that one or choose another --data-dir"
        ) from None
    except OSError as error:
        raise _unusable(directory, error) from None


def _unusable(directory: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"DATA_DIR={str(directory)!r}: cannot be used: {error.strerror}")
