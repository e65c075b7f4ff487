"""Systems that several claims share, and the scripted model."""

import json
from collections.abc import Iterator

import pytest

from tests.support.browser import PageServer
from tests.support.model_server import ModelServer
from tests.support.system import RunningSystem, running_system

API_KEY = "key-of-the-end-to-end-tests"


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """A scripted model of the test's own, on a real socket."""
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="session")
def api_key() -> str:
    """The key that the offline system wants."""
    return API_KEY


@pytest.fixture(scope="session")
def page_server() -> Iterator[PageServer]:
    """The origin from which a page may call the offline system."""
    server = PageServer()
    with server.serving():
        yield server


@pytest.fixture(scope="session")
def offline_system(
    tmp_path_factory: pytest.TempPathFactory, page_server: PageServer
) -> Iterator[RunningSystem]:
    """A system without a model, with two workers and an API key, which no test disturbs."""
    with running_system(
        tmp_path_factory.mktemp("offline") / "data",
        WORKERS="2",
        API_KEYS=json.dumps([API_KEY]),
        CORS_ORIGINS=json.dumps([page_server.origin]),
        SSE_RETRY_MILLISECONDS="100",
    ) as system:
        yield system
