"""Ports that are free, taken or impossible."""

import socket

import pytest

from app.core.errors import ConfigurationError
from app.supervisor.ports import LOOPBACK, pick_free_port, reserve_address


def test_a_free_port_can_be_listened_on() -> None:
    port = reserve_address(LOOPBACK, 0)

    with socket.create_server((LOOPBACK, port)):
        assert 15_000 <= port <= 32_000


def test_a_port_that_is_asked_for_is_kept() -> None:
    port = pick_free_port()

    assert reserve_address(LOOPBACK, port) == port


def test_a_taken_port_is_refused_by_name() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"PORT={port}: already in use on {LOOPBACK}"):
            reserve_address(LOOPBACK, port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"HOST='192\.0\.2\.1', PORT=0: cannot listen"):
        reserve_address("192.0.2.1", 0)


def test_a_name_that_does_not_resolve_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"HOST='no-such-host\.invalid': cannot be resolved"
    ):
        reserve_address("no-such-host.invalid", 8000)
