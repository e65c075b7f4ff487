"""What reaches a log line, and what never does."""

import json
import logging

import pytest

from app.core.config import MASK, load_settings
from app.core.logging import configure_logging, get_logger, log_context, mask_url


class Lines:
    """Logs as the API does, to the captured stdout of the test that makes it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        configure_logging(
            load_settings(openai_api_key="sk-canary", api_keys=("key-canary",), log_format="json"),
            process="api",
        )

    def read(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]


def test_a_line_has_the_fields_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys)
    with log_context(request_id="r", task_id="t", session_id="s"):
        get_logger("PeerAgent").info("task_classified", agent_name="CodeAgent")
    [line] = lines.read()
    assert line.pop("timestamp")
    assert line == {
        "event": "task_classified",
        "level": "info",
        "logger": "PeerAgent",
        "process": "api",
        "request_id": "r",
        "task_id": "t",
        "session_id": "s",
        "agent_name": "CodeAgent",
    }


def test_context_ends_with_its_block(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys)
    with log_context(task_id="t"):
        pass
    get_logger("x").info("later")
    assert "task_id" not in lines.read()[0]


def test_the_standard_librarys_lines_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys)
    logging.getLogger("some.library").warning("it said %s", "sk-canary")
    [line] = lines.read()
    assert line["event"] == f"it said {MASK}"
    assert line["logger"] == "some.library"


def test_secrets_are_masked_by_value_by_name_and_in_urls(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines(capsys)
    get_logger("x").error(
        "failed with sk-canary",
        url="redis://:pw-canary@host/0",
        header={"X-API-Key": "other-canary", "nested": ["key-canary"]},
        authorization="Bearer canary",
        query="/v1/tasks?X-API-Key=canary&a=1",
    )
    text = json.dumps(lines.read())
    assert "canary" not in text
    assert "a=1" in text


def test_a_stack_is_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys)
    try:
        raise ValueError("mongodb://user:canary@host")
    except ValueError:
        get_logger("x").exception("crashed")
    text = json.dumps(lines.read())
    assert "Traceback" in text
    assert "canary" not in text


def test_text_with_line_breaks_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys)
    get_logger("x").info("seen", value='a\n{"event": "forged"}')
    assert len(lines.read()) == 1


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://:pw@h:1/0", f"redis://:{MASK}@h:1/0"),
        ("mongodb+srv://u:p%40w@h", f"mongodb+srv://u:{MASK}@h"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("?X-API-Key=abc", f"?X-API-Key={MASK}"),
        ("?api-key=abc&b=2", f"?api-key={MASK}&b=2"),
    ],
)
def test_urls(text: str, masked: str) -> None:
    assert mask_url(text) == masked
