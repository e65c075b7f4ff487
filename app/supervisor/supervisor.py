"""The supervisor's loop: one thread that waits for signals, deaths and moments."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Self

from app.core.errors import AppError, ConfigurationError
from app.core.logging import get_logger
from app.supervisor.children import Child, ChildSpec, describe_exit
from app.supervisor.leash import Leash, new_leash
from app.supervisor.restarts import Death, GiveUp, RestartPolicy, decide_restart

READY_POLL_SECONDS = 0.05
REMIND_SECONDS = 10.0

_logger = get_logger(__name__)


class StartUpFailedError(AppError):
    """A child died over and over without ever being ready."""

    code = "START_UP_FAILED"


class Supervisor:
    """Starts children in stages, keeps them running, and stops the stages in reverse order.

    Use it as a context manager, in the main thread: it owns SIGINT, SIGTERM, SIGHUP and SIGCHLD
    inside the block, and nothing that it started is left when the block ends.
    """

    def __init__(self, *, policy: RestartPolicy | None = None, leash: Leash | None = None) -> None:
        self._policy = policy or RestartPolicy()
        self._leash = leash or new_leash()
        self._stages: list[list[Child]] = []
        self._stop_requested = False
        self._kill_requested = False
        self._cleanup = contextlib.ExitStack()
        self._wakeup = -1

    def __enter__(self) -> Self:
        self._cleanup.callback(self._leash.close)
        self._catch_signals()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._cleanup.close()

    def start(self, specs: Sequence[ChildSpec]) -> None:
        """Start a stage: its children at once, and stopped only after all later stages."""
        stage = [Child(spec, self._leash) for spec in specs]
        self._stages.append(stage)
        for child in stage:
            self._start(child)

    def wait_until_ready(self) -> bool:
        """Wait until every child started so far is ready; false when asked to stop before that.

        Raises:
            StartUpFailedError: a child cannot be got to run.
            ConfigurationError: a child refused its configuration.
        """
        began = reminded = time.monotonic()
        while not self._stop_requested:
            self._look_after_children()
            waiting = [child.spec.name for child in self._children() if not child.is_ready]
            if not waiting:
                return True
            now = time.monotonic()
            if now - reminded >= REMIND_SECONDS:
                reminded = now
                _logger.warning("children_not_ready", names=waiting, seconds=round(now - began))
            self._wait(self._time_to_next_event())
        return False

    def run(self) -> None:
        """Keep the children running until asked to stop."""
        while not self._stop_requested:
            self._look_after_children()
            self._wait(self._time_to_next_event())

    def stop(self) -> None:
        """Stop the stages, last one first; SIGKILL whoever takes longer than its spec allows."""
        for stage in reversed(self._stages):
            running = [child for child in stage if child.pid is not None]
            for child in running:
                child.terminate()
            began = time.monotonic()
            while running:
                now = time.monotonic()
                for child in running:
                    if self._kill_requested or now - began >= child.spec.stop_seconds:
                        child.signal_group(signal.SIGKILL)
                self._wait(READY_POLL_SECONDS)
                running = [child for child in running if not self._has_ended(child)]
        self._stages.clear()

    def _has_ended(self, child: Child) -> bool:
        code = child.reap(self._policy)
        if code is None:
            return False
        _logger.info("child_stopped", name=child.spec.name, reason=describe_exit(code))
        return True

    def _children(self) -> list[Child]:
        return [child for stage in self._stages for child in stage]

    def _start(self, child: Child) -> None:
        child.start()
        _logger.info("child_started", name=child.spec.name, pid=child.pid, restart=child.restarts)

    def _look_after_children(self) -> None:
        for child in self._children():
            code = child.reap(self._policy)
            if code is not None:
                self._bury(child, code)
            elif child.restart_at is not None and child.restart_at <= time.monotonic():
                child.restarts += 1
                self._start(child)
            elif child.check_ready():
                _logger.info("child_ready", name=child.spec.name, pid=child.pid)

    def _bury(self, child: Child, code: int) -> None:
        name = child.spec.name
        decision = decide_restart(
            Death(code, in_a_row=child.deaths_in_a_row, ever_ready=child.ever_ready), self._policy
        )
        if isinstance(decision, GiveUp):
            if decision.misconfigured:
                raise ConfigurationError(f"{name} refused its configuration; {child.last_words()}")
            raise StartUpFailedError(
                f"{name} died {child.deaths_in_a_row} times before it was ready, last with"
                f" {describe_exit(code)}; {child.last_words()}"
            )
        child.restart_at = time.monotonic() + decision.seconds
        _logger.warning(
            "child_died",
            name=name,
            reason=describe_exit(code),
            restart=child.restarts + 1,
            restart_in_seconds=decision.seconds,
        )

    def _time_to_next_event(self) -> float | None:
        """Seconds until there is something to do of our own accord; None: only when woken."""
        moments = [
            child.restart_at - time.monotonic()
            for child in self._children()
            if child.restart_at is not None
        ]
        if any(child.pid is not None and not child.is_ready for child in self._children()):
            moments.append(READY_POLL_SECONDS)
        return max(0.0, min(moments)) if moments else None

    def _catch_signals(self) -> None:
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
            self._cleanup.callback(os.close, end)
        self._wakeup = reader
        previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._cleanup.callback(signal.set_wakeup_fd, previous)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            # Under nohup SIGHUP arrives ignored, and that is a wish to be respected.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._cleanup.callback(signal.signal, number, signal.signal(number, self._on_signal))

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGCHLD:
            return  # it only has to end the wait, through the wake-up pipe
        # Only a second Ctrl-C means hurry: make and process-group kills repeat a SIGTERM.
        if number == signal.SIGINT and self._stop_requested:
            self._kill_requested = True
        self._stop_requested = True

    def _wait(self, seconds: float | None) -> None:
        """Wait for a signal, a child's death included, or until the time is up."""
        if select.select([self._wakeup], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wakeup, 512):
                    pass
