"""The data directory belongs to one instance at a time."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.errors import ConfigurationError
from app.supervisor.data_dir import hold_data_dir, write_private
from tests.support.supervised import RUNS_UNTIL_TERM, Start


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_for_its_owner_only(tmp_path: Path) -> None:
    with hold_data_dir(tmp_path / "a" / "b") as data_dir:
        assert data_dir.is_absolute()
        assert mode_of(data_dir) == 0o700
        assert mode_of(data_dir / "lock") == 0o600


def test_a_second_instance_on_the_same_data_dir_is_refused(start: Start) -> None:
    first = start([{"name": "api", "code": RUNS_UNTIL_TERM}])
    first.wait_for("all_ready")

    second = start()

    message = second.wait_for("failed")["message"]
    assert f"another orchestrator (pid {first.process.pid}) is running on it" in message
    assert repr(str(first.data_dir)) in message
    assert "\n" not in message
    assert second.wait_for_exit() == 2


def test_it_is_free_again_after_kill_minus_nine(start: Start) -> None:
    first = start([{"name": "api", "code": RUNS_UNTIL_TERM}])
    first.wait_for("all_ready")
    first.kill()

    second = start([{"name": "api", "code": RUNS_UNTIL_TERM}])

    second.wait_for("all_ready")


def test_a_child_that_lives_on_does_not_keep_it(tmp_path: Path) -> None:
    code = "print('running', flush=True); import sys; sys.stdin.read()"
    with hold_data_dir(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"running\n"
    try:
        with hold_data_dir(tmp_path):
            assert child.poll() is None
    finally:
        child.communicate()


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()

    with pytest.raises(ConfigurationError, match="is not a directory"), hold_data_dir(path):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(ConfigurationError, match="cannot be used"), hold_data_dir(tmp_path):
        pass


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(ConfigurationError, match="cannot be used: Not a directory"),
        hold_data_dir(tmp_path / "file" / "below"),
    ):
        pass


def test_a_private_file_is_private_even_in_place_of_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)

    write_private(path, "new")

    assert path.read_text() == "new"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]
