"""Front matter is data from anybody: bounded, and as it is written."""

from typing import Any

import pytest
import yaml

from skills import front_matter
from skills.front_matter import BadFrontMatter, parse, plain, split


@pytest.fixture(params=[yaml.SafeLoader, front_matter._Loader], ids=["python", "libyaml"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loaders of PyYAML, since some builds have only the slow one."""
    monkeypatch.setattr(front_matter, "_Loader", request.param)


def values(text: str) -> dict[str, Any]:
    return {key: plain(node) for key, node in parse(text).fields.items()}


def test_the_front_matter_is_what_stands_between_the_first_line_and_the_next_such_line() -> None:
    assert split("---\nname: a---b\n---  \nbody\n---\nmore") == ("name: a---b", "body\n---\nmore", 4)


@pytest.mark.parametrize("text", ["", "name: a", "\n---\nname: a\n---", "---\nname: a\n", "---\nname: a\n ---\n"])
def test_a_text_without_whole_front_matter_has_none(text: str) -> None:
    with pytest.raises(BadFrontMatter, match="front matter"):
        split(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("1.5", 1.5),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("'7'", "7"),
        ("[1, a]", [1, "a"]),
        ("{a: 1}", {"a": 1}),
        ("2026-01-02", "2026-01-02"),
        ("1:30", "1:30"),
        ("0x1F", "0x1F"),
        (".inf", ".inf"),
        ("9" * 5_000, "9" * 5_000),
    ],
)
def test_what_is_not_known_becomes_plain_json_and_the_rest_stays_text(text: str, value: object) -> None:
    assert values(f"key: {text}") == {"key": value}


def test_the_line_of_each_key_is_that_of_the_file() -> None:
    read = parse("name: a\n# note\nmetadata:\n  version: 1.10\nlast: b")

    assert read.lines == {("name",): 2, ("metadata",): 4, ("metadata", "version"): 5, ("last",): 6}


def test_a_key_that_is_there_twice_is_noted_and_the_last_one_counts() -> None:
    read = parse("name: a\nname: b")

    assert plain(read.fields) == {"name": "b"}
    assert [(note.line, note.lenient) for note in read.notes] == [(3, True)]


BOMB = "a: &a [x, x]\n" + "\n".join(f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(BOMB, "anchors and aliases", id="a bomb"),
        pytest.param("a: &a\n  b: *a", "anchors and aliases", id="itself"),
        pytest.param("a: *nobody", "anchors and aliases", id="nobody"),
        pytest.param("a: !!python/object/apply:os.system [ls]", "tag .* is not read", id="code"),
        pytest.param("a: !thing b", "tag '!thing' is not read", id="tag"),
        pytest.param("? [a]\n: b", "a key has to be text", id="list as key"),
        pytest.param("a: " + "[" * 60_000, "nested more than 20", id="brackets"),
        pytest.param("".join("  " * depth + "a:\n" for depth in range(100)), "nested more than 20", id="indented"),
        pytest.param("a:\n" + "- b\n" * 12_000, "more than 10,000 parts", id="many"),
        pytest.param("a: " + "b" * 70_000, "longer than 64,000", id="long"),
        pytest.param("- a", "is a list", id="list"),
        pytest.param("text", "is a text", id="text"),
        pytest.param("# only a remark", "is empty", id="empty"),
        pytest.param("a: b\n...\n---\nc: d", "second document", id="two documents"),
        pytest.param("a: 'b", "not YAML", id="open quote"),
        pytest.param("a: b\n  c: d", "not YAML", id="indented"),
        pytest.param("a: 'b' : c", "not YAML", id="colon behind quotes"),
        pytest.param("a: b: c\n" * 6, "has to stand in quotes", id="very many colons"),
        pytest.param("a: \x01", "not YAML", id="control"),
        pytest.param('a: "\\UFFFFFFFF"', "not YAML", id="no character"),
        pytest.param('a: "\\ud800"', "not YAML|surrogate", id="half a character"),
    ],
)
def test_what_cannot_be_read_safely_is_refused_with_a_line(text: str, message: str) -> None:
    with pytest.raises(BadFrontMatter, match=message) as refused:
        parse(text)

    assert refused.value.line is not None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a: Use when: it rains", {"a": "Use when: it rains"}),
        ("a: it's: so\nb: c", {"a": "it's: so", "b": "c"}),
        ("a: b: c\n  goes on\n   and on\nd: e: f", {"a": "b: c goes on and on", "d": "e: f"}),
        ("m:\n  v: b: c\n  w: x", {"m": {"v": "b: c", "w": "x"}}),
        ("a: ends:\nb: c", {"a": "ends:", "b": "c"}),
    ],
    ids=["one", "with a quote", "over lines", "further in", "at the end"],
)
def test_a_colon_in_a_plain_text_is_read_and_noted(text: str, read: object) -> None:
    """The most common fault of the skills that there are."""
    found = parse(text)

    assert plain(found.fields) == read
    assert {(note.message, note.lenient) for note in found.notes} == {(front_matter.COLON, True)}
    with pytest.raises(BadFrontMatter, match="has to stand in quotes"):
        parse(text, strict=True)


def test_an_error_of_yaml_has_the_line_of_the_file() -> None:
    with pytest.raises(BadFrontMatter) as refused:
        parse("a: b\nc: d\ne: 'f: g: h\n")

    assert refused.value.line in {4, 5}


def test_line_separators_of_unicode_end_no_line() -> None:
    assert values("a: b\u2028c\x85d\ne: f") == {"a": "b c d", "e": "f"}
