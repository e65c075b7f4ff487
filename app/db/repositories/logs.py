"""The ``logs`` collection: business events kept beside the documents they are about."""

from app.core.ids import new_id
from app.db.database import Database, Index
from app.db.repositories.documents import from_document, to_value
from app.models.domain.log_entry import LogEntry

INDEXES = (Index((("context.task_id", 1), ("timestamp", 1))), Index((("timestamp", 1),)))


class LogRepository:
    """Reads and writes log entries. Every method may raise ``StoreUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._logs = database.collection("logs")

    async def ensure_indexes(self) -> None:
        """Create the collection's indexes where missing."""
        await self._logs.ensure_indexes(INDEXES)

    async def add(self, entry: LogEntry) -> None:
        """Keep an entry."""
        await self._logs.insert_one({"_id": new_id(), **to_value(entry)})

    async def list_for_task(self, task_id: str) -> list[LogEntry]:
        """The task's entries, oldest first."""
        documents = await self._logs.find({"context.task_id": task_id}, sort=(("timestamp", 1),))
        return [from_document(LogEntry, document) for document in documents]
