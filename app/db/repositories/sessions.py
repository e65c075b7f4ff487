"""The ``sessions`` collection."""

from datetime import datetime

from app.core.errors import SessionNotFoundError
from app.db.database import Database, DuplicateKeyError
from app.db.repositories.documents import from_document, to_value
from app.models.domain.session import Session, SessionMetadata


class SessionRepository:
    """Reads and writes sessions. Every method may raise ``StoreUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._sessions = database.collection("sessions")

    async def ensure(
        self,
        session_id: str,
        *,
        owner_id: str | None,
        metadata: SessionMetadata,
        last_task_id: str,
        now: datetime,
    ) -> None:
        """Open the session, or go on with it if it is the owner's.

        Raises:
            SessionNotFoundError: the id is another owner's session.
        """
        try:
            await self._sessions.update_one(
                {"_id": session_id, "owner_id": owner_id},
                {
                    "$set": {"last_task_id": last_task_id, "updated_at": now},
                    "$setOnInsert": {
                        "session_id": session_id,
                        "created_at": now,
                        "metadata": to_value(metadata),
                        "schema_version": 1,
                    },
                },
                upsert=True,
            )
        except DuplicateKeyError:
            # The id exists, but not with this owner: the upsert's insert ran into it. Two first
            # uses at once by one owner end here too, so look once more.
            if await self.find(session_id, owner_id=owner_id) is None:
                raise SessionNotFoundError(f"Session {session_id} was not found.") from None

    async def find(self, session_id: str, *, owner_id: str | None) -> Session | None:
        """The owner's session of that id."""
        document = await self._sessions.find_one({"_id": session_id, "owner_id": owner_id})
        return None if document is None else from_document(Session, document)
