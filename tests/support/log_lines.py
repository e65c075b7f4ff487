"""What a process of ours writes to its log."""

import io
import json
from typing import Any


class LogLines(io.StringIO):
    """Stands in for the standard output while the process in question starts."""

    def lines(self, **fields: object) -> list[dict[str, Any]]:
        """The lines so far that have these fields; every line must be a JSON object."""
        parsed = [json.loads(line) for line in self.getvalue().splitlines()]
        return [line for line in parsed if fields.items() <= line.items()]
