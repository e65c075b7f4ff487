"""What ``orchestrator up`` says once everything is ready."""

import shlex
import shutil
import sys
from pathlib import Path

from app.core.config import Settings
from app.core.logging import mask_url


def describe_store(settings: Settings) -> str:
    """The store in use, without its password."""
    if settings.mongo_uri is None:
        return f"SQLite, {settings.sqlite_path}"
    uri = mask_url(settings.mongo_uri.get_secret_value())
    return f"MongoDB, {uri}, database {settings.mongo_db_name}"


def describe_broker(settings: Settings, redis_url: str) -> str:
    """The broker in use, without its password."""
    if settings.celery_broker_url is not None:
        return mask_url(settings.celery_broker_url.get_secret_value())
    kind = "Valkey, started here" if settings.redis_url is None else "Redis"
    return f"{kind}, {mask_url(redis_url)}"


def describe_model(settings: Settings) -> str:
    """The model provider in use, or that there is none."""
    if settings.offline:
        return "offline, answers are outlines labelled so; set OPENAI_API_KEY for real ones"
    models = (settings.llm_peer_model, settings.llm_content_model, settings.llm_code_model)
    return f"{', '.join(dict.fromkeys(models))} at {settings.openai_base_url or 'OpenAI'}"


def banner(settings: Settings, *, api_url: str, redis_url: str, seconds: float) -> str:
    """A few lines for the person at the terminal.

    Args:
        settings: as resolved for this instance.
        api_url: where a client on this machine reaches the API.
        redis_url: of the broker and the events; its password is not shown.
        seconds: how long the start took.
    """
    key = ' -H "X-API-Key: $ORCHESTRATOR_API_KEY"' if settings.api_keys else ""
    default = Settings.model_fields
    is_default = api_url == f"http://{default['host'].default}:{default['port'].default}"
    url_option = "" if is_default else f" --url {api_url}"
    return f"""
  Agent Orchestrator is ready ({seconds:.1f} s)

  API      {api_url}  (documentation: {api_url}/docs)
  Store    {describe_store(settings)}
  Broker   {describe_broker(settings, redis_url)}
  Model    {describe_model(settings)}
  Workers  {settings.workers} x {settings.worker_concurrency} tasks at a time

  Try, in another terminal:

    {_own_command()} submit "Python ile bir dosya okuyan kod yaz" --follow{url_option}

    curl -s {api_url}/v1/agent/execute{key} -H 'Content-Type: application/json' \\
         -d '{{"task": "Write an article about tea"}}'
    curl -N {api_url}/v1/tasks/TASK_ID/events{key}

  Ctrl-C stops everything.
"""


def _own_command() -> str:
    """How to call us from the directory we were started in."""
    if shutil.which("orchestrator"):
        return "orchestrator"
    script = Path(sys.prefix, "bin", "orchestrator")
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))
