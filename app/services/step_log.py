"""The recorded steps of one task, in the store."""

from app.db.repositories.agent_runs import AgentRunRepository
from app.models.domain.agent_run import AgentRole, AgentRun, TokenUsage, run_id_of
from app.models.domain.task import Task


class StoredStepLog:
    """Implements ``app.agents.spec.StepLog`` for one attempt, and sums up what its steps used."""

    def __init__(self, task: Task, runs: AgentRunRepository) -> None:
        self._task = task
        self._runs = runs
        self.usage = TokenUsage()

    async def find(self, role: AgentRole, agent_name: str) -> AgentRun | None:
        """The step's record. A first attempt has none and need not ask."""
        if self._task.attempt == 1:
            return None
        run = await self._runs.find(run_id_of(self._task.task_id, role, agent_name))
        if run is not None:
            self.usage += run.token_usage
        return run

    async def add(self, run: AgentRun) -> AgentRun:
        """Record the step; an earlier record of it stands."""
        recorded = await self._runs.insert_or_find(run)
        self.usage += recorded.token_usage
        return recorded
