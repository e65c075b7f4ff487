"""One module per collection. ``Repositories`` bundles them over one database."""

from dataclasses import dataclass

from app.db.database import Database
from app.db.repositories.agent_runs import AgentRunRepository
from app.db.repositories.leases import LeaseRepository
from app.db.repositories.logs import LogRepository
from app.db.repositories.messages import MessageRepository
from app.db.repositories.sessions import SessionRepository
from app.db.repositories.tasks import TaskRepository


@dataclass(frozen=True)
class Repositories:
    """All collections of one database."""

    tasks: TaskRepository
    agent_runs: AgentRunRepository
    messages: MessageRepository
    sessions: SessionRepository
    logs: LogRepository
    leases: LeaseRepository

    @classmethod
    def over(cls, database: Database) -> "Repositories":
        """The repositories of ``database``."""
        return cls(
            tasks=TaskRepository(database),
            agent_runs=AgentRunRepository(database),
            messages=MessageRepository(database),
            sessions=SessionRepository(database),
            logs=LogRepository(database),
            leases=LeaseRepository(database),
        )

    async def ensure_indexes(self) -> None:
        """Create every index that is missing. Safe in several processes at once."""
        await self.tasks.ensure_indexes()
        await self.agent_runs.ensure_indexes()
        await self.messages.ensure_indexes()
        await self.logs.ensure_indexes()
