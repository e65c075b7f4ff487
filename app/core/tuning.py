"""Tuning of a long-running process, with what it was found to bring."""

import gc
import sys

SWITCH_INTERVAL_SECONDS = 0.0005


def share_interpreter_fairly() -> None:
    """Let a thread that waits for the interpreter have it after half a millisecond.

    The store's writer needs it between the statements of a transaction. With Python's five
    milliseconds a busy event loop makes it hold the file's lock that much longer.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)


def exempt_startup_objects() -> None:
    """Keep the collector from walking through what lives as long as the process.

    Modules, schemas and clients are hundreds of thousands of objects; looking at them again and
    again took a seventh of a task's time in a worker.
    """
    gc.collect()
    gc.freeze()
