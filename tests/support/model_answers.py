"""What the scripted model says when its script says nothing: plausible, and always the same."""

import json
import re

_QUOTED_TASK = re.compile(r"<<<BEGIN task (\w+)\n(.*?)\nEND task \1>>>", re.DOTALL)
_PIECE = re.compile(r"\s*\S+")
_CODE_WORDS = re.compile(
    r"\b(code|function|script|program|class|sql|python|java|javascript|bug|kod\w*|fonksiyon\w*"
    r"|betik|sınıf\w*)\b",
    re.IGNORECASE,
)
_GREETING = re.compile(r"^\W*(hello|hi|hey|merhaba|selam)\W*$", re.IGNORECASE)


def task_of(prompt: str) -> str:
    """The task that a prompt quotes, or the whole prompt."""
    match = _QUOTED_TASK.search(prompt)
    return match[2] if match else prompt


def pieces_of(text: str) -> list[str]:
    """The text as a model streams it, about a word at a time."""
    pieces = _PIECE.findall(text)
    return [*pieces, text[len("".join(pieces)) :]] if text.strip() else []


def answer_json(schema: str, prompt: str) -> str:
    """An answer for one of the project's schemas, by name."""
    task = task_of(prompt)
    match schema:
        case "TaskClassification":
            return json.dumps(_classification(task))
        case "SearchQuery":
            return json.dumps({"query": " ".join(task.split()[:12])})
        case "GeneratedCode":
            return json.dumps(_code(task))
        case _:
            return "{}"


def article(prompt: str) -> str:
    """A short article about whatever the task says."""
    title = " ".join(task_of(prompt).split())[:80]
    return (
        f"# {title}\n\nThis text answers the task given and was made by a scripted model.\n\n"
        "## Background\n\nThe subject has a history, and the sources describe it [1].\n\n"
        "## Main points\n\n- First, what it is.\n- Second, why it matters.\n\n"
        "## Conclusion\n\nThere is more to say than fits here.\n"
    )


def search_results(query: str) -> dict[str, object]:
    """Tavily's answer, with two pages about the query."""
    return {
        "query": query,
        "results": [
            {
                "title": f"{query} - part {number}",
                "url": f"https://example.com/{number}",
                "content": f"What page {number} says about {query}.",
                "score": 1 - number / 10,
            }
            for number in (1, 2)
        ],
        "response_time": 0.01,
    }


def _classification(task: str) -> dict[str, object]:
    if _GREETING.match(task):
        name, kind, confidence = "Unknown", "unknown", 0.95
    elif _CODE_WORDS.search(task):
        name, kind, confidence = "CodeAgent", "code", 0.97
    else:
        name, kind, confidence = "ContentAgent", "content", 0.96
    return {
        "agent_name": name,
        "agent_type": kind,
        "confidence": confidence,
        "reasoning": "The scripted model goes by a few words of the task.",
    }


def _code(task: str) -> dict[str, str]:
    words = " ".join(task.split())[:80]
    return {
        "language": "python",
        "description": f"Prints the task: {words}",
        "code": f"def main() -> None:\n    print({words!r})\n\n\nmain()",
    }
