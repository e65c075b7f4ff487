"""The ``agent_runs`` collection: one insert-only record per task and step."""

from app.db.database import Database, DuplicateKeyError, Index
from app.db.repositories.documents import from_document, to_document
from app.models.domain.agent_run import AgentRun

INDEXES = (Index((("task_id", 1), ("started_at", 1))), Index((("agent_name", 1),)))


class AgentRunRepository:
    """Reads and writes agent runs. Every method may raise ``StoreUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._runs = database.collection("agent_runs")

    async def ensure_indexes(self) -> None:
        """Create the collection's indexes where missing."""
        await self._runs.ensure_indexes(INDEXES)

    async def find(self, run_id: str) -> AgentRun | None:
        """The run of that id."""
        document = await self._runs.find_one({"_id": run_id})
        return None if document is None else from_document(AgentRun, document)

    async def insert_or_find(self, run: AgentRun) -> AgentRun:
        """Record a run and return what is recorded: another's, if it was there first."""
        try:
            await self._runs.insert_one(to_document(run, key="run_id"))
        except DuplicateKeyError:
            return await self.find(run.run_id) or run
        return run

    async def list_for_task(self, task_id: str) -> list[AgentRun]:
        """The task's runs in the order they began."""
        documents = await self._runs.find({"task_id": task_id}, sort=(("started_at", 1),))
        return [from_document(AgentRun, document) for document in documents]
