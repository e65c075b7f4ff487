"""When a child that died is started again: a pure decision."""

from dataclasses import dataclass

BAD_CONFIGURATION = 2
"""Exit code with which our processes refuse their configuration; trying again changes nothing."""


@dataclass(frozen=True)
class RestartPolicy:
    """Times are seconds."""

    first_delay: float = 0.2
    max_delay: float = 10.0
    settled_after: float = 20.0
    """A life at least this long clears the record of earlier deaths."""
    start_up_deaths: int = 5
    """So many short lives in a row, none of them ever ready, end the whole instance."""


@dataclass(frozen=True)
class Death:
    """The end of one life of a child that nobody had asked to stop."""

    exit_code: int
    """As ``subprocess`` gives it: negative for a signal."""
    in_a_row: int
    """Deaths since the record was last cleared, this one included."""
    ever_ready: bool
    """Whether any life of this child has been ready."""


@dataclass(frozen=True)
class RestartAfter:
    """Start it again in so many seconds."""

    seconds: float


@dataclass(frozen=True)
class GiveUp:
    """End the instance; ``misconfigured`` tells a refused configuration from a crash."""

    misconfigured: bool


def deaths_in_a_row(before: int, lived: float, policy: RestartPolicy) -> int:
    """The length of the current run of deaths after one more, whose life took ``lived`` seconds."""
    return 1 if lived >= policy.settled_after else before + 1


def decide_restart(death: Death, policy: RestartPolicy) -> RestartAfter | GiveUp:
    """What follows a death.

    A child that has been ready is always started again: what worked once may work again, and
    accepted tasks are waiting. One that never was, and dies over and over, will not get better.
    """
    if not death.ever_ready:
        if death.exit_code == BAD_CONFIGURATION:
            return GiveUp(misconfigured=True)
        if death.in_a_row >= policy.start_up_deaths:
            return GiveUp(misconfigured=False)
    # The exponent is bounded: a float overflows at 2 ** 1024, after a few hours of restarts.
    delay = policy.first_delay * 2.0 ** min(death.in_a_row - 1, 30)
    return RestartAfter(min(delay, policy.max_delay))
