"""What follows a failed attempt. Pure: the same arguments give the same answer."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.config import Settings
from app.models.domain.task import Task


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter, bounded."""

    base: timedelta
    maximum: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "RetryPolicy":
        """The policy the settings ask for."""
        return cls(
            base=timedelta(seconds=settings.retry_backoff_seconds),
            maximum=timedelta(seconds=settings.retry_backoff_max_seconds),
        )

    def delay(self, attempts_used: int, *, jitter: float) -> timedelta:
        """The wait after that many attempts, at least one; ``jitter`` is from 0 to 1."""
        doubled = self.base * (1 << min(attempts_used - 1, 20))
        return min(doubled, self.maximum) * jitter


def next_attempt_at(
    task: Task, *, retryable: bool, now: datetime, policy: RetryPolicy, jitter: float
) -> datetime | None:
    """When to try a failed task again; ``None`` when it has failed for good.

    It has if the failure is permanent, the attempts are used up, or the deadline would pass
    before the next attempt.
    """
    if not retryable or task.attempts_used >= task.max_attempts:
        return None
    due = now + policy.delay(task.attempts_used, jitter=jitter)
    return due if due < task.deadline_at else None
