"""Supervisors with stand-in children; each is ended after its test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.supervised import Instance, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts instances on the test's own data directory."""
    instances: list[Instance] = []

    def start_instance(*stages: list[dict[str, Any]], **options: object) -> Instance:
        instance = Instance(tmp_path / "data", {"stages": stages, **options})
        instances.append(instance)
        return instance

    yield start_instance
    for instance in instances:
        instance.close()
