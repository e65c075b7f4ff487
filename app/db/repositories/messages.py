"""The ``messages`` collection: what was said in a session."""

from collections.abc import Sequence

from app.db.database import Database, Index
from app.db.repositories.documents import from_document, to_document
from app.models.domain.message import Message

INDEXES = (Index((("session_id", 1), ("created_at", 1))), Index((("task_id", 1),)))


class MessageRepository:
    """Reads and writes messages. Every method may raise ``StoreUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._messages = database.collection("messages")

    async def ensure_indexes(self) -> None:
        """Create the collection's indexes where missing."""
        await self._messages.ensure_indexes(INDEXES)

    async def add(self, messages: Sequence[Message]) -> None:
        """Add those that are not there yet; an attempt that is repeated adds nothing twice."""
        await self._messages.insert_many(
            [to_document(message, key="message_id") for message in messages],
            ignore_duplicates=True,
        )

    async def list_for_task(self, task_id: str) -> list[Message]:
        """The task's messages, oldest first."""
        documents = await self._messages.find({"task_id": task_id}, sort=(("created_at", 1),))
        return [from_document(Message, document) for document in documents]
