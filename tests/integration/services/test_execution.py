"""One attempt: what it leaves in the store, whatever goes wrong."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.clock import utc_now
from app.core.config import Settings
from app.core.errors import LLMError, LLMUnavailableError
from app.db.database import Database
from app.db.repositories import Repositories
from app.models.domain.task import TASK_SCHEMA_VERSION, Task, TaskStatus
from app.services.execution import execute
from app.services.lease_keeper import RENEWALS_PER_LEASE
from app.services.recovery import WORKER_LOST
from tests.support.agents import AnsweringAgent, FailingAgent, WaitingAgent
from tests.support.execution import InProcessWorker, in_process_worker


def statuses(task: Task) -> list[str]:
    return [event.status.value for event in task.events]


async def test_a_task_is_classified_done_and_recorded(worker: InProcessWorker) -> None:
    task = await worker.accept("Python ile bir dosyayı okuyup yazan kod yaz")
    await execute(task.task_id, worker.execution)

    done = await worker.reload(task)
    assert done.status is TaskStatus.COMPLETED
    assert (done.selected_agent, done.agent_type) == ("CodeAgent", "code")
    assert done.result is not None
    assert done.result.model == "offline"
    assert statuses(done) == ["queued", "processing", "completed"]
    assert done.event_seq == len(done.events)
    assert done.lease is None

    runs = await worker.repositories.agent_runs.list_for_task(task.task_id)
    assert [run.run_id for run in runs] == [f"{task.task_id}:router", f"{task.task_id}:CodeAgent"]
    messages = await worker.repositories.messages.list_for_task(task.task_id)
    assert [(message.role, message.agent_name) for message in messages] == [
        ("user", None),
        ("assistant", "CodeAgent"),
    ]


async def test_second_delivery_of_a_finished_task_changes_nothing(worker: InProcessWorker) -> None:
    task = await worker.accept()
    await execute(task.task_id, worker.execution)
    before = await worker.reload(task)
    await execute(task.task_id, worker.execution)
    assert await worker.reload(task) == before


async def test_of_many_deliveries_at_once_one_does_the_work(worker: InProcessWorker) -> None:
    agent = AnsweringAgent()
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    await asyncio.gather(*(execute(task.task_id, parts) for _ in range(20)))
    assert agent.calls == 1
    assert (await worker.reload(task)).attempt == 1


async def test_a_task_that_no_agent_fits_fails_without_another_attempt(
    worker: InProcessWorker,
) -> None:
    task = await worker.accept("hello there")
    await execute(task.task_id, worker.execution)

    failed = await worker.reload(task)
    assert failed.status is TaskStatus.FAILED
    assert failed.error is not None
    assert failed.error.type == "UnknownTaskTypeError"
    assert statuses(failed) == ["queued", "processing", "failed"]
    entries = await worker.repositories.logs.list_for_task(task.task_id)
    assert [(entry.level, entry.message) for entry in entries] == [("ERROR", "task_failed")]


async def test_a_passing_failure_is_tried_again_and_its_router_step_is_not_repeated(
    worker: InProcessWorker,
) -> None:
    agent = FailingAgent(LLMUnavailableError("the provider is away"))
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    await execute(task.task_id, parts)

    waiting = await worker.reload(task)
    assert waiting.status is TaskStatus.QUEUED
    assert waiting.error is not None
    assert waiting.error.code == "LLM_UNAVAILABLE"

    await execute(task.task_id, parts)
    done = await worker.reload(task)
    assert done.status is TaskStatus.COMPLETED
    assert done.error is None
    assert done.attempt == 2
    assert statuses(done) == ["queued", "processing", "queued", "processing", "completed"]
    runs = await worker.repositories.agent_runs.list_for_task(task.task_id)
    assert [(run.agent_role, run.attempt) for run in runs] == [("router", 1), ("executor", 2)]


async def test_attempts_are_bounded(worker: InProcessWorker) -> None:
    agent = FailingAgent(*(LLMUnavailableError("away") for _ in range(10)))
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    for _ in range(5):
        await execute(task.task_id, parts)
    failed = await worker.reload(task)
    assert failed.status is TaskStatus.FAILED
    assert agent.calls == failed.attempt == worker.settings.task_max_attempts


@pytest.mark.parametrize("error", [LLMError("the key is wrong"), ValueError("a fault"), KeyError()])
async def test_a_permanent_failure_or_a_fault_ends_the_task(
    worker: InProcessWorker, error: Exception
) -> None:
    parts = worker.with_agent(FailingAgent(error))
    task = await worker.accept(agent="test")
    await execute(task.task_id, parts)
    failed = await worker.reload(task)
    assert failed.status is TaskStatus.FAILED
    assert failed.error is not None
    assert failed.error.type == type(error).__name__


async def test_a_wait_before_the_next_attempt_is_kept_in_the_store(
    settings: Settings, repositories: Repositories
) -> None:
    patient = settings.model_copy(
        update={"retry_backoff_seconds": 600.0, "retry_backoff_max_seconds": 600.0}
    )
    async with in_process_worker(patient, repositories) as worker:
        agent = FailingAgent(LLMUnavailableError("away"))
        task = await worker.accept(agent="test")
        await execute(task.task_id, worker.with_agent(agent))
        waiting = await worker.reload(task)
        assert waiting.next_attempt_at is not None
        assert waiting.next_attempt_at > waiting.queued_at
        # Delivered early, e.g. by a second copy of its message, it still has to wait.
        await execute(task.task_id, worker.with_agent(agent))
        assert agent.calls == 1


async def test_a_task_past_its_deadline_is_stopped_and_fails(
    settings: Settings, repositories: Repositories
) -> None:
    hasty = settings.model_copy(update={"task_deadline_seconds": 0.3})
    async with in_process_worker(hasty, repositories) as worker:
        agent = WaitingAgent()
        task = await worker.accept(agent="test")
        await execute(task.task_id, worker.with_agent(agent))
        failed = await worker.reload(task)
        assert agent.was_cancelled
        assert failed.error is not None
        assert failed.error.type == "TaskDeadlineExceededError"
        assert failed.status is TaskStatus.FAILED


async def test_an_agents_own_timeout_is_not_taken_for_the_deadline(worker: InProcessWorker) -> None:
    parts = worker.with_agent(FailingAgent(TimeoutError("a tool was slow")))
    task = await worker.accept(agent="test")
    await execute(task.task_id, parts)
    failed = await worker.reload(task)
    assert failed.error is not None
    assert failed.error.type == "TimeoutError"


async def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(
    worker: InProcessWorker,
) -> None:
    agent = WaitingAgent()
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    attempt = asyncio.create_task(execute(task.task_id, parts))
    await agent.started.wait()

    # Another worker takes the task over, as after a long pause of this one.
    held = await worker.reload(task)
    assert await worker.repositories.tasks.requeue(held, None, now=utc_now())
    successor = await worker.repositories.tasks.claim(
        task.task_id, worker_id="other", now=utc_now(), lease=timedelta(seconds=30)
    )
    await parts.leases.renew()
    await asyncio.wait_for(attempt, 5)

    assert agent.was_cancelled
    assert await worker.reload(task) == successor


async def test_a_zombies_result_is_discarded(worker: InProcessWorker) -> None:
    agent = WaitingAgent()
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    attempt = asyncio.create_task(execute(task.task_id, parts))
    await agent.started.wait()
    held = await worker.reload(task)
    await worker.repositories.tasks.requeue(held, None, now=utc_now())
    successor = await worker.repositories.tasks.claim(
        task.task_id, worker_id="other", now=utc_now(), lease=timedelta(seconds=30)
    )
    # It never hears that it lost the lease, finishes, and finds the door shut.
    agent.may_finish.set()
    await asyncio.wait_for(attempt, 5)
    assert await worker.reload(task) == successor


async def test_leases_are_renewed_while_the_work_goes_on(worker: InProcessWorker) -> None:
    agent = WaitingAgent()
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    attempt = asyncio.create_task(execute(task.task_id, parts))
    await agent.started.wait()
    before = (await worker.reload(task)).lease
    await asyncio.sleep(0.002)
    await parts.leases.renew()
    after = (await worker.reload(task)).lease
    assert before is not None
    assert after is not None
    assert after.expires_at > before.expires_at
    assert RENEWALS_PER_LEASE > 1
    agent.may_finish.set()
    await attempt
    assert parts.leases.attempt_count == 0


async def test_a_stopping_worker_hands_its_task_back_and_no_attempt_is_counted(
    worker: InProcessWorker,
) -> None:
    agent = WaitingAgent()
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    attempt = asyncio.create_task(execute(task.task_id, parts))
    await agent.started.wait()
    parts.leases.interrupt_all()
    await attempt

    waiting = await worker.reload(task)
    assert waiting.status is TaskStatus.QUEUED
    assert waiting.attempts_used == 0
    agent.may_finish.set()
    await execute(task.task_id, worker.successor(parts))
    assert (await worker.reload(task)).status is TaskStatus.COMPLETED


async def test_a_stopping_worker_begins_nothing_that_it_would_have_to_cut_off(
    worker: InProcessWorker,
) -> None:
    agent = WaitingAgent()
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    parts.leases.interrupt_all()
    async with asyncio.timeout(5):
        await execute(task.task_id, parts)
    assert not agent.started.is_set()
    assert (await worker.reload(task)).status is TaskStatus.QUEUED


async def test_an_earlier_attempt_of_the_same_process_is_stopped(worker: InProcessWorker) -> None:
    stalled, agent = WaitingAgent(), AnsweringAgent()
    task = await worker.accept(agent="test")
    first = asyncio.create_task(execute(task.task_id, worker.with_agent(stalled)))
    await stalled.started.wait()
    held = await worker.reload(task)
    assert await worker.repositories.tasks.requeue(held, WORKER_LOST, now=utc_now())

    await execute(task.task_id, worker.with_agent(agent))
    await asyncio.wait_for(first, 5)
    assert stalled.was_cancelled
    done = await worker.reload(task)
    assert done.status is TaskStatus.COMPLETED
    assert [failure.attempt for failure in done.failures] == [1]


async def test_a_worker_leaves_alone_what_a_newer_version_wrote(
    worker: InProcessWorker, database: Database
) -> None:
    task = await worker.accept()
    await database.collection("tasks").update_one(
        {"_id": task.task_id}, {"$set": {"schema_version": TASK_SCHEMA_VERSION + 1}}
    )
    await execute(task.task_id, worker.execution)
    assert (await worker.reload(task)).status is TaskStatus.QUEUED


async def test_a_worker_whose_clock_is_behind_takes_what_is_due_at_once(
    worker: InProcessWorker,
) -> None:
    task = await worker.accept()
    behind = replace(worker.execution, clock=lambda: utc_now() - timedelta(seconds=30))
    await execute(task.task_id, behind)
    assert (await worker.reload(task)).status is TaskStatus.COMPLETED


async def test_text_that_is_no_unicode_is_stored_and_told_all_the_same(
    worker: InProcessWorker,
) -> None:
    parts = worker.with_agent(AnsweringAgent("broken \ud800 text"))
    task = await worker.accept(agent="test")
    await execute(task.task_id, parts)
    done = await worker.reload(task)
    assert done.result is not None
    assert done.result.raw_output == "broken ? text"


async def test_what_an_agent_raises_is_not_told_to_clients(worker: InProcessWorker) -> None:
    parts = worker.with_agent(FailingAgent(KeyError("/etc/secret?password=hunter2")))
    task = await worker.accept(agent="test")
    await execute(task.task_id, parts)
    failed = await worker.reload(task)
    assert failed.error is not None
    assert "hunter2" not in failed.error.message
    assert "hunter2" in (failed.error.stack or "")


async def test_a_recorded_answer_is_not_asked_for_again(worker: InProcessWorker) -> None:
    agent = AnsweringAgent("the ", "answer")
    parts = worker.with_agent(agent)
    task = await worker.accept(agent="test")
    # The worker dies after its agent has answered and before the task is ended.
    claimed = await worker.repositories.tasks.claim(
        task.task_id, worker_id="dying", now=utc_now(), lease=timedelta(seconds=30)
    )
    assert claimed is not None
    await execute_steps_only(claimed, worker, agent)
    assert agent.calls == 1
    await worker.repositories.tasks.requeue(claimed, None, now=utc_now())

    await execute(task.task_id, parts)
    done = await worker.reload(task)
    assert agent.calls == 1
    assert done.result is not None
    assert done.result.raw_output == "the answer"


async def execute_steps_only(task: Task, worker: InProcessWorker, agent: AnsweringAgent) -> None:
    """Run the graph as an attempt does, and stop short of its end."""
    from app.agents.spec import AgentTask
    from app.services.step_log import StoredStepLog
    from app.services.task_feed import TaskFeed

    parts = worker.with_agent(agent)
    feed = TaskFeed(task, parts.publisher)
    await parts.peer_agent.run(
        AgentTask(
            task_id=task.task_id,
            session_id=task.session_id,
            text=task.input_text,
            attempt=task.attempt,
            requested_agent=task.requested_agent,
        ),
        steps=StoredStepLog(task, worker.repositories.agent_runs),
        events=feed,
    )
    await feed.flush()
