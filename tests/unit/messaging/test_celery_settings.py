"""Every broker that the settings accept is one that Celery can be set up for."""

import pytest

from app.core.config import load_settings
from app.messaging.queue import make_consumer, make_producer


@pytest.mark.parametrize(
    "url", ["redis://:pw@host:6379/0", "rediss://:pw@host:6379/0", "unix:///run/redis.sock"]
)
def test_a_redis_url_of_any_scheme_serves_as_broker(url: str) -> None:
    settings = load_settings(redis_url=url)
    for celery in (make_producer(settings), make_consumer(settings)):
        # What publishing a task touches before it connects.
        assert celery.backend is not None
        assert celery.connection_for_write().transport is not None


def test_only_json_is_taken_and_results_are_not_kept() -> None:
    conf = make_consumer(load_settings()).conf
    assert conf.accept_content == ["json"]
    assert conf.task_ignore_result
    assert conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
