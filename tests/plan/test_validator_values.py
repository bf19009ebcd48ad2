"""Whether what stands in a plan fits where it stands: literals, bindings, mixtures, `for_each` and `when`."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field

from planner.catalog import ActionCatalog, ActionSpec, Slot
from tests.support.validation import checked, faults, step

LOAD = step("t", "load", path="a.csv")
GROUP = {"name": "x", "size": 1}


def even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


class Point(BaseModel):
    x: int
    y: float = 0


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        (int, 3, True),
        (int, "3", False),
        (int, 3.0, False),
        (int, True, False),
        (int, None, False),
        (int | None, None, True),
        (float, 3, True),
        (float, "3", False),
        (str, 3, False),
        (bool, "true", False),
        (list[int], [1, 2], True),
        (list[int], (1, 2), True),
        (list[int], 1, False),
        (dict[str, int], {"a": 1}, True),
        (dict[str, int], {"a": "1"}, False),
        (dict[int, str], {"1": "a"}, True),
        (dict[int, str], {"one": "a"}, False),
        (date, "2026-05-01", True),
        (date, "first of May", False),
        (date, date(2026, 5, 1), True),
        (datetime, "2026-05-01T10:00:00", True),
        (datetime, "2026-05-01T10:00:00+02:00", True),
        (datetime, datetime(2026, 5, 1, tzinfo=UTC), True),
        (datetime, "soon", False),
        (Decimal, "1.5", True),
        (Point, {"x": 1}, True),
        (Point, {"y": 1}, False),
        (Point, {"x": 1, "z": 2}, True),
        (Annotated[int, Field(ge=3)], 2, False),
        (Annotated[str, Field(pattern="^a")], "b", False),
        (Annotated[int, AfterValidator(even)], 3, False),
        (Annotated[int, AfterValidator(even)], 2, True),
        (Any, object, True),
    ],
)
def test_a_literal_is_checked_as_the_action_will_take_it(annotation: Any, value: object, *, fits: bool) -> None:
    """A7: by the parameter's own type, so that what passes is not refused when it runs, nor the other way round."""

    def act(given): ...

    act.__annotations__ = {"given": annotation}

    found = faults(step("a", "act", given=value), catalog=ActionCatalog([act]))

    assert ([] if fits else [("invalid_literal", "a")]) == [(kind, where) for kind, where, _ in found]


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        ({"type": "integer"}, 3, []),
        ({"type": "integer"}, "3", ["given"]),
        ({"type": "array", "items": {"type": "integer"}}, [1, "2", 3, "4"], ["given[1]", "given[3]"]),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
            {"a": 1},
            ["given", "given.a"],
        ),
        ({"type": "array", "items": {"type": "integer"}}, ["x"] * 50, [f"given[{at}]" for at in range(5)]),
        ({"type": "string", "format": "date"}, date(2026, 5, 1), []),
        ({}, {"anything": [None]}, []),
    ],
)
def test_a_literal_is_checked_against_a_whole_schema(schema: dict[str, Any], value: object, found: list[str]) -> None:
    """Where there is no Python type, each wrong part at its own place; the first five are enough."""
    spec = ActionSpec("act", "action:act@1", "action", "1", (Slot("given", schema),), ())

    assert found == sorted(
        field for _, _, field in faults(step("a", "act", given=value), catalog=ActionCatalog([spec]))
    )


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ({"group": "${t.groups[0]}"}, []),
        ({"group": {"name": "${t.groups[0].name}", "size": 3}}, []),
        ({"group": {"name": "${t.total}", "size": 3}}, [("type_mismatch", "group.name")]),
        ({"group": {"name": "about ${t.total}", "size": 3}}, []),
        ({"group": {"name": "${t.groups[0].name}", "size": "3"}}, [("invalid_literal", "group.size")]),
        ({"group": {"name": "${t.groups[0].name}"}}, [("type_mismatch", "group")]),
        ({"group": ["${t.total}"]}, [("type_mismatch", "group")]),
        ({"group": "${t.groups}"}, [("type_mismatch", "group")]),
        ({"group": "text ${t.total}"}, [("type_mismatch", "group")]),
        ({"group": GROUP, "title": "${t.total}"}, [("type_mismatch", "title")]),
        ({"group": GROUP, "title": "${t.total} €"}, []),
        ({"group": GROUP, "title": "$${t.total}"}, []),
        ({"group": GROUP, "title": {"a": "${t.total}"}}, [("type_mismatch", "title")]),
    ],
)
def test_bindings_are_compared_by_type_along_their_whole_path(inputs: dict[str, Any], found: list[Any]) -> None:
    """Also inside objects and texts; a text with a binding in it is a text."""
    assert [(kind, "p", field) for kind, field in found] == faults(LOAD, step("p", "plot", **inputs))


