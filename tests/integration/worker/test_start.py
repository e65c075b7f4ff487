"""A worker that cannot start says why and ends; it never takes messages it cannot work on."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from app.core.config import READY_FILE_VARIABLE
from tests.support.valkey import ValkeyServer

START_TIMEOUT_SECONDS = 60


def run_worker(
    folder: Path, valkey: ValkeyServer, **values: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "DATA_DIR": str(folder),
        "REDIS_URL": valkey.url,
        READY_FILE_VARIABLE: str(folder / "ready"),
        **values,
    }
    return subprocess.run(
        [sys.executable, "-P", "-m", "app.cli", "worker"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_SECONDS,
        check=False,
    )


def test_a_taken_metrics_port_ends_it(tmp_path: Path, shared_valkey: ValkeyServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_worker(tmp_path, shared_valkey, WORKER_METRICS_PORT=str(port))
    assert ended.returncode == 1
    assert "worker_cannot_start" in ended.stdout
    assert not (tmp_path / "ready").exists()


def test_a_setting_that_shows_itself_only_on_connecting_ends_it_as_bad_configuration(
    tmp_path: Path, shared_valkey: ValkeyServer
) -> None:
    ended = run_worker(tmp_path, shared_valkey, MONGO_URI="mongodb://host:99999999")
    assert ended.returncode == 2
    assert "MONGO_URI" in ended.stdout
    assert not (tmp_path / "ready").exists()
