"""The API over real HTTP, on the parts of one test."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, redirect_stdout

import httpx2
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from app.db.repositories import Repositories
from app.main import create_app
from tests.support.api_server import running_app
from tests.support.execution import InProcessWorker, in_process_worker
from tests.support.log_lines import LogLines


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """The application that is served; a test may hand it other parts."""
    return create_app(settings)


@pytest.fixture
def log() -> LogLines:
    """The log of the API, and of the worker beside it."""
    return LogLines()


@pytest.fixture
def api_url(app: FastAPI, log: LogLines) -> Iterator[str]:
    """Where the application is served."""
    with ExitStack() as running:
        with redirect_stdout(log):
            url = running.enter_context(running_app(app))
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
