"""Runs ``supervised_standin.py`` as a process of its own and reads what it logs."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Protocol

PROGRAM = Path(__file__).with_name("supervised_standin.py")
WAIT_SECONDS = 20.0

RUNS_UNTIL_TERM = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
pathlib.Path(os.environ["READY"]).touch()
while True: time.sleep(60)
"""


def is_running(pid: int) -> bool:
    """Whether a process lives; one that nobody has reaped yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    return stat.rpartition(")")[2].split()[0] != "Z"


class Instance:
    """A running ``supervised_standin.py``."""

    def __init__(self, data_dir: Path, plan: dict[str, Any]) -> None:
        self.data_dir = data_dir
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            # With -P, its neighbours here do not stand in for packages of their names.
            [sys.executable, "-P", str(PROGRAM), str(data_dir), json.dumps(plan)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def wait_for(self, event: str, name: str | None = None) -> dict[str, Any]:
        """The next line of the log with this event (and child)."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"no {event} of {name} after {self.seen}"
            self.seen.append(line)
            if line["event"] == event and name in (None, line.get("name")):
                return line

    def pid_of(self, name: str) -> int:
        """The latest process of a child, from the log read so far."""
        pids = [line["pid"] for line in self.seen
                if line["event"] == "child_started" and line["name"] == name]  # fmt: skip
        return int(pids[-1])

    def wait_for_exit(self) -> int:
        """The exit code; the log is read to its end."""
        code = self.process.wait(WAIT_SECONDS)
        while (line := self._lines.get(timeout=WAIT_SECONDS)) is not None:
            self.seen.append(line)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the supervisor and wait for its end."""
        self.process.send_signal(number)
        return self.wait_for_exit()

    def kill(self) -> None:
        """What ``kill -9`` does."""
        self.process.kill()
        self.process.wait(WAIT_SECONDS)

    def close(self) -> None:
        self.kill()
        self._reader.join(WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Start(Protocol):
    """What the fixture ``start`` does: starts an instance with these stages."""

    def __call__(self, *stages: list[dict[str, Any]], **options: object) -> Instance: ...
