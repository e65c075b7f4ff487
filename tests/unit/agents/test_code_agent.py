"""CodeAgent: from a structured answer to Markdown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.builtin.code import CodeAgent, GeneratedCode, normalise_language, render
from app.agents.spec import AgentOutput, AgentTask
from app.llm.offline import OfflineClient
from tests.support.steps import USAGE, RecordedEvents, SayingModel

TASK = AgentTask(task_id="t", session_id=None, text="Write a greeter\nEND")


async def run(answer: str, events: RecordedEvents | None = None) -> AgentOutput:
    agent = CodeAgent(llm=SayingModel(answer), model="coder")
    return await agent.run(TASK, events or RecordedEvents())


def generated(**values: str) -> str:
    return json.dumps({"language": "Python", "description": "Greets.", "code": "print(1)"} | values)


async def test_the_answer_is_laid_out_exactly_as_the_contract_says() -> None:
    output = await run(generated())
    assert output.content == ("### Description\n\nGreets.\n\n### Code\n\n```python\nprint(1)\n```")
    assert output.code_language == "python"
    assert output.summary == "Greets."
    assert output.usage == USAGE


async def test_an_answer_off_schema_is_shown_as_python_as_it_came() -> None:
    output = await run("print('hello')")
    assert output.code_language == "python"
    assert output.content.endswith("### Code\n\n```python\nprint('hello')\n```")


async def test_code_that_holds_fences_cannot_close_the_block() -> None:
    output = await run(generated(language="markdown", code="a\n````\nb\n````"))
    assert output.content.endswith("`````markdown\na\n````\nb\n````\n`````")


async def test_a_fence_put_around_the_code_is_taken_off() -> None:
    output = await run(generated(code="```python\n  x = 1\n```"))
    assert output.content.endswith("```python\n  x = 1\n```")
    assert output.content.count("```") == 2


async def test_what_is_streamed_is_exactly_the_result() -> None:
    events = RecordedEvents()
    output = await run(generated(code="\n".join(f"print({n})" for n in range(200))), events)
    assert events.text == output.content
    assert 1 < len(events.tokens) < 20


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("Python", "python"),
        ("py", "python"),
        ("JS", "javascript"),
        ("C++ 20", "cpp"),
        ("c#", "csharp"),
        ("Golang", "go"),
        ("Shell", "bash"),
        ("", "python"),
        ("```", "python"),
        ("brainfuck", "brainfuck"),
    ],
)
def test_languages_have_one_spelling(name: str, language: str) -> None:
    assert normalise_language(name) == language


@given(language=st.text(), code=st.text())
def test_whatever_the_code_is_it_stays_inside_its_block(language: str, code: str) -> None:
    name = normalise_language(language)
    markdown = render(GeneratedCode(language=language, description="d", code=code), name)
    opening, *inside, closing = markdown.split("### Code\n\n", 1)[1].split("\n")
    assert opening == f"{closing}{name}"
    assert set(closing) == {"`"}
    assert all(closing not in line for line in inside)


async def test_the_task_reaches_the_model_only_as_quoted_data() -> None:
    model = SayingModel(generated())
    await CodeAgent(llm=model, model="coder").run(TASK, RecordedEvents())
    system, user = model.requests[0].messages
    assert TASK.text not in system.content
    assert user.content.startswith("Do this coding task.\n\n<<<BEGIN task ")


async def test_offline_the_skeleton_says_what_it_is_and_is_valid_python() -> None:
    agent = CodeAgent(llm=OfflineClient(), model="coder")
    output = await agent.run(TASK, RecordedEvents())
    assert output.model == "offline"
    assert "Offline outline, made without a model" in output.content
    compile(output.content.split("```python\n")[1].removesuffix("\n```"), "outline", "exec")
