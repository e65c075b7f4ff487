"""CodeAgent: writes a piece of software and explains it in short."""

import re

from pydantic import BaseModel, Field

from app.agents.builtin.code_examples import EXAMPLES
from app.agents.markdown import fenced, first_paragraph, pieces, plain_line
from app.agents.quoting import QUOTING_RULE, quote
from app.agents.spec import Agent, AgentDependencies, AgentOutput, AgentSpec, AgentTask, EventSink
from app.core.logging import get_logger
from app.llm.client import ChatMessage, ChatRequest, LLMClient

DEFAULT_LANGUAGE = "python"
_PIECE_CHARACTERS = 240
_LANGUAGE = re.compile(r"[a-z0-9][a-z0-9+#._-]{0,29}")
_WHOLE_FENCE = re.compile(r"\s*(`{3,}|~{3,})([^\n`]*)\n(.*?)\n?\1\s*", re.DOTALL)
_ALIASES = {
    "py": "python",
    "python3": "python",
    "js": "javascript",
    "node": "javascript",
    "nodejs": "javascript",
    "node.js": "javascript",
    "ts": "typescript",
    "c++": "cpp",
    "cplusplus": "cpp",
    "c#": "csharp",
    "cs": "csharp",
    "f#": "fsharp",
    "golang": "go",
    "rs": "rust",
    "rb": "ruby",
    "kt": "kotlin",
    "sh": "bash",
    "shell": "bash",
    "zsh": "bash",
    "ps1": "powershell",
    "yml": "yaml",
    "postgresql": "sql",
    "mysql": "sql",
    "sqlite": "sql",
    "docker": "dockerfile",
    "htm": "html",
    "objective-c": "objectivec",
}

_CODER_PROMPT = f"""\
You are a senior backend engineer. You write software that could go into production: input is
validated, errors are handled, comments say why, names say what.

Answer with one JSON object and nothing else:
{{"language": ..., "description": ..., "code": ...}}
- language: the programming language the task asks for or implies, in lower case; python where
  neither says.
- description: what the code does, how to run it, and what to watch out for, in two to five
  sentences of Markdown, in the language of the task.
- code: the raw code, complete and runnable, without code fences.

{QUOTING_RULE}"""

_log = get_logger(__name__)


class GeneratedCode(BaseModel):
    """The model's structured answer."""

    language: str = Field(description="Programming language, in lower case")
    description: str = Field(description="What the code does, in a few sentences")
    code: str = Field(description="The raw code, without fences")


class CodeAgent:
    """Asks the model for language, description and code, and lays them out as Markdown."""

    def __init__(self, *, llm: LLMClient, model: str) -> None:
        self._llm = llm
        self._model = model

    async def run(self, task: AgentTask, events: EventSink) -> AgentOutput:
        """Write the code. Raises an ``LLMError`` where the model fails."""
        answer = await self._llm.parse(
            ChatRequest(
                model=self._model,
                messages=[
                    ChatMessage("system", _CODER_PROMPT),
                    ChatMessage("user", f"Do this coding task.\n\n{quote('task', task.text)}"),
                ],
            ),
            GeneratedCode,
            outline=offline_outline(task.text),
        )
        if answer.parsed is None:
            _log.warning("code_answer_off_schema", model=answer.model)
        generated = answer.parsed or unstructured(answer.text)
        language = normalise_language(generated.language)
        content = render(generated, language)
        # Nothing of a JSON answer can be shown before it is whole; then it goes out in pieces.
        for piece in pieces(content, _PIECE_CHARACTERS):
            await events.token(piece)
        return AgentOutput(
            content=content,
            summary=plain_line(first_paragraph(generated.description)),
            model=answer.model,
            code_language=language,
            usage=answer.usage,
        )


def normalise_language(name: str) -> str:
    """The name as code blocks spell it: ``"C++ 20"`` is ``cpp``; what is no name is Python."""
    words = name.casefold().split()
    if not words:
        return DEFAULT_LANGUAGE
    language = _ALIASES.get(words[0], words[0])
    return language if _LANGUAGE.fullmatch(language) else DEFAULT_LANGUAGE


def render(generated: GeneratedCode, language: str) -> str:
    """The final Markdown: a description, then the code in one block."""
    description = generated.description.strip() or "No description was given."
    return (
        f"### Description\n\n{description}\n\n### Code\n\n{fenced(_bare(generated.code), language)}"
    )


def unstructured(text: str) -> GeneratedCode:
    """What to make of an answer that is not in the format asked for: Python, as it came."""
    return GeneratedCode(
        language=DEFAULT_LANGUAGE,
        description="The model's answer was not in the expected format; it is shown as it came.",
        code=text,
    )


def offline_outline(text: str) -> GeneratedCode:
    """What can truthfully be given for a coding task without a model: a labelled skeleton."""
    task = "\n".join(f"#   {line}".rstrip() for line in text.splitlines())
    return GeneratedCode(
        language=DEFAULT_LANGUAGE,
        description=(
            "**Offline outline, made without a model.** It is a skeleton to start from and solves "
            "nothing yet. Set `OPENAI_API_KEY` or `OPENAI_BASE_URL` to have the code written."
        ),
        code=f"""\
# The task:
{task}


def main() -> None:
    # 1. Read and validate the input; say what is wrong with it in one clear line.
    # 2. Do the work in functions from values to values, without input or output.
    # 3. Write the result, and handle the errors of files and networks here.
    raise NotImplementedError("offline outline: no model wrote this program")


if __name__ == "__main__":
    main()""",
    )


def _bare(code: str) -> str:
    """``code`` without the fence that models put around it against the instructions."""
    whole = _WHOLE_FENCE.fullmatch(code)
    return (whole[3] if whole else code).strip("\n").rstrip()


def _build(dependencies: AgentDependencies) -> Agent:
    return CodeAgent(llm=dependencies.llm, model=dependencies.settings.llm_code_model)


SPEC = AgentSpec(
    name="CodeAgent",
    type="code",
    description=(
        "Writes, fixes, reviews and converts software: programs, functions, scripts, queries, "
        "tests and configuration, in any programming language, with a short description."
    ),
    examples=EXAMPLES,
    build=_build,
)
