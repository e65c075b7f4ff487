"""The Celery application of the worker: ``celery -A app.worker.celery_app worker -Q agent_tasks``.

``orchestrator worker`` runs the same through :func:`run_worker`.
"""

import logging
import os
import sys
import warnings
from pathlib import Path

from celery import Celery, signals
from celery.exceptions import SecurityWarning
from prometheus_client import start_http_server

from app.core.config import READY_FILE_VARIABLE, Settings, load_settings
from app.core.errors import ConfigurationError
from app.core.logging import configure_logging, get_logger
from app.core.tuning import exempt_startup_objects, share_interpreter_fairly
from app.messaging.queue import QUEUE_NAME, make_consumer
from app.worker.runtime import WorkerRuntime

_SAID_BY_US = ("celery.worker.strategy", "celery.app.trace", "celery.worker.consumer.connection")
"""Their lines on each task and on readiness say less than ours, and lack the task's context."""

logger = get_logger("worker")


def _load_or_exit() -> Settings:
    try:
        return load_settings()
    except ConfigurationError as error:
        sys.exit(str(error))


settings = _load_or_exit()
runtime = WorkerRuntime(settings)
celery_app: Celery = make_consumer(settings)
celery_app.conf.update(imports=("app.worker.tasks",))


@signals.setup_logging.connect
def _configure_logging(**_: object) -> None:
    # That this is connected keeps Celery from setting up logging of its own.
    configure_logging(settings, process="worker")
    for name in _SAID_BY_US:
        logging.getLogger(name).setLevel(logging.WARNING)


@signals.worker_init.connect
def _start_runtime(**_: object) -> None:
    # Celery sets up logging only after this; what is said until then is said in the same form.
    _configure_logging()
    logger.info("settings_loaded", **settings.sanitised())
    try:
        if settings.worker_metrics_port is not None:
            start_http_server(settings.worker_metrics_port, addr=settings.host)
        runtime.start()
    except Exception as error:
        # Celery only logs what a signal's receiver raises, and would go on to take messages that
        # nobody here can work on.
        logger.critical("worker_cannot_start", exc_info=error)
        os._exit(2 if isinstance(error, ConfigurationError) else 1)


@signals.worker_ready.connect
def _announce_ready(**_: object) -> None:
    exempt_startup_objects()
    share_interpreter_fairly()
    logger.info("worker_ready", queue=QUEUE_NAME, concurrency=settings.worker_concurrency)
    ready_file = os.environ.get(READY_FILE_VARIABLE)
    if ready_file:
        Path(ready_file).write_text(str(os.getpid()), encoding="utf-8")


@signals.worker_shutting_down.connect
def _begin_shutdown(**_: object) -> None:
    runtime.begin_shutdown()


@signals.worker_shutdown.connect
def _stop_runtime(**_: object) -> None:
    runtime.stop()


def run_worker(concurrency: int | None = None) -> None:
    """Run a worker in the foreground until it is told to stop.

    Args:
        concurrency: tasks at the same time; ``None`` takes ``WORKER_CONCURRENCY``.
    """
    argv = [
        "--quiet",
        "worker",
        f"--queues={QUEUE_NAME}",
        "--pool=threads",
        f"--concurrency={concurrency or settings.worker_concurrency}",
        f"--loglevel={settings.log_level}",
        # Workers need not know of each other: the store decides who does what.
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]
    # Celery warns root of pickled messages; this worker takes JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    celery_app.worker_main(argv)
