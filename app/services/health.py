"""Whether the parts that the system leans on answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.errors import StoreUnavailableError
from app.db.database import Database
from app.llm.client import LLMClient
from app.llm.connect import connect_llm

DependencyState = Literal["up", "down", "offline"]

PROBE_TIMEOUT_SECONDS = 2.0
PROVIDER_CHECK_SECONDS = 30.0
"""A provider's answer is remembered this long, since every probe asks for it."""


@dataclass(frozen=True)
class Health:
    """The answers. Without the store nothing works; without Redis tasks wait."""

    store: DependencyState
    redis: DependencyState

    @property
    def can_accept(self) -> bool:
        """Whether tasks can be accepted."""
        return self.store == "up"

    @property
    def is_whole(self) -> bool:
        """Whether everything works."""
        return self.store == "up" and self.redis == "up"


class HealthProbe:
    """Asks the store, Redis and the model provider."""

    def __init__(self, database: Database, redis: Redis, settings: Settings) -> None:
        self._database = database
        self._redis = redis
        self._settings = settings
        self._llm: LLMClient | None = None
        self._provider: DependencyState = "offline"
        self._provider_checked_at: float | None = None
        self._provider_lock = asyncio.Lock()

    async def check(self) -> Health:
        """Ask the store and Redis, both at once; two seconds at the most."""
        store, redis = await asyncio.gather(
            _probe(self._database.ping), _probe(lambda: _ping(self._redis))
        )
        return Health(store=store, redis=redis)

    async def check_provider(self) -> DependencyState:
        """Ask the model provider, at most every thirty seconds and at no cost in tokens."""
        if self._settings.offline:
            return "offline"
        async with self._provider_lock:
            now = asyncio.get_running_loop().time()
            last = self._provider_checked_at
            if last is None or now - last > PROVIDER_CHECK_SECONDS:
                if self._llm is None:
                    # In a thread, for it imports the SDK, which takes a second.
                    self._llm = await asyncio.to_thread(connect_llm, self._settings)
                self._provider = "up" if await self._llm.check() else "down"
                self._provider_checked_at = now
        return self._provider

    async def close(self) -> None:
        """Let go of the connection to the provider."""
        if self._llm is not None:
            await self._llm.close()


async def _ping(redis: Redis) -> None:
    await redis.ping()


async def _probe(ask: Callable[[], Awaitable[None]]) -> DependencyState:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            await ask()
    except (StoreUnavailableError, RedisError, OSError, TimeoutError):
        return "down"
    return "up"
