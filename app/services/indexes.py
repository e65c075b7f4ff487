"""Indexes at start, as soon as the store answers."""

import asyncio

from app.core.errors import StoreUnavailableError
from app.core.logging import get_logger
from app.db.repositories import Repositories

logger = get_logger("indexes")

STORE_RETRY_SECONDS = 1.0


async def ensure_indexes(repositories: Repositories) -> None:
    """Create what is missing; waits for a store that is away, which is no reason to die."""
    while True:
        try:
            await repositories.ensure_indexes()
        except StoreUnavailableError as error:
            logger.warning("store_not_ready", error=error.message)
            await asyncio.sleep(STORE_RETRY_SECONDS)
        else:
            return
