"""A worker's parts over real stores."""

from collections.abc import AsyncIterator

import pytest

from app.core.config import Settings
from app.db.repositories import Repositories
from tests.support.execution import InProcessWorker, in_process_worker


@pytest.fixture
async def worker(settings: Settings, repositories: Repositories) -> AsyncIterator[InProcessWorker]:
    """One worker process' parts."""
    async with in_process_worker(settings, repositories) as worker:
        yield worker
