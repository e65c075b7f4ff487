"""``orchestrator submit``: hand in a task, and stay with it to its end if asked to."""

import json
import sys
import unicodedata
from typing import Protocol, TextIO

from app.client.api import ApiClient
from app.client.wire import (
    FINAL_STATUSES,
    ClientError,
    Document,
    StatusChange,
    Step,
    Task,
    TaskEvent,
    TaskRequest,
    Token,
)

COMPLETED, NOT_COMPLETED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def submit_task(
    api: ApiClient,
    request: TaskRequest,
    *,
    follow: bool,
    as_json: bool,
    out: TextIO | None = None,
    log: TextIO | None = None,
) -> int:
    """Submit and report.

    The answer goes to ``out`` (default: standard output), so that it can be redirected into a
    file; everything about it goes to ``log`` (default: standard error).

    Returns:
        The exit code.
    """
    out, log = out or sys.stdout, log or sys.stderr
    task_id = None
    try:
        accepted = api.submit(request)
        task_id = accepted.task_id
        if not follow:
            print(_one_line(accepted) if as_json else _how_to_go_on(api, task_id), file=out)
            return COMPLETED
        report: Report = JsonReport(out) if as_json else ProgressReport(out, log)
        report.begin(task_id)
        for event in api.follow(task_id):
            report.show(event)
        task = api.wait_for_end(task_id)
        report.conclude(task)
    except ClientError as error:
        hint = f" (the task {task_id} goes on)" if task_id else ""
        print(f"orchestrator: {error.message}{hint}", file=log)
        return REFUSED
    except KeyboardInterrupt:
        if task_id:
            print(f"\nthe task {task_id} goes on without us", file=log)
        return INTERRUPTED
    return COMPLETED if task.status == "completed" else NOT_COMPLETED


def _how_to_go_on(api: ApiClient, task_id: str) -> str:
    task_url = f"{api.base_url}/v1/tasks/{task_id}"
    return (
        f"task {task_id} accepted\n"
        f"  follow  curl -N {task_url}/events\n"
        f"  result  curl -s {task_url}"
    )


class Report(Protocol):
    """Tells of one task that is being followed."""

    def begin(self, task_id: str) -> None:
        """The task was accepted."""
        ...

    def show(self, event: TaskEvent) -> None:
        """One event of the stream."""
        ...

    def conclude(self, task: Task) -> None:
        """The task has ended."""
        ...


class JsonReport:
    """Only the task at its end, as one line of JSON."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def begin(self, task_id: str) -> None:
        """Nothing to say yet."""

    def show(self, event: TaskEvent) -> None:
        """Nothing to say yet."""

    def conclude(self, task: Task) -> None:
        print(_one_line(task), file=self._out)


class ProgressReport:
    """Writes a task's events as they come, then what the stream has not shown of its result."""

    def __init__(self, out: TextIO, log: TextIO) -> None:
        self._out = out
        self._log = log
        self._streamed = ""
        """The answer's text so far, of the latest attempt."""
        self._line_is_open = False

    def begin(self, task_id: str) -> None:
        self._note(f"task {task_id}")

    def show(self, event: TaskEvent) -> None:
        match event:
            case Token(text=text):
                self._streamed += printable(text)
                self._write(printable(text))
            case Step(name=name, agent_name=agent):
                self._note(f"  {name.replace('_', ' ')}{f': {agent}' if agent else ''}")
            case StatusChange(status=status) if status not in FINAL_STATUSES:
                self._note(f"  {status}")
                # A new attempt starts its answer afresh.
                self._streamed = ""
            case StatusChange():
                pass  # told by conclude(), with its reason

    def conclude(self, task: Task) -> None:
        result = task.result
        answer = printable(result.raw_output) if result else ""
        # What was streamed need not be said twice.
        if answer and answer.strip() != self._streamed.strip():
            if self._streamed:
                self._write("\n\n")
            self._write(answer)
        by = f" by {task.selected_agent}" if task.selected_agent else ""
        model = f" ({result.model})" if result and result.model else ""
        reason = f": {task.error.type}: {task.error.message}" if task.error else ""
        self._note(f"  {task.status}{by}{model}{reason}")

    def _note(self, text: str) -> None:
        """Write a line about the task, below what has been streamed."""
        if self._line_is_open:
            self._write("\n")
        print(printable(text), file=self._log, flush=True)

    def _write(self, text: str) -> None:
        print(text, end="", file=self._out, flush=True)
        self._line_is_open = bool(text) and not text.endswith("\n")


def printable(text: str) -> str:
    """Without control characters, tab and line feed aside: no model may steer a terminal."""
    return "".join(
        character
        for character in text
        if character in "\n\t" or unicodedata.category(character) != "Cc"
    )


def _one_line(document: Document) -> str:
    return json.dumps(json.loads(document.raw), ensure_ascii=False, separators=(",", ":"))
