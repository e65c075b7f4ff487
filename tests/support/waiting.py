"""Waiting for a condition, with a bound."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PAUSE_SECONDS = 0.01


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 5.0) -> None:
    """Return once ``condition`` holds; ``TimeoutError`` if it does not in that many seconds."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - the condition is another process'
            await asyncio.sleep(PAUSE_SECONDS)


def wait_until(condition: Callable[[], bool], *, within: float = 5.0) -> None:
    """The same without an event loop."""
    give_up = time.monotonic() + within
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"still not so after {within} seconds")
        time.sleep(PAUSE_SECONDS)
