"""``GET /v1/system/metrics``: the system in a few figures."""

import asyncio

from fastapi import APIRouter

from app.api.deps import AuthenticatedCaller, Parts
from app.models.api.responses import (
    ApiHealth,
    LatencyMetrics,
    QueueMetrics,
    SystemMetricsResponse,
    TodayMetrics,
)
from app.services.system_metrics import read_system_metrics

router = APIRouter(prefix="/v1/system", tags=["system"])


@router.get("/metrics", operation_id="getSystemMetrics", summary="Get figures about the system")
async def get_system_metrics(parts: Parts, _caller: AuthenticatedCaller) -> SystemMetricsResponse:
    """What waits, what was done today, how long it took, and whether all parts answer."""
    names = [spec.name for spec in parts.registry.specs]
    metrics, health, provider = await asyncio.gather(
        read_system_metrics(parts.repositories.tasks, names, parts.clock),
        parts.health.check(),
        parts.health.check_provider(),
    )
    whole = health.is_whole and provider != "down"
    return SystemMetricsResponse(
        queue=QueueMetrics(pending_tasks=metrics.pending_tasks),
        today=TodayMetrics(
            total_tasks=metrics.tasks_today, tasks_per_agent=metrics.tasks_per_agent
        ),
        latency_ms=LatencyMetrics(avg=metrics.average_latency_ms, p95=metrics.p95_latency_ms),
        api_health=ApiHealth(
            status="healthy" if whole else "degraded" if health.can_accept else "unhealthy",
            dependencies={
                "mongo": health.store,
                "redis": health.redis,
                "llm_provider": provider,
            },
        ),
    )
