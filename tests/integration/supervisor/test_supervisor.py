"""The supervisor with real processes: small Python programs in place of API and worker."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.supervised import RUNS_UNTIL_TERM, Instance, Start, is_running
from tests.support.waiting import wait_until

IGNORES_TERM = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(os.environ["READY"]).touch()
while True: time.sleep(60)
"""

STARTS_ANOTHER = """
import os, pathlib, subprocess, sys, time
other = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
ready = pathlib.Path(os.environ["READY"])
ready.with_suffix(".pid").write_text(str(other.pid))
ready.touch()
while True: time.sleep(60)
"""


def child(name: str, code: str = RUNS_UNTIL_TERM, **options: object) -> dict[str, Any]:
    return {"name": name, "code": code, **options}


def events_of(instance: Instance, event: str) -> list[str]:
    return [line["name"] for line in instance.seen if line["event"] == event]


def test_a_dead_child_is_restarted_and_that_is_logged(start: Start) -> None:
    instance = start([child("api"), child("worker")])
    instance.wait_for("all_ready")
    first = instance.pid_of("worker")

    os.kill(first, signal.SIGKILL)

    died = instance.wait_for("child_died", "worker")
    assert (died["reason"], died["restart"], died["level"]) == ("signal SIGKILL", 1, "warning")
    instance.wait_for("child_ready", "worker")
    assert instance.pid_of("worker") != first
    assert is_running(instance.pid_of("api"))


def test_a_child_that_ends_on_its_own_is_restarted_too(start: Start) -> None:
    once = RUNS_UNTIL_TERM.replace("while True", """
flag = pathlib.Path(os.environ["READY"] + ".once")
if not flag.exists():
    flag.touch()
    time.sleep(0.2)
    sys.exit(7)
while True""")  # fmt: skip
    instance = start([child("worker", once)])

    assert instance.wait_for("child_died", "worker")["reason"] == "exit code 7"
    instance.wait_for("child_ready", "worker")


def test_a_child_that_never_gets_ready_ends_the_instance_with_exit_code_1(start: Start) -> None:
    instance = start([child("api")], [child("worker", "raise SystemExit(3)")])

    assert instance.wait_for("failed")["message"] == (
        "worker died 5 times before it was ready, last with exit code 3; its output is above"
    )
    assert instance.wait_for_exit() == 1
    assert not is_running(instance.pid_of("api"))


def test_a_child_that_refuses_its_configuration_ends_the_instance_at_once(start: Start) -> None:
    instance = start([child("api", "raise SystemExit(2)")])

    assert "refused its configuration" in instance.wait_for("failed")["message"]
    assert instance.wait_for_exit() == 2
    assert events_of(instance, "child_started") == ["api"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_last_stage_first_and_everything_in_the_end(
    start: Start, number: signal.Signals
) -> None:
    instance = start([child("valkey")], [child("api"), child("worker")])
    instance.wait_for("all_ready")

    assert instance.stop(number) == 0

    stopped = events_of(instance, "child_stopped")
    assert sorted(stopped[:2]) == ["api", "worker"]
    assert stopped[2:] == ["valkey"]
    for name in stopped:
        assert not is_running(instance.pid_of(name))


def test_it_can_be_stopped_while_it_waits_for_a_child(start: Start) -> None:
    instance = start([child("api", "import time; time.sleep(600)")])
    instance.wait_for("child_started")

    assert instance.stop() == 0


def test_who_ignores_sigterm_is_killed_when_its_time_is_up(start: Start) -> None:
    instance = start([child("worker", IGNORES_TERM, stop_seconds=0.2)])
    instance.wait_for("all_ready")

    assert instance.stop() == 0
    assert instance.seen[-1]["reason"] == "signal SIGKILL"


def test_a_second_ctrl_c_kills_at_once(start: Start) -> None:
    instance = start([child("worker", IGNORES_TERM, stop_seconds=60)])
    instance.wait_for("all_ready")

    instance.process.send_signal(signal.SIGINT)
    wait_until_stopping(instance)
    assert instance.stop(signal.SIGINT) == 0


def wait_until_stopping(instance: Instance) -> None:
    """SIGINT is sent to a busy process more than once only if the first has been taken."""
    pending = Path(f"/proc/{instance.process.pid}/status")
    if pending.exists():
        wait_until(lambda: signal_is_taken(pending.read_text()))
    else:
        time.sleep(0.5)


def signal_is_taken(status: str) -> bool:
    bits = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd"))
    return not int(bits, 16) & 1 << (signal.SIGINT - 1)


def test_children_are_out_of_reach_of_the_terminals_ctrl_c(start: Start) -> None:
    instance = start([child("api")])
    instance.wait_for("all_ready")
    pid = instance.pid_of("api")

    assert os.getpgid(pid) == os.getsid(pid) == pid


@pytest.mark.parametrize("leash", ["kernel", "watcher"])
def test_nothing_is_left_running_after_the_supervisor_is_killed(start: Start, leash: str) -> None:
    instance = start([child("api"), child("worker", IGNORES_TERM)], valkey=True, leash=leash)
    instance.wait_for("all_ready")
    pids = [instance.pid_of(name) for name in ("valkey", "api", "worker")]
    assert all(is_running(pid) for pid in pids)

    instance.kill()

    wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_the_watcher_lets_go_of_a_child_that_has_ended(start: Start) -> None:
    instance = start([child("worker")], leash="watcher")
    instance.wait_for("all_ready")

    os.kill(instance.pid_of("worker"), signal.SIGKILL)
    instance.wait_for("child_ready", "worker")

    assert instance.stop() == 0


def test_what_a_child_had_started_dies_with_it(start: Start) -> None:
    instance = start([child("worker", STARTS_ANOTHER)])
    instance.wait_for("all_ready")
    grandchild = int((instance.data_dir / "worker.pid").read_text())
    assert is_running(grandchild)

    os.kill(instance.pid_of("worker"), signal.SIGKILL)

    wait_until(lambda: not is_running(grandchild))
