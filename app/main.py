"""Composition root of the API: ``uvicorn app.main:app``."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from app.agents.registry import AgentRegistry
from app.api.deps import ApiParts
from app.api.errors import install_error_handlers
from app.api.middleware import BodyLimitMiddleware, RequestContextMiddleware
from app.api.openapi import COMMON_ERRORS, DESCRIPTION
from app.api.v1 import (
    routes_agent,
    routes_health,
    routes_metrics,
    routes_prometheus,
    routes_tasks,
)
from app.core.background import start_background, stop_background
from app.core.clock import utc_now
from app.core.config import Settings, load_settings
from app.core.errors import ConfigurationError
from app.core.logging import configure_logging, get_logger
from app.core.tuning import exempt_startup_objects, share_interpreter_fairly
from app.db.connect import connect_database
from app.db.repositories import Repositories
from app.messaging.event_hub import EventHub
from app.messaging.events import EventStreamReader
from app.messaging.queue import Dispatcher, make_producer
from app.messaging.redis import connect_redis, connect_redis_for_listening
from app.services.dispatching import take_back_dispatches
from app.services.health import HealthProbe
from app.services.indexes import ensure_indexes
from app.services.streaming import StreamingParts

logger = get_logger("api")


class LifespanState(TypedDict):
    """What requests find in ``request.state``."""

    parts: ApiParts


def create_app(settings: Settings) -> FastAPI:
    """The API with these settings; connects when it is started."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[LifespanState]:
        configure_logging(settings, process="api")
        logger.info("settings_loaded", **settings.sanitised())
        _warn_if_open(settings)
        async with contextlib.AsyncExitStack() as resources:
            parts = await _open_parts(settings, resources)
            exempt_startup_objects()
            share_interpreter_fairly()
            yield {"parts": parts}

    app = FastAPI(
        title=settings.app_name,
        version=version("agent-orchestrator"),
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=COMMON_ERRORS,
        redoc_url=None,
    )
    for routes in (routes_agent, routes_tasks, routes_metrics, routes_health):
        app.include_router(routes.router)
    if settings.prometheus_enabled:
        app.include_router(routes_prometheus.router)
    install_error_handlers(app)
    # FastAPI's own limit answers in plain text, outside our middleware and without a request id.
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.request_max_bytes)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type", "Last-Event-ID", "X-API-Key", "X-Request-Id"],
            expose_headers=["Link", "Location", "X-Request-Id", "X-Total-Count"],
        )
    app.add_middleware(RequestContextMiddleware)
    return app


async def _open_parts(settings: Settings, resources: contextlib.AsyncExitStack) -> ApiParts:
    database = await connect_database(settings)
    resources.push_async_callback(database.close)
    repositories = Repositories.over(database)
    redis = connect_redis(settings)
    resources.push_async_callback(redis.aclose)
    dispatcher = Dispatcher(
        make_producer(settings),
        take_back_dispatches(repositories.tasks, utc_now),
    )
    hub = EventHub(connect_redis_for_listening(settings), settings)
    indexing = start_background(ensure_indexes(repositories), name="ensure_indexes")
    background = [
        start_background(dispatcher.run(), name="dispatcher"),
        start_background(hub.run(), name="event_hub"),
        indexing,
    ]
    resources.push_async_callback(stop_background, background)
    # Requests come after the indexes; with the store away they come anyway, and are answered 503.
    await asyncio.wait([indexing], timeout=settings.store_timeout_seconds)
    health = HealthProbe(database, redis, settings)
    resources.push_async_callback(health.close)
    return ApiParts(
        settings=settings,
        repositories=repositories,
        dispatcher=dispatcher,
        streaming=StreamingParts(
            tasks=repositories.tasks,
            reader=EventStreamReader(redis, settings),
            hub=hub,
            poll_seconds=settings.sse_poll_seconds,
        ),
        registry=AgentRegistry(),
        health=health,
        clock=utc_now,
    )


def _warn_if_open(settings: Settings) -> None:
    if not settings.api_keys and settings.environment not in {"local", "test"}:
        logger.warning("api_is_open", reason="API_KEYS is empty: whoever reaches this may use it")


def _create_from_environment() -> FastAPI:
    try:
        return create_app(load_settings())
    except ConfigurationError as error:
        sys.exit(str(error))


app = _create_from_environment()
