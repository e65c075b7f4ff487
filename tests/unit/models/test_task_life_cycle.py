"""The transition table."""

from datetime import UTC, datetime, timedelta

import pytest

from app.models.domain.task import TRANSITIONS, Task, TaskMetadata, TaskStatus, sources_of


def test_every_status_is_in_the_table_and_reachable() -> None:
    assert set(TRANSITIONS) == set(TaskStatus)
    reached = {target for targets in TRANSITIONS.values() for target in targets}
    assert reached == set(TaskStatus)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_nothing_follows_a_final_status(status: str) -> None:
    assert TaskStatus(status).is_final


def test_work_begins_only_on_what_is_queued() -> None:
    assert sources_of(TaskStatus.PROCESSING) == ["queued"]
    assert sources_of(TaskStatus.COMPLETED) == ["processing"]


def test_a_new_task_is_queued_due_and_has_its_first_event() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    task = Task.new(
        input_text="do it",
        session_id="s",
        owner_id=None,
        requested_agent=None,
        metadata=TaskMetadata(),
        now=now,
        deadline=timedelta(minutes=15),
        redispatch_after=timedelta(seconds=5),
        max_attempts=3,
    )
    assert task.status is TaskStatus.QUEUED
    assert task.next_attempt_at is None
    assert task.next_dispatch_at == now + timedelta(seconds=5)
    assert task.dispatched_at == now
    assert task.event_seq == len(task.events) == 1
