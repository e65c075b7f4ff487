"""The one Celery task."""

from celery.exceptions import Reject

from app.messaging.queue import TASK_NAME
from app.worker.celery_app import celery_app, runtime


@celery_app.task(name=TASK_NAME)
def process_task(task_id: str) -> None:
    """Do the task of that id, if it still waits to be done."""
    if not runtime.execute(task_id):
        raise Reject("this worker is stopping", requeue=True)