def test_what_a_type_does_not_tell_is_left_to_the_run() -> None:
    """`Any` may be anything, a number may be whole, and rows may have any column."""
    unknown = step("u", value=1)

    assert [] == faults(
        LOAD,
        unknown,
        step("a", "load", path="${u}"),
        step("b", "plot", group={"name": "${u.result.name[3]}", "size": "${t.total}"}),
        step("c", "scale", value="${t.rows[0].rain}"),
    )


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"for_each": "${t.groups}", "group": "${item}"}, []),
        ({"for_each": "${t.groups}", "group": GROUP, "title": "${item.name}"}, []),
        ({"for_each": "${t.groups}", "group": "${item.size}"}, [("type_mismatch", "group")]),
        ({"for_each": "${t.groups}", "group": "${item}", "title": "${item.colour}"}, [("unknown_output", "title")]),
        ({"for_each": ["a", "b"], "group": "${item}"}, []),
        ({"for_each": ("a",), "group": "${item}"}, []),
        ({"for_each": [], "group": "${item}"}, []),
        ({"for_each": "${user.groups}", "group": "${item}"}, []),
        ({"for_each": "${t.total}", "group": "${item}"}, [("type_mismatch", "for_each")]),
        ({"for_each": "groups", "group": "${item}"}, [("invalid_literal", "for_each")]),
        ({"for_each": "the ${t.groups}", "group": "${item}"}, [("type_mismatch", "for_each")]),
        ({"for_each": {"a": 1}, "group": "${item}"}, [("invalid_literal", "for_each")]),
        ({"for_each": 3, "group": "${item}"}, [("invalid_literal", "for_each")]),
        ({"for_each": "${item.groups}", "group": "${item}"}, [("unknown_step", "for_each")]),
        ({"for_each": "${", "group": "${item}"}, [("invalid_literal", "for_each")]),
    ],
)
def test_for_each_takes_a_list_and_gives_its_items(fields: dict[str, Any], found: list[Any]) -> None:
    """`${item}` has the type of what is in the list, and stands only inside the step."""
    steps = [LOAD, step("p", "plot", **fields)]

    assert [(kind, "p", field) for kind, field in found] == faults(*steps, user_inputs={"groups": [GROUP]})


@pytest.mark.parametrize(
    ("binding", "found"),
    [
        ("${p}", []),
        ("${p.result}", []),
        ("${p.result[0]}", [("type_mismatch", "c", "items")]),
        ("${p[0]}", [("type_mismatch", "c", "items")]),
        ("${p.name}", [("unknown_output", "c", "items")]),
    ],
)
def test_the_outputs_of_a_mapped_step_are_lists(binding: str, found: list[Any]) -> None:
    """So is its whole value."""
    mapped = step("p", "plot", for_each="${t.groups}", group="${item}")

    assert found == faults(LOAD, mapped, step("c", "count", items=binding))


def test_a_field_of_a_mapped_record_is_a_list_of_that_field() -> None:
    """One entry for each item."""
    mapped = step("m", "load", for_each=["a", "b"], path="${item}")

    assert [] == faults(mapped, step("c", value="${m.total[1]} ${m.groups[0][0].name}"))
    assert [("type_mismatch", "c", "value")] == faults(mapped, step("c", "scale", value="${m.total}"))


@pytest.mark.parametrize(
    ("when", "found"),
    [
        ({"ref": "${t.total}"}, []),
        ({"ref": "${t.total}", "op": "gt", "value": 3}, []),
        ({"ref": "${t.total}", "op": "gt", "value": "${t.total}"}, []),
        ({"ref": "${t.total}", "op": "gt"}, [("invalid_literal", "when.value")]),
        ({"ref": "${t.total}", "op": "gt", "value": [3]}, [("invalid_literal", "when.value")]),
        ({"ref": "${t.groups}", "op": "gt", "value": 3}, [("type_mismatch", "when.ref")]),
        ({"ref": "${t.total}", "op": "in", "value": [1, "${t.total}"]}, []),
        ({"ref": "${t.total}", "op": "in", "value": 3}, [("invalid_literal", "when.value")]),
        ({"ref": "${t.total}", "op": "eq", "value": {"any": "thing"}}, []),
        ({"ref": "${t.nothing}"}, [("unknown_output", "when.ref")]),
        ({"ref": "t.total"}, [("invalid_literal", "when.ref")]),
        ({"ref": "total: ${t.total}"}, [("invalid_literal", "when.ref")]),
        ({"ref": "${t.total"}, [("invalid_literal", "when.ref")]),
        ({"ref": "${t.total}", "op": "eq", "value": "${t.nothing}"}, [("unknown_output", "when.value")]),
        ({"ref": "t", "op": "lt", "value": None}, [("invalid_literal", "when.ref"), ("invalid_literal", "when.value")]),
    ],
)
def test_when_compares_one_binding_with_a_value(when: dict[str, Any], found: list[Any]) -> None:
    """What can never be compared is found before the plan runs."""
    assert [(kind, "a", field) for kind, field in found] == faults(LOAD, step("a", value=1, when=when))


def test_whether_a_key_exists_can_be_asked_without_giving_it() -> None:
    """That is what `exists` is for; any other comparison needs the value."""

    def missing(op: str) -> dict[str, list[str]]:
        when = {"ref": "${user.city}", "op": op, "value": "Oslo"}
        return checked(step("a", value=1, when=when)).missing_user_bindings

    assert {} == missing("exists")
    assert {"city": ["a.when.ref"]} == missing("eq")


def test_a_value_with_a_codec_fits_only_its_own_kind() -> None:
    """Neither text nor an object can be given for it, and nothing below it can be bound."""

    class Frame: ...

    def read() -> Frame: ...
    def show(frame: Frame, title: str = "") -> str: ...

    catalog = ActionCatalog()
    catalog.add_codec(Frame, lambda _: b"", lambda _: Frame())
    for function in (read, show):
        catalog.add(function)
    steps = [
        step("r", "read"),
        step("a", "show", frame="${r}"),
        step("b", "show", frame="text"),
        step("c", "show", frame="${a}"),
        step("d", "show", frame={"x": "${a}"}),
        step("e", "show", frame="${r.result}", title="${r}"),
        step("f", "show", frame="${r.result.columns}"),
    ]

    assert [
        ("invalid_literal", "b", "frame"),
        ("type_mismatch", "c", "frame"),
        ("type_mismatch", "d", "frame"),
        ("type_mismatch", "e", "title"),
        ("unknown_output", "f", "frame"),
    ] == faults(*steps, catalog=catalog)
