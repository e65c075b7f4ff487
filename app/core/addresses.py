"""Where our own API is reached from the machine it runs on."""

# Compared with, never listened on.
_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def local_host(host: str) -> str:
    """The address to connect to when a server listens on ``host``."""
    return _WILDCARDS.get(host, host)


def local_url(host: str, port: int) -> str:
    """The base URL of a server that listens on ``host`` and ``port``, without a final slash."""
    reached = local_host(host)
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
