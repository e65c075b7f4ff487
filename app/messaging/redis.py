"""Connections to Redis or Valkey."""

import asyncio

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.core.config import Settings

COMMAND_TIMEOUT_SECONDS = 2.0
"""Nothing durable waits for Redis, so a stalled one must not hold up what is."""


def connect_redis(settings: Settings) -> Redis:
    """A client for short commands, each of which belongs inside a :func:`command_deadline`.

    The client has no read timeout of its own: with one, redis-py 8.1 loses a cancellation that
    arrives while it reads, and whoever was cancelled goes on. Connects on first use.
    """
    return Redis.from_url(
        settings.resolve_redis_url(),
        decode_responses=True,
        socket_timeout=None,
        socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )


def command_deadline() -> asyncio.Timeout:
    """The time a command may take; above it ``TimeoutError``, which is an ``OSError``."""
    return asyncio.timeout(COMMAND_TIMEOUT_SECONDS)


def connect_redis_for_listening(settings: Settings) -> Redis:
    """A client for a subscription, whose reads may wait for as long as nothing happens.

    Whoever listens pings by itself, and counts.
    """
    return Redis.from_url(
        settings.resolve_redis_url(),
        decode_responses=True,
        # Whoever reaches Redis can publish bytes that are no text. They must not stop the hub.
        encoding_errors="replace",
        socket_timeout=None,
        socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
    )
