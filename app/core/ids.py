"""Identifiers made by us. All are opaque strings to clients."""

import os
import socket
from uuid import uuid4


def new_id() -> str:
    """A random UUID (version 4) in its canonical form."""
    return str(uuid4())


def new_worker_id() -> str:
    """Names one worker process for as long as it lives: ``host:pid:random``.

    The random part tells a restarted process from its predecessor with the same pid, which a
    container's first process always has.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
