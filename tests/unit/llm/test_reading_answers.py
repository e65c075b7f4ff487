"""Answers from outside: JSON somewhere in a text, and hits that may not be pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from app.llm.openai_client import read_json_object
from app.llm.tools.tavily import Hit, usable_results


class Shape(BaseModel):
    name: str
    sides: int


TRIANGLE = Shape(name="triangle {3}", sides=3)
JSON = TRIANGLE.model_dump_json()


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        f"```json\n{JSON}\n```",
        f"Sure! Here it is: {JSON} Anything else?",
        f'{{"name": "not it"}} but {JSON}',
        f"Set notation {{1, 2}} first, then {JSON}",
        f"\n\n  {JSON}  \n",
    ],
)
def test_an_object_is_found_wherever_the_model_put_it(text: str) -> None:
    assert read_json_object(text, Shape) == TRIANGLE


@pytest.mark.parametrize(
    "text", ["", "triangle", "{", '{"name": "x"}', "[1, 2]", "{" * 9_000, '{"a":' * 9_000]
)
def test_where_there_is_none_nothing_is_made_up(text: str) -> None:
    assert read_json_object(text, Shape) is None


@given(st.text())
def test_no_text_breaks_the_search_for_an_object(text: str) -> None:
    assert read_json_object(text, Shape) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "ftp://a.example/",
        "http://",
        "//a.example",
        "https://a.example/ b",
        "https://a.example/>\n",
        "http://[bad",
        "https://a.example/" + "x" * 3000,
    ],
)
def test_what_is_no_web_address_is_dropped(url: str) -> None:
    assert usable_results([Hit(title="t", url=url, content="c")]) == []


def test_the_same_page_is_listed_once_and_first_come_first() -> None:
    hits = [
        Hit(title="A", url="https://A.example/x/", content="first"),
        Hit(title="B", url="http://a.example/x#part", content="second"),
        Hit(title="C", url="https://a.example/y", content="third"),
    ]
    assert [result.title for result in usable_results(hits)] == ["A", "C"]


def test_titles_and_snippets_are_single_lines_and_a_title_is_never_empty() -> None:
    [result] = usable_results([Hit(title=" \n", url="https://a.example/", content="a\n\n b\tc")])
    assert (result.title, result.snippet) == ("https://a.example/", "a b c")
