"""A child process: what it is (a value) and one running instance of it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.supervisor.leash import Leash
from app.supervisor.restarts import RestartPolicy, deaths_in_a_row


def _nothing_to_prepare() -> None:
    """Most children need no preparation."""


@dataclass(frozen=True)
class ChildSpec:
    """What to start, and how to tell that it is ready."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    """Asked several times a second until it says yes; must answer within a second or so."""
    environment: Mapping[str, str]
    """The whole environment of the child."""
    stop_seconds: float
    """Time from SIGTERM to SIGKILL."""
    before_start: Callable[[], None] = _nothing_to_prepare
    """Called before every start, the first included."""
    log_file: Path | None = None
    """Where the child writes its log, if not to the supervisor's output."""


class Child:
    """A spec with its current process, if any, and the record of its lives."""

    def __init__(self, spec: ChildSpec, leash: Leash) -> None:
        self.spec = spec
        self.is_ready = False
        self.ever_ready = False
        self.restarts = 0
        self.deaths_in_a_row = 0
        self.restart_at: float | None = None
        """Moment, on the monotonic clock, of the next start; None while it runs or is stopped."""
        self._leash = leash
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def pid(self) -> int | None:
        """The running process, None when there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process in a session of its own.

        There, no Ctrl-C of the terminal reaches it: the supervisor alone orders the shutdown.
        """
        self.spec.before_start()
        self.restart_at = None
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603
            self.spec.command,
            env=self.spec.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # Safe to run Python there, as the supervisor has one thread.
            preexec_fn=self._leash.before_exec,
        )

    def check_ready(self) -> bool:
        """Ask a running child that was not ready yet; true when it has just become so."""
        if self._process is None or self.is_ready or not self.spec.is_ready():
            return False
        self.is_ready = self.ever_ready = True
        return True

    def reap(self, policy: RestartPolicy) -> int | None:
        """The exit code, once, of a process that has ended since the last call."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        lived = time.monotonic() - self._started_at
        # Whatever the child had started itself has no owner any more.
        self.signal_group(signal.SIGKILL)
        self._leash.release(self._process.pid)
        self._process = None
        self.is_ready = False
        self.deaths_in_a_row = deaths_in_a_row(self.deaths_in_a_row, lived, policy)
        return code

    def terminate(self) -> None:
        """Ask it to stop."""
        if self._process is not None:
            self._process.terminate()

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and to all that it started."""
        if self._process is not None:
            # macOS answers EPERM for a group whose only member is a zombie.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def last_words(self) -> str:
        """Where to read why it died, with the last line of its own log where it has one."""
        if self.spec.log_file is None:
            return "its output is above"
        try:
            lines = self.spec.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return f"{self.spec.log_file} ends with: {lines[-1] if lines else 'nothing'}"


def describe_exit(code: int) -> str:
    """``exit code 3`` or ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
