"""The program of :class:`app.supervisor.leash.WatcherLeash`; it is run as a file and alone.

Standard input says ``+pid`` and ``-pid``, one a line. ``done`` ends it quietly; the end of the
input without that means that the supervisor is dead, and kills the groups still listed.
"""

import contextlib
import os
import signal
import sys
from typing import BinaryIO


def watch(orders: BinaryIO) -> set[int]:
    """Follow the orders to their end; the answer is who has to die."""
    listed: set[int] = set()
    for line in orders:
        if line == b"done\n":
            return set()
        if line.startswith(b"+"):
            listed.add(int(line[1:]))
        else:
            listed.discard(int(line[1:]))
    return listed


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    for pid in watch(sys.stdin.buffer):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
