"""Probes: for load balancers, for supervisors and for people. They need no key."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from app.api.deps import Parts
from app.llm.client import OFFLINE_MODEL
from app.models.api.responses import (
    LiveResponse,
    ModelReadiness,
    ReadyResponse,
    RedisReadiness,
    StoreReadiness,
)

router = APIRouter(prefix="/health", tags=["system"])


def _line(example: str) -> dict[str, Any]:
    return {"content": {"text/plain": {"schema": {"type": "string"}, "example": example}}}


@router.get(
    "",
    operation_id="getHealth",
    summary="One line for people and load balancers",
    response_class=Response,
    responses={
        200: _line("ok | mongo=up | redis=up | env=local"),
        503: {
            "description": "Tasks cannot be accepted at present.",
            **_line("unavailable | mongo=down | redis=up | env=local"),
        },
    },
)
async def get_health(parts: Parts) -> PlainTextResponse:
    """`mongo` is the store, whichever engine it is. `degraded`: tasks are accepted and wait."""
    health = await parts.health.check()
    word = "ok" if health.is_whole else "degraded" if health.can_accept else "unavailable"
    return PlainTextResponse(
        f"{word} | mongo={health.store} | redis={health.redis} | env={parts.settings.environment}",
        status_code=200 if health.can_accept else 503,
    )


@router.get("/live", operation_id="getLiveness", summary="Whether the process answers")
async def get_liveness() -> LiveResponse:
    """Always the same; a process that does not give it should be restarted."""
    return LiveResponse()


@router.get(
    "/ready",
    operation_id="getReadiness",
    summary="Whether the process can do its work",
    responses={503: {"model": ReadyResponse, "description": "Tasks cannot be accepted."}},
)
async def get_readiness(parts: Parts, response: Response) -> ReadyResponse:
    """Says which store and which models stand behind this process, and whether they answer."""
    health = await parts.health.check()
    settings = parts.settings
    response.status_code = 200 if health.can_accept else 503
    return ReadyResponse(
        status=("ready" if health.is_whole else "degraded" if health.can_accept else "unavailable"),
        environment=settings.environment,
        store=StoreReadiness(
            engine="mongodb" if settings.mongo_uri else "sqlite", status=health.store
        ),
        redis=RedisReadiness(status=health.redis),
        model=ModelReadiness(
            mode="offline" if settings.offline else "provider",
            router=OFFLINE_MODEL if settings.offline else settings.llm_peer_model,
            content=OFFLINE_MODEL if settings.offline else settings.llm_content_model,
            code=OFFLINE_MODEL if settings.offline else settings.llm_code_model,
        ),
    )
