"""The state of the whole system in a few figures, over the tasks of all owners."""

import asyncio
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from app.core.clock import Clock
from app.db.repositories.tasks import TaskRepository
from app.models.domain.task import TaskStatus

LATENCY_SAMPLE = 200


@dataclass(frozen=True)
class SystemMetrics:
    """Days begin at midnight UTC; latencies are milliseconds from acceptance to completion."""

    pending_tasks: int
    tasks_today: int
    tasks_per_agent: dict[str, int]
    average_latency_ms: int | None
    p95_latency_ms: int | None


async def read_system_metrics(
    tasks: TaskRepository, agent_names: Iterable[str], clock: Clock
) -> SystemMetrics:
    """Count by index; latencies are those of the completed among today's latest 200 tasks."""
    midnight = clock().replace(hour=0, minute=0, second=0, microsecond=0)
    names = [*agent_names, None]
    pending, ended, counts = await asyncio.gather(
        tasks.count_queued(),
        tasks.find_ended_since(midnight, limit=LATENCY_SAMPLE),
        asyncio.gather(
            *(tasks.count_created_since(midnight, selected_agent=name) for name in names)
        ),
    )
    latencies = [
        int((task.completed_at - task.created_at).total_seconds() * 1000)
        for task in ended
        if task.status is TaskStatus.COMPLETED and task.completed_at is not None
    ]
    return SystemMetrics(
        pending_tasks=pending,
        tasks_today=sum(counts),
        tasks_per_agent={
            name: count for name, count in zip(names, counts, strict=True) if name is not None
        },
        average_latency_ms=round(statistics.fmean(latencies)) if latencies else None,
        p95_latency_ms=percentile(latencies, 95),
    )


def percentile(values: list[int], percent: int) -> int | None:
    """The nearest-rank percentile; ``None`` of nothing."""
    if not values:
        return None
    rank = -(-percent * len(values) // 100)
    return sorted(values)[max(rank, 1) - 1]
