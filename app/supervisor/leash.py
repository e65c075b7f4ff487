"""What makes children die with this process, even when it is killed by SIGKILL.

Linux does it in the kernel: ``PR_SET_PDEATHSIG``, kept over ``exec``. Elsewhere a watcher process
reads a pipe that only this process writes to; when the pipe closes, the watcher kills whoever is
still on its list. A pipe that every child watched for itself would need their cooperation, and
Valkey gives none.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

_PR_SET_PDEATHSIG = 1


class Leash(Protocol):
    """Ties children to the life of the process that made it."""

    def before_exec(self) -> None:
        """Runs in the child, between fork and exec; the child leads its own session by then."""
        ...

    def release(self, pid: int) -> None:
        """Forget a child that has ended."""
        ...

    def close(self) -> None:
        """Let go of the children that are left, without harm to them."""
        ...


class KernelLeash:
    """Linux: the kernel sends SIGKILL when the *thread* that forked the child ends.

    So children must be forked from the main thread, which is the only one the supervisor has.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()
        # Looked up before the fork: between fork and exec, as little as possible should happen.
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl

    def before_exec(self) -> None:
        if self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        # The parent may have died before the call above; then no signal would ever come.
        if os.getppid() != self._parent:
            os._exit(1)

    def release(self, pid: int) -> None:
        """The kernel keeps no list."""

    def close(self) -> None:
        """Nothing to let go of."""


class WatcherLeash:
    """Any Unix: a watcher process in a session of its own, told of every child."""

    def __init__(self) -> None:
        # Close-on-exec, as all that Python opens: no child keeps the pipe open after us.
        reader, self._orders = os.pipe()
        self._watcher = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("watcher.py"))],
            stdin=reader,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(reader)

    def before_exec(self) -> None:
        # The child reports itself, so there is no moment at which it runs unknown.
        os.write(self._orders, b"+%d\n" % os.getpid())

    def release(self, pid: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, b"-%d\n" % pid)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, b"done\n")
        os.close(self._orders)
        self._watcher.wait()


def new_leash() -> Leash:
    """The strongest leash this system has."""
    return KernelLeash() if sys.platform == "linux" else WatcherLeash()
