"""The router used offline, measured on prompts it has never seen."""

import statistics
from collections.abc import Sequence

import pytest

from app.agents import unknown_examples
from app.agents.local_router import LocalRouter, fold
from app.agents.registry import BUILTIN_AGENTS
from app.agents.routing import TaskClassification, choose_agent
from app.core.errors import UnknownTaskTypeError
from tests.unit.agents import routing_prompts_development as development
from tests.unit.agents import routing_prompts_held_out as held_out

MIN_CONFIDENCE = 0.6
LABELLED: tuple[tuple[str, Sequence[str]], ...] = (
    ("ContentAgent", held_out.CONTENT),
    ("CodeAgent", held_out.CODE),
    ("refused", held_out.UNKNOWN),
)


@pytest.fixture(scope="module")
def router() -> LocalRouter:
    return LocalRouter(BUILTIN_AGENTS)


async def classify(router: LocalRouter, text: str) -> TaskClassification:
    decision = await router.classify(text)
    assert (decision.router, decision.model, decision.usage.total) == ("local", "offline", 0)
    return decision.classification


async def outcome(router: LocalRouter, text: str) -> str:
    classification = await classify(router, text)
    try:
        return choose_agent(classification, BUILTIN_AGENTS, MIN_CONFIDENCE).name
    except UnknownTaskTypeError:
        return "refused"


async def test_at_least_92_percent_of_unseen_prompts_end_where_they_should(
    router: LocalRouter,
) -> None:
    right = [
        await outcome(router, text) == expected for expected, texts in LABELLED for text in texts
    ]
    assert statistics.mean(right) >= 0.92


@pytest.mark.parametrize(("expected", "texts"), LABELLED)
async def test_at_least_90_percent_of_each_kind_end_where_they_should(
    router: LocalRouter, expected: str, texts: Sequence[str]
) -> None:
    assert statistics.mean([await outcome(router, text) == expected for text in texts]) >= 0.9


async def test_confidence_means_what_it_says(router: LocalRouter) -> None:
    """Of the choices made with 90 % confidence or more, at least 90 % are right."""
    sure = [
        expected in (classification.agent_name, "refused")
        for expected, texts in LABELLED
        for text in texts
        if (classification := await classify(router, text)).confidence >= 0.9
        and classification.agent_name != "Unknown"
    ]
    assert len(sure) > 40
    assert statistics.mean(sure) >= 0.9


@pytest.mark.parametrize(
    ("text", "agent_name"),
    [
        ("Python ile bir dosyayı okuyup yazan kod yaz", "CodeAgent"),
        ("Write a blog article about the history of the bicycle", "ContentAgent"),
    ],
)
async def test_the_contract_s_own_prompts_are_routed(
    router: LocalRouter, text: str, agent_name: str
) -> None:
    classification = await classify(router, text)
    assert classification.agent_name == agent_name
    assert classification.confidence >= MIN_CONFIDENCE


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "?", "🙂", "\x00", "\ud800", "あいう", "x" * 40_000]
)
async def test_whatever_is_no_task_is_refused_and_breaks_nothing(
    router: LocalRouter, text: str
) -> None:
    assert await outcome(router, text) == "refused"


@pytest.mark.parametrize(
    ("text", "same"), [("İŞLEV YAZ", "islev yaz"), ("IŞIK", "isik"), ("ığdır", "IGDIR")]
)
def test_case_and_turkish_letters_make_no_difference(text: str, same: str) -> None:
    assert fold(text) == fold(same)


def test_no_measured_prompt_is_among_the_examples() -> None:
    learned = {fold(text) for spec in BUILTIN_AGENTS for text in spec.examples}
    learned |= {fold(text) for text in unknown_examples.EXAMPLES}
    learned |= {fold(text) for text in development.CONTENT + development.CODE + development.UNKNOWN}
    assert not learned & {fold(text) for _, texts in LABELLED for text in texts}


def test_no_text_is_an_example_of_two_agents() -> None:
    texts = [fold(text) for spec in BUILTIN_AGENTS for text in spec.examples]
    texts += [fold(text) for text in unknown_examples.EXAMPLES]
    assert len(texts) == len(set(texts))


def test_the_time_of_a_decision_is_bounded_whatever_the_length_of_the_text(
    router: LocalRouter,
) -> None:
    # benchmarks are for seconds; here it is enough that the rest of a long text is not looked at.
    beginning = "kod yaz " * 50
    assert router.scores(beginning + "makale yaz " * 3_000) == router.scores(beginning)
