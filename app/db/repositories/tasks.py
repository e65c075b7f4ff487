"""The ``tasks`` collection: acceptance, claims, fenced writes, and what recovery looks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from app.core.logging import get_logger
from app.db.database import Database, Document, Filter, Index, SortKeys
from app.db.repositories.documents import from_document, to_document, to_value
from app.models.domain.task import (
    TASK_SCHEMA_VERSION,
    TRANSITIONS,
    AttemptFailure,
    Lease,
    StatusEvent,
    Task,
    TaskCost,
    TaskError,
    TaskResult,
    TaskStatus,
    sources_of,
)

logger = get_logger("tasks")

INDEXES = (
    Index((("owner_id", 1), ("created_at", -1), ("task_id", -1))),
    Index((("owner_id", 1), ("status", 1), ("created_at", -1), ("task_id", -1))),
    Index((("owner_id", 1), ("agent_type", 1), ("created_at", -1), ("task_id", -1))),
    Index((("session_id", 1), ("created_at", -1), ("task_id", -1))),
    Index((("selected_agent", 1), ("created_at", 1))),
    Index((("status", 1), ("deadline_at", 1))),
    # What recovery looks for is a small part of all tasks, and so are these indexes: only queued
    # tasks have a `next_dispatch_at`, and only those that somebody holds have a lease. So the
    # queries name no status: with one, SQLite takes the index above and sorts.
    Index((("next_dispatch_at", 1),), sparse=True),
    Index((("lease.expires_at", 1),), sparse=True),
    Index((("completed_at", 1),), sparse=True),
)


@dataclass(frozen=True)
class TaskFilter:
    """What a listing asks for. ``owner_id`` is always applied, ``None`` meaning 'no key'."""

    owner_id: str | None
    status: TaskStatus | None = None
    agent_type: str | None = None
    session_id: str | None = None

    def to_filter(self) -> Filter:
        """The port's filter for this listing."""
        chosen = {
            "status": self.status.value if self.status else None,
            "agent_type": self.agent_type,
            "session_id": self.session_id,
        }
        return {"owner_id": self.owner_id} | {k: v for k, v in chosen.items() if v is not None}


_OF_ONE_STATUS = ("lease", "next_attempt_at", "next_dispatch_at")
"""What only a held or only a waiting task has."""

LISTING_ORDER: SortKeys = (("created_at", -1), ("task_id", -1))


