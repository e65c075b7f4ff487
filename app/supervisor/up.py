"""``orchestrator up`` as a story: take the directory, start the broker, then all the others."""

import http.client
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click

from app.core.addresses import local_host, local_url
from app.core.config import READY_FILE_VARIABLE, Settings
from app.core.logging import configure_logging, get_logger
from app.supervisor.banner import banner
from app.supervisor.children import ChildSpec
from app.supervisor.data_dir import hold_data_dir
from app.supervisor.ports import reserve_address
from app.supervisor.supervisor import Supervisor
from app.supervisor.valkey import EmbeddedValkey, find_bundled_binary, find_server_binary

_ANSWER_SECONDS = 1.0
_STOP_MARGIN_SECONDS = 2.5
"""On top of SHUTDOWN_GRACE_SECONDS; with its default of 5 and Valkey's 2, all ends within 10."""

_logger = get_logger(__name__)


def up(settings: Settings, *, began: float) -> None:
    """Run the whole system on this machine until it is asked to stop.

    Args:
        settings: already checked.
        began: moment on the monotonic clock from which the start-up time is counted.

    Raises:
        ConfigurationError: the data directory, the port or a server binary cannot be had.
        StartUpFailedError: a process dies over and over while starting.
    """
    configure_logging(settings, process="supervisor")
    with ExitStack() as stack:
        data_dir = stack.enter_context(hold_data_dir(settings.data_dir))
        port = reserve_address(settings.host, settings.port)
        settings = settings.model_copy(update={"data_dir": data_dir, "port": port})
        valkey = None
        if settings.redis_url is None:
            valkey = stack.enter_context(
                EmbeddedValkey(data_dir, find_server_binary(find_bundled_binary()))
            )
        supervisor = stack.enter_context(Supervisor())
        if valkey is not None:
            supervisor.start([valkey.spec(os.environ)])
            if not supervisor.wait_until_ready():
                return
            valkey.announce()
        redis_url = settings.resolve_redis_url()
        supervisor.start(application_specs(settings, redis_url))
        if not supervisor.wait_until_ready():
            return
        _announce(settings, redis_url, seconds=time.monotonic() - began)
        supervisor.run()


def application_specs(settings: Settings, redis_url: str) -> list[ChildSpec]:
    """The API and the workers, told where everything is.

    Args:
        settings: with the absolute data directory and the final port.
        redis_url: password included; it goes into the children's environment only.
    """
    environment = {
        **os.environ,
        "REDIS_URL": redis_url,
        "DATA_DIR": str(settings.data_dir),
        "HOST": settings.host,
        "PORT": str(settings.port),
        "WORKERS": str(settings.workers),
        "WORKER_CONCURRENCY": str(settings.worker_concurrency),
    }
    environment.pop(READY_FILE_VARIABLE, None)
    api_host, port = local_host(settings.host), settings.port
    api = ChildSpec(
        name="api",
        command=_own_command("api"),
        is_ready=lambda: api_is_ready(api_host, port),
        environment=environment,
        stop_seconds=settings.shutdown_grace_seconds + _STOP_MARGIN_SECONDS,
    )
    numbers = range(1, settings.workers + 1)
    return [api, *(_worker_spec(number, settings, environment) for number in numbers)]


def _worker_spec(number: int, settings: Settings, environment: dict[str, str]) -> ChildSpec:
    ready_file = settings.data_dir / "run" / f"worker-{number}.ready"

    def forget_predecessor() -> None:
        ready_file.parent.mkdir(mode=0o700, exist_ok=True)
        ready_file.unlink(missing_ok=True)

    own = {READY_FILE_VARIABLE: str(ready_file)}
    if settings.worker_metrics_port is not None:
        own["WORKER_METRICS_PORT"] = str(settings.worker_metrics_port + number - 1)
    return ChildSpec(
        name=f"worker-{number}",
        command=_own_command("worker"),
        is_ready=lambda: _has_content(ready_file),
        environment={**environment, **own},
        stop_seconds=settings.shutdown_grace_seconds + _STOP_MARGIN_SECONDS,
        before_start=forget_predecessor,
    )


def _own_command(name: str) -> tuple[str, ...]:
    # -P keeps a package "app" of the current directory, a common name, from standing in for ours.
    return (sys.executable, "-P", "-m", "app.cli", name)


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


def api_is_ready(host: str, port: int) -> bool:
    """Whether the API answers ``GET /health/ready`` with 200 within a second."""
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _announce(settings: Settings, redis_url: str, *, seconds: float) -> None:
    api_url = local_url(settings.host, settings.port)
    _logger.info("system_ready", url=api_url, seconds=round(seconds, 2))
    # Who asks for JSON by name wants every line of the output to be JSON.
    if settings.log_format != "json":
        click.echo(banner(settings, api_url=api_url, redis_url=redis_url, seconds=seconds))
