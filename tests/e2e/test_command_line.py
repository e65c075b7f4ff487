"""``orchestrator submit`` against a running system, and commands that cannot start."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.system import COMMAND, RunningSystem, environment_of


def orchestrator(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def environment(offline_system: RunningSystem, api_key: str) -> dict[str, str]:
    """Where the command finds the offline system, and the key to it."""
    return environment_of(
        offline_system.data_dir, ORCHESTRATOR_URL=offline_system.url, ORCHESTRATOR_API_KEY=api_key
    )


def test_follow_ends_with_the_result_and_exit_code_0(environment: dict[str, str]) -> None:
    done = orchestrator(
        "submit", "Python ile bir dosyayı okuyan kod yaz", "--follow", environment=environment
    )

    assert done.returncode == 0, done.stderr
    assert "```python" in done.stdout
    assert [line.strip() for line in done.stderr.splitlines()[1:]] == [
        "queued",
        "processing",
        "task classified: CodeAgent",
        "agent started: CodeAgent",
        "completed by CodeAgent (offline)",
    ]


def test_a_task_that_fails_is_exit_code_1_and_its_reason(environment: dict[str, str]) -> None:
    done = orchestrator("submit", "hello", "--follow", environment=environment)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "failed: UnknownTaskTypeError: " in done.stderr.splitlines()[-1]


def test_json_is_one_line_of_the_task_at_its_end(environment: dict[str, str]) -> None:
    done = orchestrator(
        *("submit", "Write an article about tea", "--follow", "--json"), environment=environment
    )

    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    task = json.loads(done.stdout)
    assert (task["status"], task["selected_agent"]) == ("completed", "ContentAgent")


def test_a_wrong_key_is_exit_code_2_and_is_not_repeated(environment: dict[str, str]) -> None:
    wrong = {**environment, "ORCHESTRATOR_API_KEY": "no-such-key"}
    done = orchestrator("submit", "Write an article about tea", environment=wrong)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("orchestrator: 401 ")
    assert "no-such-key" not in done.stderr


@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_bad_secret_is_one_line_that_names_it_and_does_not_show_it(
    command: str, tmp_path: Path
) -> None:
    environment = environment_of(tmp_path / "data", REDIS_URL="htp://:password@127.0.0.1")
    done = orchestrator(command, environment=environment)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("orchestrator: REDIS_URL=********: must be a URL ")
