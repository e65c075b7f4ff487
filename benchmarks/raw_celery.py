"""The yardstick: Celery doing nothing at all, as well as Celery does it."""

import os

from celery import Celery

app = Celery("raw", broker=os.environ["RAW_CELERY_BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    task_default_queue="raw",
)


@app.task(name="raw.no_op")
def no_op(number: int) -> None:
    """Nothing."""
