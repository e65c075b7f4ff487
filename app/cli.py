"""The ``orchestrator`` command. Everything heavy is imported inside the command that needs it."""

import os
import sys
import time

import click

from app.core.errors import AppError, ConfigurationError

_BAD_CONFIGURATION = 2
_PORT = click.IntRange(0, 65535)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def orchestrator() -> None:
    """Durable task orchestration for LLM agents.

    Settings come from the environment and a .env file; an option given here goes before them.
    """


@orchestrator.command()
@click.option("--host", help="Address the API listens on.")
@click.option("--port", type=_PORT, help="Port the API listens on; 0 picks a free one.")
@click.option("--workers", type=int, help="Worker processes to start.")
@click.option("--concurrency", type=int, help="Tasks one worker runs at the same time.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of store and broker.")
def up(
    host: str | None,
    port: int | None,
    workers: int | None,
    concurrency: int | None,
    data_dir: str | None,
) -> None:
    """Run the whole system on this machine: API, workers and, if need be, Valkey."""
    began = time.monotonic()
    from app.core.config import load_settings
    from app.supervisor import up as story

    overrides = {
        "host": host,
        "port": port,
        "workers": workers,
        "worker_concurrency": concurrency,
        "data_dir": data_dir,
    }
    story.up(load_settings(**_given(overrides)), began=began)


@orchestrator.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=_PORT, help="Port to listen on; 0 picks a free one.")
def api(host: str | None, port: int | None) -> None:
    """Run the API alone."""
    import uvicorn

    from app.core.config import load_settings

    settings = load_settings(**_given({"host": host, "port": port}))
    uvicorn.run(
        "app.main:app",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace_seconds),
    )


@orchestrator.command()
@click.option("--concurrency", type=int, help="Tasks this worker runs at the same time.")
def worker(concurrency: int | None) -> None:
    """Run one worker."""
    from app.core.config import load_settings

    settings = load_settings(**_given({"worker_concurrency": concurrency}))
    from app.worker.celery_app import run_worker

    run_worker(settings.worker_concurrency)


@orchestrator.command()
@click.argument("text")
@click.option("--agent", help="Name of the agent to use, in place of the router's choice.")
@click.option("--session", help="Session to continue.")
@click.option("--follow", is_flag=True, help="Show progress, and end with the result.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON and nothing else.")
@click.option("--url", envvar="ORCHESTRATOR_URL", help="The API's base URL.  [ORCHESTRATOR_URL]")
def submit(
    text: str, agent: str | None, session: str | None, follow: bool, as_json: bool, url: str | None
) -> None:
    """Submit a task; TEXT is what to do, or "-" to read it from standard input.

    The API key, where one is needed, is read from ORCHESTRATOR_API_KEY. The exit code is 0 for an
    accepted or completed task, 1 for one that failed or was cancelled, 2 if the API refused or
    could not be reached.
    """
    from app.client.api import ApiClient, open_http_client
    from app.client.submit import submit_task
    from app.client.wire import TaskRequest
    from app.core.addresses import local_url
    from app.core.config import load_settings

    if text == "-":
        text = sys.stdin.read()
    if url is None:
        settings = load_settings()
        url = local_url(settings.host, settings.port)
    key = os.environ.get("ORCHESTRATOR_API_KEY") or None
    request = TaskRequest(task=text, agent=agent, session_id=session)
    with open_http_client(url, key) as http:
        sys.exit(submit_task(ApiClient(http), request, follow=follow, as_json=as_json))


@orchestrator.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed_version

    click.echo(installed_version("agent-orchestrator"))


def main() -> None:
    """Entry point: an error of ours is one line on standard error and an exit code."""
    try:
        orchestrator(prog_name="orchestrator")
    except AppError as error:
        click.echo(f"orchestrator: {error.message}", err=True)
        sys.exit(_BAD_CONFIGURATION if isinstance(error, ConfigurationError) else 1)


def _given(options: dict[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in options.items() if value is not None}


if __name__ == "__main__":
    main()
