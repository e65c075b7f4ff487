"""Background work that a process cannot do without."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterable

from app.core.logging import get_logger

logger = get_logger("background")


def start_background(work: Coroutine[object, object, None], *, name: str) -> asyncio.Task[None]:
    """Run ``work`` beside everything else; a fault in it ends the process.

    A process whose dispatcher or heartbeat has crashed looks alive and does harm, so it asks itself
    to stop, and whoever supervises it starts another.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_stop_process_if_crashed)
    return task


async def stop_background(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel background work and wait for its end."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stop_process_if_crashed(task: asyncio.Task[None]) -> None:
    if task.cancelled() or task.exception() is None or task.cancelling():
        # What goes wrong while the process stops stops nothing.
        return
    logger.critical("background_work_crashed", name=task.get_name(), exc_info=task.exception())
    os.kill(os.getpid(), signal.SIGTERM)
