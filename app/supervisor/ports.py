"""TCP ports: whether one is free, and finding one that stays free."""

import errno
import random
import socket

from app.core.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
_TRIES = 100


def reserve_address(host: str, port: int) -> int:
    """Check that a server could listen on ``host`` and ``port``; port 0 picks a free one.

    Returns:
        The port.

    Raises:
        ConfigurationError: the port is taken or not allowed, or the host is not of this machine.
    """
    try:
        return pick_free_port(host) if port == 0 else _try_port(host, port)
    except socket.gaierror as error:
        raise ConfigurationError(f"HOST={host!r}: cannot be resolved: {error.strerror}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"PORT={port}: already in use on {host}; stop what listens there or choose"
                " another --port (0 picks a free one)"
            ) from None
        raise ConfigurationError(
            f"HOST={host!r}, PORT={port}: cannot listen there: {error.strerror}"
        ) from None


def pick_free_port(host: str = LOOPBACK) -> int:
    """A free port below the range from which systems number outgoing connections.

    Within that range, a client that keeps reconnecting to a stopped local server may be given the
    server's own port, connect to itself, and so keep the server from coming back.

    Raises:
        OSError: nothing can listen on ``host``.
    """
    for _ in range(_TRIES):
        try:
            return _try_port(host, random.randint(15_000, 32_000))  # noqa: S311
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return _try_port(host, 0)


def _try_port(host: str, port: int) -> int:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as listener:
            # As the servers do: connections of a stopped predecessor do not block the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            bound: int = listener.getsockname()[1]
    return bound
