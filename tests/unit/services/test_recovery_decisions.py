"""What recovery decides about a task: by table, and by property."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.domain.task import Lease, StatusEvent, Task, TaskStatus
from app.services.recovery import Decision, Fail, Redispatch, Requeue, Wait, decide

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OVERRUN = 30 * SECOND


def make_task(status: TaskStatus, **values: object) -> Task:
    defaults: dict[str, object] = {
        "task_id": "t",
        "session_id": "s",
        "input_text": "do it",
        "status": status,
        "created_at": NOW - 60 * SECOND,
        "updated_at": NOW - 60 * SECOND,
        "queued_at": NOW - 60 * SECOND,
        "next_attempt_at": NOW - 60 * SECOND,
        "next_dispatch_at": NOW + 30 * SECOND,
        "deadline_at": NOW + 600 * SECOND,
        "attempt": 1,
        "events": (StatusEvent(status=TaskStatus.QUEUED, at=NOW),),
    }
    return Task.model_validate({**defaults, **values})


def lease(seconds: float) -> Lease:
    return Lease(worker_id="w", expires_at=NOW + seconds * SECOND)


QUEUED, PROCESSING = TaskStatus.QUEUED, TaskStatus.PROCESSING


@pytest.mark.parametrize(
    ("task", "queue_is_empty", "expected"),
    [
        pytest.param(make_task(PROCESSING, lease=lease(1)), False, Wait, id="lease is good"),
        pytest.param(make_task(PROCESSING, lease=lease(0)), False, Requeue, id="lease ran out"),
        pytest.param(
            make_task(PROCESSING, lease=lease(-1), attempt=3), False, Fail, id="last attempt lost"
        ),
        pytest.param(
            make_task(PROCESSING, lease=lease(-1), attempt=3, handbacks=1),
            False,
            Requeue,
            id="an attempt that was handed back does not count",
        ),
        pytest.param(
            make_task(PROCESSING, lease=lease(-1), deadline_at=NOW), False, Fail, id="too late"
        ),
        pytest.param(
            make_task(PROCESSING, lease=lease(1), deadline_at=NOW - SECOND),
            False,
            Wait,
            id="late, but its worker is alive and ends it by itself",
        ),
        pytest.param(
            make_task(PROCESSING, lease=lease(1), deadline_at=NOW - OVERRUN),
            False,
            Fail,
            id="very late, its worker is alive and does not end it",
        ),
        pytest.param(make_task(QUEUED), False, Wait, id="published a moment ago"),
        pytest.param(
            make_task(QUEUED, next_dispatch_at=NOW), False, Redispatch, id="published long ago"
        ),
        pytest.param(
            make_task(QUEUED, dispatched_at=NOW - 6 * SECOND),
            True,
            Redispatch,
            id="published, but the queue is empty",
        ),
        pytest.param(
            make_task(QUEUED, next_attempt_at=NOW + SECOND, next_dispatch_at=NOW + SECOND),
            True,
            Wait,
            id="backing off",
        ),
        pytest.param(make_task(QUEUED, deadline_at=NOW), False, Fail, id="never begun in time"),
        pytest.param(make_task(TaskStatus.COMPLETED), True, Wait, id="completed"),
        pytest.param(make_task(TaskStatus.FAILED), True, Wait, id="failed"),
        pytest.param(make_task(TaskStatus.CANCELLED), True, Wait, id="cancelled"),
    ],
)
def test_decisions(task: Task, queue_is_empty: bool, expected: type[Decision]) -> None:
    decision = decide(task, NOW, queue_is_empty=queue_is_empty, overrun=OVERRUN)
    assert type(decision) is expected


seconds = st.integers(-1000, 1000).map(lambda number: number * SECOND)


@given(
    status=st.sampled_from(TaskStatus),
    lease_in=seconds,
    due_in=seconds,
    dispatch_in=seconds,
    deadline_in=seconds,
    attempt=st.integers(1, 6),
    queue_is_empty=st.booleans(),
)
def test_a_task_whose_times_have_all_passed_is_never_left_alone(
    status: TaskStatus,
    lease_in: timedelta,
    due_in: timedelta,
    dispatch_in: timedelta,
    deadline_in: timedelta,
    attempt: int,
    queue_is_empty: bool,
) -> None:
    task = make_task(
        status,
        lease=Lease(worker_id="w", expires_at=NOW + lease_in) if status is PROCESSING else None,
        next_attempt_at=NOW + due_in,
        next_dispatch_at=NOW + dispatch_in,
        deadline_at=NOW + deadline_in,
        attempt=attempt,
    )
    later = NOW + 1001 * SECOND
    decision = decide(task, later, queue_is_empty=queue_is_empty, overrun=OVERRUN)
    if status.is_final:
        assert decision == Wait()
    else:
        assert isinstance(decision, Fail)  # the deadline passed in any case
    if isinstance(decide(task, NOW, queue_is_empty=queue_is_empty, overrun=OVERRUN), Requeue):
        assert task.attempts_used < task.max_attempts
        assert task.deadline_at > NOW
