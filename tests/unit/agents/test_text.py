"""Quoting, Markdown pieces and the filter of invented references, by property."""

from hypothesis import given
from hypothesis import strategies as st

from app.agents.markdown import SUMMARY_CHARACTERS, pieces, plain_line
from app.agents.quoting import quote
from app.agents.references import ReferencesFilter

LINES = st.lists(
    st.sampled_from(
        [
            "# A",
            "## References",
            "References:",
            "Ref",
            "text",
            "",
            "```",
            "## B",
            "- x",
            "Kaynaklar",
        ]
    )
).map("\n".join)


@given(st.text())
def test_a_quoted_text_cannot_hold_its_own_closing_line(text: str) -> None:
    quoted = quote("task", text)
    closing = quoted.rpartition("\n")[2]
    assert quoted.count(closing) == 1
    assert text in quoted


@given(st.text())
def test_the_same_text_is_quoted_the_same_way_every_time(text: str) -> None:
    assert quote("task", text) == quote("task", text)


@given(LINES, st.lists(st.integers(1, 9)))
def test_the_filter_does_not_care_how_the_text_is_cut_into_pieces(
    text: str, sizes: list[int]
) -> None:
    whole = ReferencesFilter()
    expected = whole.feed(text) + whole.finish()

    cut, shown, rest = ReferencesFilter(), "", text
    for size in sizes:
        shown += cut.feed(rest[:size])
        rest = rest[size:]
    assert shown + cut.feed(rest) + cut.finish() == expected


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r")))
def test_text_without_such_a_heading_passes_whole(text: str) -> None:
    body = "".join(character for character in text if character not in "rRsSbBwWfFcCkK")
    passing = ReferencesFilter()
    assert passing.feed(body) + passing.finish() == body


@given(st.text(), st.integers(1, 50))
def test_pieces_add_up_to_the_text(text: str, size: int) -> None:
    assert "".join(pieces(text, size)) == text


@given(st.text())
def test_a_summary_is_one_short_line(text: str) -> None:
    summary = plain_line(text)
    assert len(summary) <= SUMMARY_CHARACTERS
    assert len(summary.splitlines()) <= 1


def test_a_summary_has_no_markdown_marks() -> None:
    assert plain_line("## **Bees** fly to [home](https://x.example) with `snake_case`") == (
        "Bees fly to home with snake_case"
    )


def test_a_long_summary_is_cut_between_two_words() -> None:
    summary = plain_line("word " * 100)
    assert summary == "word " * 38 + "word…"
