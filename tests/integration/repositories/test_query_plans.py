"""Every query that runs often is answered by an index: no scan, no sort."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.core.clock import utc_now
from app.core.config import Settings
from app.db.database import Filter, SortKeys
from app.db.repositories import Repositories
from app.db.repositories.tasks import LISTING_ORDER, TaskFilter
from app.db.sqlite import SqliteDatabase
from app.models.domain.task import Task, TaskMetadata, TaskStatus

NOW = utc_now()
OWNER = "key_1"


@pytest.fixture
async def sqlite(settings: Settings) -> AsyncIterator[SqliteDatabase]:
    database = await SqliteDatabase.open(settings.sqlite_path, settings)
    repositories = Repositories.over(database)
    await repositories.ensure_indexes()
    await repositories.tasks.insert(
        Task.new(
            input_text="x",
            session_id="s",
            owner_id=OWNER,
            requested_agent=None,
            metadata=TaskMetadata(),
            now=NOW,
            deadline=timedelta(minutes=1),
            redispatch_after=timedelta(seconds=1),
            max_attempts=3,
        )
    )
    yield database
    await database.close()


def listing(**values: object) -> Filter:
    return TaskFilter(owner_id=OWNER, **values).to_filter()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("collection", "where", "sort"),
    [
        pytest.param("tasks", listing(), LISTING_ORDER, id="all tasks of a key"),
        pytest.param("tasks", TaskFilter(owner_id=None).to_filter(), LISTING_ORDER, id="no key"),
        pytest.param("tasks", listing(status=TaskStatus.COMPLETED), LISTING_ORDER, id="by status"),
        pytest.param("tasks", listing(agent_type="code"), LISTING_ORDER, id="by agent"),
        pytest.param("tasks", listing(session_id="s"), LISTING_ORDER, id="by session"),
        pytest.param(
            "tasks",
            {"lease.expires_at": {"$lte": NOW}},
            (("lease.expires_at", 1),),
            id="expired leases",
        ),
        pytest.param(
            "tasks",
            {"next_dispatch_at": {"$lte": NOW}},
            (("next_dispatch_at", 1),),
            id="to dispatch",
        ),
        pytest.param(
            "tasks",
            {"status": "queued", "deadline_at": {"$lte": NOW}},
            (("deadline_at", 1),),
            id="past their deadline",
        ),
        pytest.param(
            "tasks",
            {"selected_agent": "CodeAgent", "created_at": {"$gte": NOW}},
            (),
            id="today's of an agent",
        ),
        pytest.param(
            "tasks",
            {"completed_at": {"$gte": NOW}},
            (("completed_at", -1),),
            id="ended today",
        ),
        pytest.param("agent_runs", {"task_id": "t"}, (("started_at", 1),), id="runs of a task"),
        pytest.param("messages", {"task_id": "t"}, (), id="messages of a task"),
        pytest.param("messages", {"session_id": "s"}, (("created_at", 1),), id="of a session"),
        pytest.param("logs", {"context.task_id": "t"}, (("timestamp", 1),), id="log of a task"),
    ],
)
async def test_no_scan_and_no_sort(
    sqlite: SqliteDatabase, collection: str, where: Filter, sort: SortKeys
) -> None:
    plan = await sqlite.explain(collection, where, sort)
    assert plan
    assert all("USING INDEX" in step or "USING COVERING INDEX" in step for step in plan), plan
    assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan), plan
