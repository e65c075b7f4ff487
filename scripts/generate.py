"""Write the files that come from the code, or with ``--check`` fail where one is stale.

``docs/openapi.json``, ``.env.example`` and ``docs/configuration.md``.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

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
