"""``orchestrator`` as a user calls it: a process with an exit code and two outputs."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.supervised import is_running
from tests.support.waiting import wait_until

COMMAND = (sys.executable, "-P", "-m", "app.cli")


def orchestrator(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [line.split() for line in listed.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


class System:
    """A running ``orchestrator up``, its output in a file."""

    def __init__(self, data_dir: Path, log: Path) -> None:
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--port", "0", "--data-dir", str(data_dir)],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "Ctrl-C stops everything" in self.output, within=60)
        found = re.search(r"API +(http://[0-9.]+:[0-9]+)", self.output)
        assert found
        self.url = found[1]

    @property
    def output(self) -> str:
        assert self.process.poll() is None, self._log.read_text()
        return self._log.read_text()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path / "data", tmp_path / "log")
    yield system
    system.process.kill()
    system.process.wait()


def test_one_command_runs_the_system_and_ctrl_c_ends_all_of_it(system: System) -> None:
    children = children_of(system.process.pid)
    assert len(children) == 3

    followed = orchestrator(
        "submit", "Write a Python script", "--follow", ORCHESTRATOR_URL=system.url
    )
    assert followed.returncode == 0, followed.stderr
    assert "python" in followed.stdout
    assert "completed by CodeAgent" in followed.stderr

    accepted = orchestrator("submit", "Write a text", "--json", "--url", system.url)
    assert json.loads(accepted.stdout)["status"] == "queued"

    system.process.send_signal(signal.SIGINT)
    assert system.process.wait(timeout=10) == 0
    assert not any(is_running(pid) for pid in children)


def test_a_bad_value_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    for command in (("up", "--data-dir", str(tmp_path)), ("api",), ("worker",)):
        done = orchestrator(*command, WORKER_CONCURRENCY="many")

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("orchestrator: WORKER_CONCURRENCY='many': ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])

        done = orchestrator("up", "--data-dir", str(tmp_path), "--port", port)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"PORT={port}: already in use" in done.stderr


def test_an_api_that_cannot_be_reached_is_one_line_and_exit_code_2() -> None:
    done = orchestrator("submit", "a task", "--url", "http://127.0.0.1:9")

    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot reach http://127.0.0.1:9" in done.stderr


def test_submit_knows_the_api_from_the_settings() -> None:
    done = orchestrator("submit", "a task", HOST="0.0.0.0", PORT="9")

    assert "cannot reach http://127.0.0.1:9" in done.stderr


def test_the_version_is_the_packages() -> None:
    done = orchestrator("version")

    assert done.returncode == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", done.stdout)
