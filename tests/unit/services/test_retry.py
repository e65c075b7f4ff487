"""Backoff and the end of trying."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.models.domain.task import TaskStatus
from app.services.retry import RetryPolicy, next_attempt_at
from tests.unit.services.test_recovery_decisions import NOW, SECOND, make_task

POLICY = RetryPolicy(base=2 * SECOND, maximum=60 * SECOND)


def test_the_wait_doubles_up_to_its_bound() -> None:
    waits = [POLICY.delay(attempts, jitter=1.0) // SECOND for attempts in range(1, 8)]
    assert waits == [2, 4, 8, 16, 32, 60, 60]


@given(attempts=st.integers(1, 1000), jitter=st.floats(0, 1))
def test_the_wait_is_never_above_its_bound(attempts: int, jitter: float) -> None:
    policy = RetryPolicy(base=timedelta(seconds=3), maximum=timedelta(seconds=100))
    assert timedelta(0) <= policy.delay(attempts, jitter=jitter) <= policy.maximum


def test_a_permanent_failure_is_not_tried_again() -> None:
    task = make_task(TaskStatus.PROCESSING)
    assert next_attempt_at(task, retryable=False, now=NOW, policy=POLICY, jitter=0) is None


def test_no_attempt_begins_after_the_deadline() -> None:
    task = make_task(TaskStatus.PROCESSING, deadline_at=NOW + SECOND)
    assert next_attempt_at(task, retryable=True, now=NOW, policy=POLICY, jitter=1.0) is None
    assert next_attempt_at(task, retryable=True, now=NOW, policy=POLICY, jitter=0.1) is not None
