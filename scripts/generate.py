"""Write the files that come from the code, or with ``--check`` fail where one is stale.

The API's contract, the settings, the commands, the metrics and the peer agent's graph.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Return the exit code: 1 if ``--check`` found a stale file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check: bool = parser.parse_args().check
    stale = []
    for name, text in generate().items():
        path = ROOT / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if check and stale:
        print(f"stale, run `make generate`: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


def generate() -> dict[str, str]:
    """Every generated file's text, by its path from the project's root."""
    return {
        "docs/openapi.json": openapi(),
        ".env.example": env_example(),
        "docs/configuration.md": configuration_page(),
        "docs/cli.md": cli_page(),
        "docs/metrics.md": metrics_page(),
        "docs/peer-agent.md": peer_agent_page(),
    }


def openapi() -> str:
    """The OpenAPI document of the API with its default settings."""
    from app.core.config import Settings
    from app.main import create_app

    defaults = Settings.model_construct(
        **{name: field.default for name, field in Settings.model_fields.items()}
    )
    return json.dumps(create_app(defaults).openapi(), indent=2, ensure_ascii=False) + "\n"


def env_example() -> str:
    """Every variable with its default, commented out, under its group."""
    lines = [
        "# Every setting, with its default. Copy to `.env` and change what you need.",
        "# Written by `make generate` from app/core/config.py.",
    ]
    for group, fields in grouped_settings():
        lines += ["", f"# --- {group} ---"]
        for name, field in fields:
            lines += ["", f"# {field.description}", f"# {name.upper()}={as_variable(field)}"]
    return "\n".join(lines) + "\n"


def configuration_page() -> str:
    """The same as a page."""
    lines = [
        "# Configuration",
        "",
        "All settings are environment variables, or lines of a `.env` file in the working",
        "directory. A value that cannot be used stops the start with one line that names it.",
        "Written by `make generate` from `app/core/config.py`.",
    ]
    for group, fields in grouped_settings():
        lines += ["", f"## {group}", "", "| Variable | Default | Meaning |", "|---|---|---|"]
        for name, field in fields:
            default = as_variable(field)
            shown = f"`{default}`" if default else "unset"
            lines.append(f"| `{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command's help text."""
    from app.cli import orchestrator

    lines = ["# Commands", "", "Written by `make generate` from `app/cli.py`."]
    root = click.Context(orchestrator, info_name="orchestrator", max_content_width=96)
    lines += ["", "```", root.get_help(), "```"]
    for name, command in sorted(orchestrator.commands.items()):
        context = click.Context(command, root, info_name=name, max_content_width=96)
        lines += ["", f"## orchestrator {name}", "", "```", context.get_help(), "```"]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """Every metric of ours, with its type, labels and meaning."""
    import app.main
    import app.services.execution  # the worker's metrics  # noqa: F401

    rows = []
    for collector, names in REGISTRY._collector_to_names.items():  # noqa: SLF001 - no public way
        if isinstance(collector, MetricWrapperBase) and names:
            labels = ", ".join(f"`{label}`" for label in collector._labelnames)  # noqa: SLF001
            kind = type(collector).__name__.lower()
            [family] = collector.describe()
            name = f"{family.name}_total" if kind == "counter" else family.name
            rows.append(f"| `{name}` | {kind} | {labels or 'none'} | {family.documentation} |")
    header = [
        "# Metrics",
        "",
        "The API serves `api_*` and `store_*` at `GET /metrics`; a worker serves `worker_*` and",
        "`store_*` at `WORKER_METRICS_PORT`, if that is set. Both also serve Python's and the",
        "process' own. Written by `make generate` from the code.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*header, *sorted(rows)]) + "\n"


def peer_agent_page() -> str:
    """The graph as LangGraph draws it."""
    from app.agents.peer_agent import compile_graph

    lines = [
        "# The peer agent's graph",
        "",
        "Written by `make generate` from `app/agents/peer_agent.py`.",
        "",
        "```mermaid",
        compile_graph().get_graph().draw_mermaid().strip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def grouped_settings() -> Iterator[tuple[str, list[tuple[str, FieldInfo]]]]:
    """The settings in their order, by group."""
    from app.core.config import Settings

    groups: dict[str, list[tuple[str, FieldInfo]]] = {}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        group = str(extra["group"]) if isinstance(extra, dict) else "Other"
        groups.setdefault(group, []).append((name, field))
    yield from groups.items()


def as_variable(field: FieldInfo) -> str:
    """A default as one would write it in a ``.env`` file."""
    default = field.default
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return json.dumps(list(default))
    return str(default)


if __name__ == "__main__":
    sys.exit(main())