class TaskRepository:
    """Reads and writes tasks. Every method may raise ``StoreUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.collection("tasks")

    async def ensure_indexes(self) -> None:
        """Create the collection's indexes where missing."""
        await self._tasks.ensure_indexes(INDEXES)

    async def insert(self, task: Task) -> None:
        """Accept a task: from here on it is durable."""
        # Without nulls: a sparse index holds null fields too, and only missing ones not.
        document = to_document(task, key="task_id")
        await self._tasks.insert_one({k: v for k, v in document.items() if v is not None})

    async def find(self, task_id: str, *, owner_id: str | None) -> Task | None:
        """The owner's task of that id."""
        return _task(await self._tasks.find_one({"_id": task_id, "owner_id": owner_id}))

    async def load(self, task_id: str) -> Task | None:
        """The task of that id, whoever owns it. For workers and recovery only."""
        return _task(await self._tasks.find_one({"_id": task_id}))

    async def list_page(self, chosen: TaskFilter, *, page: int, page_size: int) -> list[Task]:
        """One page, newest first. ``page`` counts from 1."""
        documents = await self._tasks.find(
            chosen.to_filter(),
            sort=LISTING_ORDER,
            skip=(page - 1) * page_size,
            limit=page_size,
        )
        return [from_document(Task, document) for document in documents]

    async def count(self, chosen: TaskFilter) -> int:
        """How many tasks a listing has over all its pages."""
        return await self._tasks.count(chosen.to_filter())

    async def mark_dispatched(
        self, task_ids: Sequence[str], *, now: datetime, next_dispatch_at: datetime
    ) -> None:
        """Note that the ids are handed to the broker, and when to do so again if need be."""
        await self._tasks.update_many(
            {"_id": {"$in": list(task_ids)}, "status": TaskStatus.QUEUED.value},
            {
                "$set": {"dispatched_at": now, "next_dispatch_at": next_dispatch_at},
                "$inc": {"dispatches": 1},
            },
        )

    async def mark_undispatched(self, task_ids: Sequence[str], *, now: datetime) -> None:
        """Note that the broker did not take the ids, so that the next sweep tries again.

        One that has moved on since is published once too often at the most.
        """
        await self._tasks.update_many(
            {"_id": {"$in": list(task_ids)}, "status": TaskStatus.QUEUED.value},
            {"$set": {"next_dispatch_at": now}, "$unset": {"dispatched_at": ""}},
        )

    async def claim(
        self, task_id: str, *, worker_id: str, now: datetime, lease: timedelta
    ) -> Task | None:
        """Begin an attempt, if the task waits for one; of many callers one gets it."""
        update = _transition(
            TaskStatus.PROCESSING,
            now,
            {
                "lease": to_value(Lease(worker_id=worker_id, expires_at=now + lease)),
                "error": None,
                "started_at": now,
            },
        )
        update["$inc"] = {**update["$inc"], "attempt": 1}
        return _task(
            await self._tasks.find_one_and_update(
                {
                    "_id": task_id,
                    "status": {"$in": sources_of(TaskStatus.PROCESSING)},
                    "$or": [{"next_attempt_at": None}, {"next_attempt_at": {"$lte": now}}],
                    "deadline_at": {"$gt": now},
                    "schema_version": {"$lte": TASK_SCHEMA_VERSION},
                },
                update,
            )
        )

    async def renew_leases(
        self, task_ids: Sequence[str], *, worker_id: str, now: datetime, lease: timedelta
    ) -> frozenset[str]:
        """Extend the worker's leases and return the ids of the tasks it still holds."""
        held: Filter = {
            "_id": {"$in": list(task_ids)},
            "status": TaskStatus.PROCESSING.value,
            "lease.worker_id": worker_id,
        }
        renewed = await self._tasks.update_many(held, {"$set": {"lease.expires_at": now + lease}})
        if renewed == len(task_ids):
            return frozenset(task_ids)
        return frozenset(task.task_id for task in _all(await self._tasks.find(held)))

    async def complete(
        self,
        task: Task,
        *,
        selected_agent: str,
        agent_type: str,
        reason: str,
        result: TaskResult,
        cost: TaskCost,
        now: datetime,
    ) -> bool:
        """End the attempt with its result; false if the attempt no longer owns the task."""
        return await self._finish(
            task,
            TaskStatus.COMPLETED,
            now,
            {
                "selected_agent": selected_agent,
                "agent_type": agent_type,
                "peer_routing_reason": reason,
                "result": to_value(result),
                "cost": to_value(cost),
                "completed_at": now,
            },
        )

    async def fail(
        self,
        task: Task,
        error: TaskError,
        *,
        cost: TaskCost,
        now: datetime,
        unless_renewed: bool = False,
    ) -> bool:
        """End the task for good; false if the attempt no longer owns it.

        ``unless_renewed`` is for who takes it from a silent worker: false also if that worker has
        renewed its lease since ``task`` was read.
        """
        return await self._finish(
            task,
            TaskStatus.FAILED,
            now,
            {"error": to_value(error), "completed_at": now, "cost": to_value(cost)},
            failure=error,
            unless_renewed=unless_renewed,
        )

    async def requeue(
        self,
        task: Task,
        error: TaskError | None,
        *,
        now: datetime,
        not_before: datetime | None = None,
        unless_renewed: bool = False,
    ) -> bool:
        """Give the task back for a later attempt; false if the attempt no longer owns it.

        Without an ``error`` the attempt did not fail and is not counted. With ``not_before`` the
        task waits until then. ``unless_renewed`` is as for :meth:`fail`.
        """
        waiting: Document = {"next_dispatch_at": not_before or now}
        if not_before is not None:
            waiting["next_attempt_at"] = not_before
        return await self._finish(
            task,
            TaskStatus.QUEUED,
            now,
            {
                "error": to_value(error) if error else None,
                "queued_at": now,
                "dispatched_at": None,
                "dispatches": 0,
                "handbacks": task.handbacks + int(error is None),
                **waiting,
            },
            failure=error,
            unless_renewed=unless_renewed,
        )

    async def find_expired_leases(self, *, now: datetime, limit: int) -> list[Task]:
        """Tasks whose worker has gone silent, longest silent first."""
        return _all(
            await self._tasks.find(
                {"lease.expires_at": {"$lte": now}},
                sort=(("lease.expires_at", 1),),
                limit=limit,
            )
        )

    async def find_to_dispatch(self, *, now: datetime, limit: int) -> list[Task]:
        """Queued tasks that it is time to publish (again), most overdue first."""
        return _all(
            await self._tasks.find(
                {"next_dispatch_at": {"$lte": now}},
                sort=(("next_dispatch_at", 1),),
                limit=limit,
            )
        )

    async def find_dispatched_before(self, moment: datetime, *, limit: int) -> list[Task]:
        """Queued tasks that were published before ``moment`` and not claimed since."""
        return _all(
            await self._tasks.find(
                {"status": TaskStatus.QUEUED.value, "dispatched_at": {"$lte": moment}},
                limit=limit,
            )
        )

    async def find_past_deadline(
        self, moment: datetime, *, status: TaskStatus, limit: int
    ) -> list[Task]:
        """Tasks of that status whose deadline was at ``moment`` or before."""
        return _all(
            await self._tasks.find(
                {"status": status.value, "deadline_at": {"$lte": moment}},
                sort=(("deadline_at", 1),),
                limit=limit,
            )
        )

    async def count_queued(self) -> int:
        """How many tasks of all owners wait to be claimed."""
        return await self._tasks.count({"status": TaskStatus.QUEUED.value})

    async def count_created_since(self, moment: datetime, *, selected_agent: str | None) -> int:
        """Tasks of all owners created since ``moment`` that went to that agent (or none yet)."""
        return await self._tasks.count(
            {"selected_agent": selected_agent, "created_at": {"$gte": moment}}
        )

    async def find_ended_since(self, moment: datetime, *, limit: int) -> list[Task]:
        """The latest tasks of all owners that ended since ``moment``, however they did."""
        return _all(
            await self._tasks.find(
                {"completed_at": {"$gte": moment}}, sort=(("completed_at", -1),), limit=limit
            )
        )

    async def _finish(
        self,
        task: Task,
        target: TaskStatus,
        now: datetime,
        fields: Document,
        *,
        failure: TaskError | None = None,
        unless_renewed: bool = False,
    ) -> bool:
        if target not in TRANSITIONS[task.status]:
            raise ValueError(f"a {task.status} task cannot become {target}")
        # Status and attempt as the caller saw them are the fence: whoever moved the task on since
        # then has changed one of the two.
        fence: Document = {
            "_id": task.task_id,
            "status": task.status.value,
            "attempt": task.attempt,
        }
        if unless_renewed and task.lease is not None:
            fence["lease.expires_at"] = task.lease.expires_at
        update = _transition(target, now, fields)
        if failure is not None:
            entry = AttemptFailure(
                attempt=task.attempt,
                worker_id=task.lease.worker_id if task.lease else None,
                at=now,
                error=failure,
            )
            update["$push"] = {**update["$push"], "failures": to_value(entry)}
        result = await self._tasks.update_one(fence, update)
        return result.matched == 1


def _transition(target: TaskStatus, now: datetime, fields: Document) -> dict[str, Document]:
    # The status and its event are one write, so that no crash can part them.
    event = StatusEvent(status=target, at=now)
    return {
        "$set": {"status": target.value, "updated_at": now, **fields},
        "$unset": {field: "" for field in _OF_ONE_STATUS if field not in fields},
        "$inc": {"event_seq": 1},
        "$push": {"events": to_value(event)},
    }


def _task(document: Document | None) -> Task | None:
    return None if document is None else from_document(Task, document)


def _all(documents: list[Document]) -> list[Task]:
    tasks = []
    for document in documents:
        try:
            tasks.append(from_document(Task, document))
        except ValidationError as error:
            # One document that this version cannot read must not hide all the others.
            logger.error("task_unreadable", task_id=document["_id"], errors=error.error_count())  # noqa: TRY400 - the stack says nothing
    return tasks
