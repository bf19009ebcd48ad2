"""Sections are level-2 headings that stand on their own."""

import pytest

from skills.sections import MOST_PARSED, Block, Sections


def test_a_section_is_a_level_2_heading_and_what_follows_it() -> None:
    sections = Sections("# Title\n\nIntro.\n\n## chat.System\nSay.\n\n### Deeper\nMore.\n\n## Two Words\nText.\n")

    assert dict(sections) == {
        "body": "# Title\n\nIntro.",
        "chat.System": "Say.\n\n### Deeper\nMore.",
        "two_words": "Text.",
    }


def test_headings_that_occur_twice_make_one_section_and_empty_ones_none() -> None:
    sections = Sections("## A\none\n## B\n\n## A\ntwo\n## Body\nthree\n")

    assert dict(sections) == {"a": "one\n\ntwo", "body": "three"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("```\n## no\n```", id="backticks"),
        pytest.param("~~~ text\n## no\n```\n## no\n~~~", id="tildes"),
        pytest.param("````\n```\n## no\n````", id="longer fence"),
        pytest.param("```\n## no", id="fence that is not closed"),
        pytest.param("a\n\n    ## no", id="indented code"),
        pytest.param("<!--\n## no\n-->", id="remark"),
        pytest.param("<pre>\n\n## no\n</pre>", id="html"),
        pytest.param("- a\n\n  ## no", id="list"),
        pytest.param("1. ```\n   ## no\n   ```", id="code in a list"),
        pytest.param("> ## no", id="quotation"),
        pytest.param("##no", id="no space"),
        pytest.param("\\## no", id="escaped"),
        pytest.param("no\n---", id="underlined"),
        pytest.param("##", id="without a title"),
    ],
)
def test_what_looks_like_a_heading_elsewhere_begins_no_section(text: str) -> None:
    assert dict(Sections(f"Intro.\n\n{text}\n")) == {"body": f"Intro.\n\n{text}"}


def test_a_heading_after_a_code_block_begins_a_section() -> None:
    sections = Sections("```\n## no\n```\n  ## Yes ##\ntext")

    assert dict(sections) == {"body": "```\n## no\n```", "yes": "text"}


def test_a_section_can_be_cut_out_with_its_heading() -> None:
    assert Sections("a\n\n## B\nb\n\n## C\nc\n\n## B\nd").without("b") == "a\n\n## C\nc"


def test_code_blocks_of_a_section_come_with_their_lines_in_the_file() -> None:
    text = "## Other\n```json\n0\n```\n## Here\n\n```json\n{\n}\n```\n```python\n1\n```\n- ``` JSON\n  2\n  ```\n"

    found = Sections(text, first_line=11)

    assert found.blocks("here") == [Block("json", "{\n}\n", 18), Block("python", "1\n", 22), Block("json", "2\n", 25)]
    assert (found.line("other"), found.line("here")) == (11, 15)


def test_code_blocks_are_looked_for_in_the_beginning_of_a_long_section_wherever_its_parts_are() -> None:
    """Each part of a text takes its time to read, and anybody may write a long one."""
    part = "## here\n\n```json\n1\n```\n" + "x\n" * 30_000

    assert len(Sections(part * 5).blocks("here")) == 2


def test_a_long_text_is_read_line_by_line() -> None:
    text = "intro\n```\n## no\n```\n~~~~\n## no\n~~~\n## no\n~~~~\n## Yes\n" + "- a\n" * (MOST_PARSED // 4)

    assert list(Sections(text)) == ["body", "yes"]


@pytest.mark.parametrize("piece", [">", "[", "- ", "`", "## a\n", "* a\n", "<!--\n", "\n"])
def test_a_text_that_is_made_to_be_slow_is_read_all_the_same(piece: str) -> None:
    assert len(Sections(piece * (1_000_000 // len(piece)))) <= 1
