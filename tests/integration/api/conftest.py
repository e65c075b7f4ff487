"""The API over real HTTP, on the parts of one test."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from app.core.config import Settings
from app.db.repositories import Repositories
from tests.support.api_server import running_api
from tests.support.execution import InProcessWorker, in_process_worker


@pytest.fixture
def api_url(settings: Settings) -> Iterator[str]:
    """The API with the test's settings."""
    with running_api(settings) as url:
        yield url


@pytest.fixture
async def client(api_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that API, without a key."""
    async with httpx2.AsyncClient(base_url=api_url, timeout=15) as client:
        yield client


@pytest.fixture
async def worker(settings: Settings, repositories: Repositories) -> AsyncIterator[InProcessWorker]:
    """A worker on the same store and the same Valkey; runs what it is told to."""
    async with in_process_worker(settings, repositories) as worker:
        yield worker
