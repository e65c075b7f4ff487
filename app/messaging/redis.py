"""Connections to Redis or Valkey."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.core.config import Settings

COMMAND_TIMEOUT_SECONDS = 2.0
"""Nothing durable waits for Redis, so a stalled one must not hold up what is."""


def connect_redis(settings: Settings) -> Redis:
    """A client for short commands: it gives up after two seconds. Connects on first use."""
    return Redis.from_url(
        settings.resolve_redis_url(),
        decode_responses=True,
        socket_timeout=COMMAND_TIMEOUT_SECONDS,
        socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )


def connect_redis_for_listening(settings: Settings) -> Redis:
    """A client for a subscription, whose reads may wait for as long as nothing happens.

    The health check finds a connection whose other end vanished without a word.
    """
    return Redis.from_url(
        settings.resolve_redis_url(),
        decode_responses=True,
        socket_timeout=None,
        socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
        socket_keepalive=True,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
    )
