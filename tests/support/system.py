"""The whole system as a user starts it: ``orchestrator up``, with all the processes that brings."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from app.core.config import Settings
from app.db.repositories import Repositories
from app.db.sqlite import SqliteDatabase
from tests.support.supervised import is_running
from tests.support.waiting import wait_until

COMMAND = (sys.executable, "-P", "-m", "app.cli")
START_SECONDS = 60.0
STOP_SECONDS = 10.0
"""What SIGTERM may take at the most, by the system's own promise."""

_GONE_SECONDS = 5.0


def environment_of(data_dir: Path, **settings: str) -> dict[str, str]:
    """This process's environment, which holds no settings of the product, and these settings."""
    return {
        **os.environ,
        "ENVIRONMENT": "test",
        "LOG_FORMAT": "json",
        "DATA_DIR": str(data_dir),
        "PORT": "0",
        # A proxy of the environment cannot reach this machine's loopback.
        "NO_PROXY": "127.0.0.1,localhost",
        **settings,
    }


class RunningSystem:
    """One life of ``orchestrator up``. Its log goes on where the one before on the folder ended."""

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.log_file = data_dir.with_suffix(".log")
        self._began_at = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._read_to = self._began_at
        self._lines: list[dict[str, Any]] = []
        self.url = ""
        with self.log_file.open("a") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "up"],
                # Not where a developer's .env file lies.
                cwd=data_dir.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it takes tasks; ``url`` is known from then on."""
        self.url = str(self.wait_for_line("system_ready", within=START_SECONDS)["url"])

    @property
    def log(self) -> str:
        """All that this life has written so far."""
        with self.log_file.open("rb") as file:
            file.seek(self._began_at)
            return file.read().decode(errors="replace")

    def lines(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of the log so far with this event and these fields, oldest first."""
        with self.log_file.open("rb") as file:
            file.seek(self._read_to)
            fresh = file.read()
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._read_to += len(complete)
        for line in complete.splitlines():
            with suppress(ValueError):
                parsed = json.loads(line)
                if isinstance(parsed, dict):
                    self._lines.append(parsed)
        return [
            line
            for line in self._lines
            if line.get("event") == event
            and all(line.get(name) == value for name, value in fields.items())
        ]

    def wait_for_line(
        self, event: str, *, within: float = 20.0, **fields: object
    ) -> dict[str, Any]:
        """The first line of the log with this event and these fields."""

        def found() -> bool:
            if self.lines(event, **fields):
                return True
            assert self.process.poll() is None, f"the system has ended:\n{self.log}"
            return False

        wait_until(found, within=within)
        return self.lines(event, **fields)[0]

    def pid_of(self, name: str) -> int:
        """The latest process of the child ``api``, ``worker-1``, ... or ``valkey``."""
        return int(self.lines("child_started", name=name)[-1]["pid"])

    def children(self) -> dict[str, int]:
        """The latest process of every child."""
        return {line["name"]: int(line["pid"]) for line in self.lines("child_started")}

    def pids(self) -> list[int]:
        """The supervisor and its children."""
        return [self.process.pid, *self.children().values()]

    def kill_child(self, name: str) -> int:
        """``kill -9`` of one child; gives the process id it had."""
        pid = self.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_successor(self, name: str, pid: int, *, within: float = 20.0) -> None:
        """Wait until another process has taken this one's place and is ready."""
        wait_until(
            lambda: any(line["pid"] != pid for line in self.lines("child_ready", name=name)[-1:]),
            within=within,
        )

    def kill(self) -> None:
        """``kill -9`` of the supervisor's process group and of every child's."""
        pids = self.pids()
        for pid in pids:
            _signal_group(pid, signal.SIGKILL)
        self.process.wait(_GONE_SECONDS)
        wait_until(lambda: not any(map(is_running, pids)), within=_GONE_SECONDS)

    def terminate(self) -> float:
        """SIGTERM; returns after how many seconds it had ended by itself."""
        began = time.monotonic()
        self.process.terminate()
        assert self.process.wait(STOP_SECONDS) == 0, self.log
        return time.monotonic() - began

    def left_running(self) -> list[int]:
        """Processes of this life that still run, those that its children started included."""
        return sorted(
            {pid for pid in self.pids() if is_running(pid)} | _processes_on(self.data_dir)
        )

    def close(self) -> None:
        """End it, one way or another.

        Raises:
            AssertionError: it did not end by itself, or left something running.
        """
        problem = ""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                problem = "SIGTERM did not end the system"
                self.process.kill()
                self.process.wait(_GONE_SECONDS)
        with suppress(TimeoutError):
            wait_until(lambda: not self.left_running(), within=_GONE_SECONDS)
        for pid in self.left_running():
            problem = problem or "the system left processes running"
            _signal_group(pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not problem, f"{problem}:\n{self.log}"


@contextmanager
def running_system(data_dir: Path, **settings: str) -> Iterator[RunningSystem]:
    """``orchestrator up`` on free ports, ready; nothing of it is left afterwards.

    Args:
        data_dir: its folder; the log is beside it, in ``<name>.log``.
        settings: environment variables, by name.
    """
    system = RunningSystem(data_dir, environment_of(data_dir, **settings))
    try:
        system.wait_until_ready()
        yield system
    finally:
        system.close()


@contextmanager
def running_process(
    command: Sequence[str], environment: Mapping[str, str], log_file: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of one's own, ended afterwards with all that it started."""
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log_file.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait(_GONE_SECONDS)


@asynccontextmanager
async def store_of(data_dir: Path) -> AsyncIterator[Repositories]:
    """The embedded store of a system, running or not, beside it."""
    settings = Settings(data_dir=data_dir)
    database = await SqliteDatabase.open(settings.sqlite_path, settings)
    try:
        yield Repositories.over(database)
    finally:
        await database.close()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _processes_on(data_dir: Path) -> set[int]:
    """Processes whose environment names the folder; Linux tells, other systems do not."""
    mark = re.compile(rb"(^|\0)DATA_DIR=" + re.escape(os.fsencode(data_dir)) + rb"(\0|$)")
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.search((folder / "environ").read_bytes()):
                found.add(int(folder.name))
    return {pid for pid in found if is_running(pid)}
