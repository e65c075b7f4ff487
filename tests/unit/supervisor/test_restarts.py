"""When a dead child is started again, by table."""

import pytest

from app.supervisor.restarts import (
    Death,
    GiveUp,
    RestartAfter,
    RestartPolicy,
    deaths_in_a_row,
    decide_restart,
)

POLICY = RestartPolicy(first_delay=0.5, max_delay=4.0, settled_after=20.0, start_up_deaths=3)


@pytest.mark.parametrize(
    ("in_a_row", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 4.0), (100_000, 4.0)]
)
def test_the_wait_doubles_up_to_its_bound(in_a_row: int, seconds: float) -> None:
    death = Death(exit_code=1, in_a_row=in_a_row, ever_ready=True)

    assert decide_restart(death, POLICY) == RestartAfter(seconds)


@pytest.mark.parametrize(
    ("exit_code", "in_a_row", "decision"),
    [
        (1, 2, RestartAfter(1.0)),
        (1, 3, GiveUp(misconfigured=False)),
        (-9, 3, GiveUp(misconfigured=False)),
        (0, 3, GiveUp(misconfigured=False)),
        (2, 1, GiveUp(misconfigured=True)),
    ],
)
def test_a_child_that_was_never_ready_is_given_up(
    exit_code: int, in_a_row: int, decision: RestartAfter | GiveUp
) -> None:
    death = Death(exit_code=exit_code, in_a_row=in_a_row, ever_ready=False)

    assert decide_restart(death, POLICY) == decision


def test_a_child_that_has_been_ready_is_never_given_up() -> None:
    death = Death(exit_code=2, in_a_row=50, ever_ready=True)

    assert isinstance(decide_restart(death, POLICY), RestartAfter)


@pytest.mark.parametrize(("lived", "row"), [(0.1, 5), (19.9, 5), (20.0, 1), (3600.0, 1)])
def test_a_long_life_clears_the_record(lived: float, row: int) -> None:
    assert deaths_in_a_row(4, lived, POLICY) == row
