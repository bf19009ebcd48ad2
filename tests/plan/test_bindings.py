"""The binding language."""

from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InvalidReference
from planner.plan import Reference, Template, parse_reference, parse_text
from planner.plan.bindings import escape, has_bindings, references_in, show, texts, write_text


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("plain text", "plain text"),
        ("", ""),
        ("$ 5 {a} $", "$ 5 {a} $"),
        ("${user}", Reference("user")),
        ("${user.city}", Reference("user", ("city",))),
        ("${ user.city }", Reference("user", ("city",))),
        ("${s.items[0].name}", Reference("s", ("items", 0, "name"))),
        ("${s.items.0.name}", Reference("s", ("items", 0, "name"))),
        ("${s[ 2 ][1]}", Reference("s", (2, 1))),
        ("${load-table.größe}", Reference("load-table", ("größe",))),
        ('${user["first name"]}', Reference("user", ("first name",))),
        ("${user['first name']}", Reference("user", ("first name",))),
        ('${user["0"]}', Reference("user", ("0",))),
        ('${user["a]b"]}', Reference("user", ("a]b",))),
        ('${user["${x}"]}', Reference("user", ("${x}",))),
        (r'${user["say \"hi\" \\ \n"]}', Reference("user", ('say "hi" \\ \\n',))),
        (r"${user['it\'s']}", Reference("user", ("it's",))),
        ('${user[""]}', Reference("user", ("",))),
        ("${s.²}", Reference("s", ("²",))),
        ("${user.a.b.c}", Reference("user", ("a", "b", "c"))),
    ],
)
def test_a_text_is_plain_or_one_binding(text: str, parsed: str | Reference) -> None:
    """A25: keys keep their dots apart, odd keys are quoted, spaces around do not matter."""
    assert parsed == parse_text(text)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("Rain in ${item.name}!", Template(("Rain in ", Reference("item", ("name",)), "!"))),
        ("${a.x}${b.y}", Template((Reference("a", ("x",)), Reference("b", ("y",))))),
        (" ${a.x}", Template((" ", Reference("a", ("x",))))),
        ("$${a.x}", "${a.x}"),
        ("a $${ b $${", "a ${ b ${"),
        ("$$$${x}", "$${x}"),
        ("$$${a.x}", Template(("$", Reference("a", ("x",))))),
        ("$$$${a.x}", "$${a.x}"),
        ("$$ $ {", "$$ $ {"),
        ("$${a} ${b.c}", Template(("${a} ", Reference("b", ("c",))))),
    ],
)
def test_bindings_stand_in_text_and_are_escaped_by_a_dollar(text: str, parsed: str | Template) -> None:
    """A25: aethergraph had neither. Two dollars before a brace mean one."""
    assert parsed == parse_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${}",
        "${ }",
        "${.a}",
        "${1.a}",
        "${a",
        "${a.b",
        "${a.}",
        "${a..b}",
        "${a[b]}",
        "${a[-1]}",
        "${a[]}",
        "${a b}",
        "${a.b | upper}",
        "${a()}",
        "${a.b + 1}",
        '${a["b}',
        "text ${a. and more}",
        "${a[99999999999999999999]}",
        "${a.0x}",
        "${\x00}",
    ],
)
def test_what_only_looks_like_a_binding_is_an_error_that_shows_it(text: str) -> None:
    """Taking it literally would hide a slip; `$${` says that it is meant."""
    with pytest.raises(InvalidReference, match=r"literal") as refused:
        parse_text(text)

    assert repr(text)[1:5] in str(refused.value)


@pytest.mark.parametrize(
    "text", ["${user.__class__}", "${user.a.__dict__}", "${__import__}", "${s.__init__.__globals__}"]
)
def test_names_with_two_underscores_are_no_keys(text: str) -> None:
    """A binding never reaches an attribute, and does not look as if it could."""
    with pytest.raises(InvalidReference):
        parse_text(text)


def test_what_has_to_be_one_binding_is_nothing_else() -> None:
    """Not plain, not escaped, not inside text."""
    assert Reference("a", ("b",)) == parse_reference("  ${a.b}\n")
    for text in ("a.b", "$${a.b}", "x ${a.b}", "${a.b}${a.c}", "", "${a"):
        with pytest.raises(InvalidReference):
            parse_reference(text)


NESTED = {
    "list": ["plain", "${a.x}", {"deep": ("in ${b.y} and ${b.z}", 5, None)}],
    "key ${no.key}": "$${c.x}",
    "bad": "${",
}


def test_every_binding_is_found_with_its_place() -> None:
    """A4: in lists, objects and texts; keys are no values, and what is malformed is left to validation."""
    found = [(show(("inputs", *where)), str(reference)) for where, reference in references_in(NESTED)]

    assert [
        ("inputs.list[1]", "${a.x}"),
        ("inputs.list[2].deep[0]", "${b.y}"),
        ("inputs.list[2].deep[0]", "${b.z}"),
    ] == found
    assert has_bindings(NESTED)
    assert not has_bindings(["plain", {"${a.b}": 1}])


def test_texts_are_found_in_any_mapping_and_at_any_depth() -> None:
    """Without recursion, in the order in which they are written."""
    deep: Any = "${a.b}"
    for _ in range(5_000):
        deep = [deep]

    assert [Reference("a", ("b",))] == [reference for _, reference in references_in(deep)]
    assert [(("a",), "x"), (("b", 0), "y")] == list(texts(UserDict(a="x", b=["y"])))


REFERENCES = st.builds(
    Reference,
    st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,10}", fullmatch=True),
    st.lists(st.text() | st.integers(0, 999_999_999), max_size=4).map(tuple),
)


@given(REFERENCES)
def test_a_reference_reads_as_it_is_written(reference: Reference) -> None:
    """Whatever its keys are."""
    assert reference == parse_text(str(reference)) == parse_reference(str(reference))


@given(st.lists(st.text(alphabet="${}a ") | REFERENCES, min_size=1))
def test_text_and_bindings_read_as_they_were_put_together(parts: list[str | Reference]) -> None:
    """Whatever dollars and braces stand before a binding."""
    merged: list[str | Reference] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part:
            merged.append(part)
    parsed = parse_text(write_text(merged))

    assert tuple(merged or [""]) == (parsed.parts if isinstance(parsed, Template) else (parsed,))


@given(st.text())
def test_escaped_text_means_itself(text: str) -> None:
    """Also when it holds `${`, `$${` or single dollars."""
    assert text == parse_text(escape(text))


@given(st.text(alphabet="${}[]\"'\\.ab0²_- \n"))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No other error, and what is read can be written again."""
    try:
        parsed = parse_text(text)
    except InvalidReference:
        return
    if isinstance(parsed, Reference):
        assert parsed == parse_text(str(parsed))
