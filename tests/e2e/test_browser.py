"""A page of another origin, in a real browser, hands in a task and watches it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.browser import PageServer, browser_on
from tests.support.system import RunningSystem
from tests.support.waiting import wait_until

# EventSource connects again by itself after every end; only a 204 makes it stop (readyState 2).
PAGE = """\
<!doctype html>
<script>
const api = {url}, key = {key};
const seen = {{messages: [], errors: 0}};
const report = () => fetch("/report", {{method: "POST", body: JSON.stringify(seen)}});
(async () => {{
  const answer = await fetch(api + "/v1/agent/execute", {{
    method: "POST",
    headers: {{"Content-Type": "application/json", "X-API-Key": key}},
    body: JSON.stringify({{task: "Write a blog article about lighthouses"}}),
  }});
  seen.location = answer.headers.get("Location");
  seen.task_id = (await answer.json()).task_id;
  const source = new EventSource(
    api + "/v1/tasks/" + seen.task_id + "/events?X-API-Key=" + encodeURIComponent(key));
  source.onmessage = (message) => seen.messages.push(JSON.parse(message.data));
  source.onerror = () => {{
    seen.errors += 1;
    if (source.readyState === EventSource.CLOSED) report();
  }};
}})().catch((error) => {{ seen.failure = String(error); report(); }});
</script>
"""


def test_an_event_source_sees_the_sequence_and_then_the_end(
    offline_system: RunningSystem, page_server: PageServer, api_key: str, tmp_path: Path
) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on the PATH")
    page_server.page = PAGE.format(url=json.dumps(offline_system.url), key=json.dumps(api_key))

    with browser_on(f"{page_server.origin}/", chromium, tmp_path / "profile"):
        wait_until(lambda: bool(page_server.reports), within=30)

    [seen] = page_server.reports
    assert "failure" not in seen
    task_id = seen["task_id"]
    assert seen["location"] == f"/v1/tasks/{task_id}"
    assert seen["messages"] == [
        {"task_id": task_id, "status": status} for status in ("queued", "processing", "completed")
    ]
    requests = offline_system.lines("request_handled", path=f"/v1/tasks/{task_id}/events")
    assert [line["status_code"] for line in requests] == [200, 204]
    assert seen["errors"] == 2
    assert api_key not in offline_system.log_file.read_text()
