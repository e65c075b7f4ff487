"""A worker's parts inside the test's process, so that one attempt can be run step by step."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache

from redis.asyncio import Redis

from app.agents.assembly import build_peer_agent
from app.agents.peer_agent import PeerAgent
from app.agents.registry import AgentRegistry
from app.agents.spec import Agent, AgentDependencies, AgentSpec
from app.core.clock import utc_now
from app.core.config import Settings
from app.core.ids import new_id
from app.db.repositories import Repositories
from app.llm.offline import OfflineClient
from app.messaging.event_hub import EventHub
from app.messaging.events import EventPublisher, EventStreamReader
from app.messaging.queue import Dispatcher, QueueDepth, make_producer
from app.messaging.redis import connect_redis
from app.models.domain.task import Task, TaskMetadata
from app.services.dispatching import take_back_dispatches
from app.services.execution import ExecutionParts
from app.services.lease_keeper import LeaseKeeper
from app.services.recovery import RecoveryParts
from app.services.retry import RetryPolicy
from app.services.streaming import StreamingParts
from app.services.submission import Submission, submit


def agent_spec(agent: Agent) -> AgentSpec:
    """The spec of ``TestAgent``, of type ``test``, which is always this agent."""

    def build(_dependencies: AgentDependencies) -> Agent:
        return agent

    return AgentSpec(
        name="TestAgent",
        type="test",
        description="For tests.",
        examples=("do the test",),
        build=build,
    )


@cache
def built_in_agents(settings: Settings) -> PeerAgent:
    """The offline peer agent. It learns for a moment when it is made, so tests share it."""
    return build_peer_agent(settings, OfflineClient(), None)


@dataclass(frozen=True)
class InProcessWorker:
    """What a worker process has, apart from Celery."""

    settings: Settings
    repositories: Repositories
    redis: Redis
    execution: ExecutionParts
    recovery: RecoveryParts

    async def accept(self, text: str = "Write a blog article", **values: object) -> Task:
        """Accept a task as the API does; nobody is told to run it."""
        submission = Submission(
            text=text, session_id=None, agent=None, owner_id=None, metadata=TaskMetadata()
        )
        return await submit(
            replace(submission, **values),  # type: ignore[arg-type]
            repositories=self.repositories,
            dispatcher=self.recovery.dispatcher,
            settings=self.settings,
            clock=self.execution.clock,
        )

    async def reload(self, task: Task) -> Task:
        """The task as the store has it now."""
        stored = await self.repositories.tasks.load(task.task_id)
        if stored is None:
            raise AssertionError("the task is gone")
        return stored

    def with_agent(self, agent: Agent) -> ExecutionParts:
        """The same worker with one agent instead of the built-in ones."""
        registry = AgentRegistry([agent_spec(agent)])
        peer_agent = build_peer_agent(self.settings, OfflineClient(), None, registry=registry)
        return replace(self.execution, peer_agent=peer_agent)

    def successor(self, parts: ExecutionParts) -> ExecutionParts:
        """The same parts in the next worker process on the same store."""
        return replace(parts, leases=_lease_keeper(self.settings, self.repositories))

    def streaming(self, hub: EventHub) -> StreamingParts:
        """What a subscriber needs."""
        return StreamingParts(
            tasks=self.repositories.tasks,
            reader=EventStreamReader(self.redis, self.settings),
            hub=hub,
            poll_seconds=self.settings.sse_poll_seconds,
        )


def _lease_keeper(settings: Settings, repositories: Repositories) -> LeaseKeeper:
    return LeaseKeeper(
        repositories.tasks, worker_id=f"test:{new_id()}", settings=settings, clock=utc_now
    )


@asynccontextmanager
async def in_process_worker(
    settings: Settings, repositories: Repositories
) -> AsyncIterator[InProcessWorker]:
    """Make the parts, with the offline model and the built-in agents."""
    redis = connect_redis(settings)
    publisher = EventPublisher(redis, settings)
    leases = _lease_keeper(settings, repositories)
    policy = RetryPolicy.of(settings)
    dispatcher = Dispatcher(
        make_producer(settings),
        take_back_dispatches(repositories.tasks, utc_now),
    )
    execution = ExecutionParts(
        repositories=repositories,
        peer_agent=built_in_agents(Settings.model_construct()),
        publisher=publisher,
        leases=leases,
        retry_policy=policy,
        clock=utc_now,
    )
    recovery = RecoveryParts(
        repositories=repositories,
        dispatcher=dispatcher,
        publisher=publisher,
        queue_depth=QueueDepth(redis, settings),
        settings=settings,
        holder=leases.worker_id,
        clock=utc_now,
    )
    try:
        yield InProcessWorker(settings, repositories, redis, execution, recovery)
    finally:
        await redis.aclose()
