"""Every setting of the product, read once from the environment and an optional ``.env`` file.

The descriptions and groups below are the source of ``.env.example`` and
``docs/configuration.md``; ``make generate`` rewrites both and ``make check`` compares them.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.errors import ConfigurationError
from app.core.setting_types import BrokerUrl, HttpUrl, JsonList, MongoUrl, RedisUrl

MASK = "********"
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
READY_FILE_VARIABLE = "ORCHESTRATOR_READY_FILE"
"""Tells a worker which file to create, with its process id in it, once it takes tasks."""
EMBEDDED_REDIS_URL_FILE = "redis.url"
"""In ``DATA_DIR`` while ``orchestrator up`` runs: where its Valkey listens, password included."""


_SERVER: dict[str, Any] = {"group": "Service"}
_STORE: dict[str, Any] = {"group": "Store"}
_REDIS: dict[str, Any] = {"group": "Redis and Celery"}
_MODEL: dict[str, Any] = {"group": "Model and search"}
_TASKS: dict[str, Any] = {"group": "Tasks and recovery"}
_STREAMS: dict[str, Any] = {"group": "Event streams"}
_ACCESS: dict[str, Any] = {"group": "Access"}


class Settings(BaseSettings):
    """The environment's variables, typed. A variable's name is its field's in upper case.

    Read it with :func:`load_settings`, which turns a bad value into one clear line.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: Literal["local", "test", "dev", "prod"] = Field(
        "local",
        description="Where this runs. Outside `local` and `test`, running without API_KEYS warns.",
        json_schema_extra=_SERVER,
    )
    app_name: str = Field(
        "agent-orchestrator",
        min_length=1,
        description="Name shown in logs and in the API's title.",
        json_schema_extra=_SERVER,
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged.", json_schema_extra=_SERVER
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto",
        description="`auto` is readable text on a terminal and JSON lines everywhere else.",
        json_schema_extra=_SERVER,
    )
    host: str = Field(
        "127.0.0.1", description="Address the API listens on.", json_schema_extra=_SERVER
    )
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        description="Port the API listens on; 0 picks a free one.",
        json_schema_extra=_SERVER,
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Worker processes that `orchestrator up` starts.",
        json_schema_extra=_SERVER,
    )
    worker_concurrency: int = Field(
        64,
        ge=1,
        le=1000,
        description="Tasks one worker process runs at the same time.",
        json_schema_extra=_SERVER,
    )
    worker_metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description=(
            "Port for a worker's own Prometheus metrics; unset: none. `orchestrator up` gives each"
            " further worker the next port."
        ),
        json_schema_extra=_SERVER,
    )
    prometheus_enabled: bool = Field(
        True, description="Serve `GET /metrics`.", json_schema_extra=_SERVER
    )
    shutdown_grace_seconds: float = Field(
        5.0,
        ge=0,
        le=600,
        description="How long a stopping process lets requests and tasks finish.",
        json_schema_extra=_SERVER,
    )

    data_dir: Path = Field(
        Path(".orchestrator"),
        description="Folder of the embedded store and broker; used where their URLs are unset.",
        json_schema_extra=_STORE,
    )
    mongo_uri: MongoUrl | None = Field(
        None,
        description="MongoDB connection URI. Unset: a SQLite file in DATA_DIR.",
        json_schema_extra=_STORE,
    )
    mongo_db_name: str = Field(
        "agent-orchestrator-db",
        min_length=1,
        max_length=63,
        pattern=r'^[^/\\. "$*<>:|?]+$',
        description="Database name in MongoDB.",
        json_schema_extra=_STORE,
    )
    store_timeout_seconds: float = Field(
        4.0,
        gt=0,
        le=60,
        description="Longest time one store operation may take before it is reported unavailable.",
        json_schema_extra=_STORE,
    )
    sqlite_synchronous: Literal["NORMAL", "FULL"] = Field(
        "FULL",
        description=(
            "`FULL` survives a power cut; `NORMAL` only the death of processes, and is faster."
        ),
        json_schema_extra=_STORE,
    )

    redis_url: RedisUrl | None = Field(
        None,
        description=(
            "Redis or Valkey URL. Unset: the Valkey of the `orchestrator up` that runs on DATA_DIR,"
            f" else {DEFAULT_REDIS_URL}."
        ),
        json_schema_extra=_REDIS,
    )
    redis_global_keyprefix: str = Field(
        "",
        max_length=64,
        pattern=r"^[A-Za-z0-9_.:{}-]*$",
        description="Prefix of every key and channel, broker included, to share one Redis.",
        json_schema_extra=_REDIS,
    )
    celery_broker_url: BrokerUrl | None = Field(
        None, description="Broker of the tasks. Unset: REDIS_URL.", json_schema_extra=_REDIS
    )
    celery_result_backend: BrokerUrl | None = Field(
        None,
        description=(
            "Celery's result backend. Unset: none, since results live in the store and Celery is"
            " told to keep none."
        ),
        json_schema_extra=_REDIS,
    )

    openai_api_key: SecretStr | None = Field(
        None,
        description=(
            "Key of the model provider. With this and OPENAI_BASE_URL both unset, the system runs"
            " offline and labels its answers so."
        ),
        json_schema_extra=_MODEL,
    )
    openai_base_url: HttpUrl | None = Field(
        None,
        description="Base URL of an OpenAI-compatible server. Unset: OpenAI itself.",
        json_schema_extra=_MODEL,
    )
    llm_peer_model: str = Field(
        "gpt-4.1-mini",
        min_length=1,
        description="Model that routes tasks to agents.",
        json_schema_extra=_MODEL,
    )
    llm_content_model: str = Field(
        "gpt-4.1", min_length=1, description="Model of ContentAgent.", json_schema_extra=_MODEL
    )
    llm_code_model: str = Field(
        "gpt-4o", min_length=1, description="Model of CodeAgent.", json_schema_extra=_MODEL
    )
    llm_timeout_seconds: float = Field(
        60.0,
        gt=0,
        le=600,
        description="Longest silence of the model provider within one call.",
        json_schema_extra=_MODEL,
    )
    llm_max_retries: int = Field(
        2,
        ge=0,
        le=10,
        description="Repeats of one model call after a passing failure, before the attempt fails.",
        json_schema_extra=_MODEL,
    )
    router_min_confidence: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Below this confidence a task fails as UnknownTaskTypeError.",
        json_schema_extra=_MODEL,
    )
    web_search_provider: Literal["tavily", "none"] = Field(
        "tavily", description="Web search of ContentAgent.", json_schema_extra=_MODEL
    )
    tavily_api_key: SecretStr | None = Field(
        None,
        description="Tavily key. Unset: ContentAgent works without web search.",
        json_schema_extra=_MODEL,
    )
    tavily_base_url: HttpUrl | None = Field(
        None, description="Base URL of Tavily. Unset: its own.", json_schema_extra=_MODEL
    )

    task_max_bytes: int = Field(
        32_768,
        ge=1,
        le=1_048_576,
        description="Longest task text accepted, in bytes of UTF-8.",
        json_schema_extra=_TASKS,
    )
    request_max_bytes: int = Field(
        262_144,
        ge=1024,
        description="Largest request body accepted, in bytes.",
        json_schema_extra=_TASKS,
    )
    task_deadline_seconds: float = Field(
        900.0,
        gt=0,
        le=86_400,
        description="A task that has not ended this long after it was accepted fails.",
        json_schema_extra=_TASKS,
    )
    task_max_attempts: int = Field(
        3,
        ge=1,
        le=20,
        description="Attempts of a task, lost workers included, before it fails for good.",
        json_schema_extra=_TASKS,
    )
    retry_backoff_seconds: float = Field(
        2.0,
        ge=0,
        le=3600,
        description="Upper bound of the wait before the second attempt; doubles with each further.",
        json_schema_extra=_TASKS,
    )
    retry_backoff_max_seconds: float = Field(
        120.0,
        ge=0,
        le=86_400,
        description="Upper bound of the wait before any attempt.",
        json_schema_extra=_TASKS,
    )
    lease_seconds: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="A worker silent for this long loses its tasks to another; renewed at a third.",
        json_schema_extra=_TASKS,
    )
    sweep_interval_seconds: float = Field(
        5.0,
        gt=0,
        le=3600,
        description="How often recovery looks for tasks nobody works on.",
        json_schema_extra=_TASKS,
    )
    redispatch_after_seconds: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="A task published but not claimed is published again after this; then doubled.",
        json_schema_extra=_TASKS,
    )

    sse_ping_seconds: float = Field(
        15.0,
        gt=0,
        le=3600,
        description="Interval of the comment lines that keep an idle event stream open.",
        json_schema_extra=_STREAMS,
    )
    sse_retry_milliseconds: int = Field(
        2000,
        ge=0,
        le=600_000,
        description="Time a client is told to wait before it reconnects.",
        json_schema_extra=_STREAMS,
    )
    sse_poll_seconds: float = Field(
        2.0,
        gt=0,
        le=60,
        description="Interval at which a stream looks into the store, in case a message got lost.",
        json_schema_extra=_STREAMS,
    )
    event_stream_max_length: int = Field(
        10_000,
        ge=10,
        description="Events kept per task for replay; older tokens are dropped first.",
        json_schema_extra=_STREAMS,
    )
    event_stream_ttl_seconds: int = Field(
        3600,
        ge=1,
        description="How long a task's tokens can be replayed after the last of them.",
        json_schema_extra=_STREAMS,
    )

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode, JsonList] = Field(
        (),
        description="JSON list of the API keys that may call. Empty: no key is needed.",
        json_schema_extra=_ACCESS,
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, JsonList] = Field(
        (),
        description='JSON list of browser origins allowed to call, e.g. ["http://localhost:5173"].',
        json_schema_extra=_ACCESS,
    )
    rate_limit_per_minute: int = Field(
        120,
        ge=1,
        description=(
            "Requests one API key, or one address, may make in a minute. Checked, not yet enforced."
        ),
        json_schema_extra=_ACCESS,
    )

    @model_validator(mode="after")
    def _check_together(self) -> "Settings":
        if any(not key.get_secret_value().strip() for key in self.api_keys):
            raise ValueError("API_KEYS must not hold an empty key")
        if self.retry_backoff_seconds > self.retry_backoff_max_seconds:
            raise ValueError("RETRY_BACKOFF_SECONDS must not exceed RETRY_BACKOFF_MAX_SECONDS")
        return self

    @property
    def offline(self) -> bool:
        """Whether no model provider is configured."""
        return self.openai_api_key is None and self.openai_base_url is None

    @property
    def sqlite_path(self) -> Path:
        """Where the embedded store's file is."""
        return self.data_dir / "store.sqlite3"

    def resolve_redis_url(self) -> str:
        """The Redis URL to connect to, password included: never log it.

        With ``REDIS_URL`` unset this is the embedded server's, as long as one runs on
        ``DATA_DIR``; so any command started beside ``orchestrator up`` joins it.
        """
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        try:
            return (self.data_dir / EMBEDDED_REDIS_URL_FILE).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return DEFAULT_REDIS_URL

    def resolve_broker_url(self) -> str:
        """The Celery broker's URL, password included: never log it."""
        if self.celery_broker_url is not None:
            return self.celery_broker_url.get_secret_value()
        url = self.resolve_redis_url()
        return f"redis+socket://{url.removeprefix('unix://')}" if url.startswith("unix") else url

    def resolve_result_backend(self) -> str:
        """The Celery result backend's URL, password included: never log it."""
        if self.celery_result_backend is not None:
            return self.celery_result_backend.get_secret_value()
        return "disabled://"

    def sanitised(self) -> dict[str, object]:
        """All values fit for a log: secrets that are set appear as ``********``."""
        return {
            name: MASK if is_secret(field) and getattr(self, name) else _plain(getattr(self, name))
            for name, field in type(self).model_fields.items()
        }


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting's value must never be shown."""
    return "SecretStr" in str(field.annotation)


def load_settings(**overrides: object) -> Settings:
    """Read the settings; ``overrides`` go before the environment.

    Raises:
        ConfigurationError: with one line per bad variable: name, value, what is allowed.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [_explain(dict(detail)) for detail in error.errors(include_url=False)]
        raise ConfigurationError("; ".join(lines)) from None


def _explain(detail: dict[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0]).lower()
    field = Settings.model_fields[name]
    shown = MASK if is_secret(field) else repr(detail["input"])
    return f"{name.upper()}={shown}: {message[0].lower()}{message[1:]}"


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
