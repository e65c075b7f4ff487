"""What routes ask for: the process's parts and the caller.

All are coroutines though none waits: FastAPI runs plain functions in a thread, for each request.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyHeader
from pydantic import SecretStr

from app.agents.registry import AgentRegistry
from app.core.clock import Clock
from app.core.config import Settings
from app.core.errors import AuthenticationError
from app.db.repositories import Repositories
from app.messaging.queue import Dispatcher
from app.services.health import HealthProbe
from app.services.streaming import StreamingParts

_HEADER = APIKeyHeader(
    name="X-API-Key", auto_error=False, description="One of API_KEYS; not needed if there are none."
)


@dataclass(frozen=True)
class ApiParts:
    """Everything the API's requests share; made by ``app.main``."""

    settings: Settings
    repositories: Repositories
    dispatcher: Dispatcher
    streaming: StreamingParts
    registry: AgentRegistry
    health: HealthProbe
    clock: Clock


@dataclass(frozen=True)
class Caller:
    """Who asks. ``owner_id`` is ``None`` where the API is open."""

    owner_id: str | None


async def get_parts(request: Request) -> ApiParts:
    """The parts the application was started with."""
    parts: ApiParts = request.state.parts
    return parts


Parts = Annotated[ApiParts, Depends(get_parts)]


def owner_id_of(key: str) -> str:
    """The id under which a key's tasks are kept: tells keys apart and gives none away."""
    return f"key_{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def identify(key: str | None, api_keys: Sequence[SecretStr]) -> Caller:
    """The caller with that key.

    Raises:
        AuthenticationError: keys are configured, and this is none of them.
    """
    if not api_keys:
        return Caller(owner_id=None)
    if not key:
        raise AuthenticationError("Missing API key.")
    offered = hashlib.sha256(key.encode()).digest()
    # All are compared, each in constant time, so that the time taken tells nothing.
    matches = [
        hmac.compare_digest(offered, hashlib.sha256(known.get_secret_value().encode()).digest())
        for known in api_keys
    ]
    if not any(matches):
        raise AuthenticationError("Invalid API key.")
    return Caller(owner_id=owner_id_of(key))


async def get_caller(parts: Parts, key: Annotated[str | None, Security(_HEADER)]) -> Caller:
    """The caller, by the ``X-API-Key`` header."""
    return identify(key, parts.settings.api_keys)


async def get_stream_caller(
    parts: Parts,
    key: Annotated[str | None, Security(_HEADER)],
    query_key: Annotated[
        str | None,
        Query(
            alias="X-API-Key",
            description="The key where a browser's EventSource cannot send the header.",
        ),
    ] = None,
) -> Caller:
    """The caller, by header or query: on the event stream only."""
    return identify(key or query_key, parts.settings.api_keys)


AuthenticatedCaller = Annotated[Caller, Depends(get_caller)]
StreamCaller = Annotated[Caller, Depends(get_stream_caller)]
