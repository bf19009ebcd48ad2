"""Plans that are too large, too deep, or made to break what reads them."""

from typing import Any

import pytest

from planner.catalog import ActionCatalog, ActionSpec, Slot
from planner.limits import Limits
from planner.plan import CandidatePlan, PlanStep, ValidationResult, validate
from planner.plan.validator import measure
from tests.support.validation import CATALOG, checked, faults, step


def issue_of(result: ValidationResult) -> tuple[str, str, str, str]:
    """Kind, step, field and limit of the only issue."""
    (issue,) = result.issues
    assert not result.ok
    return issue.kind, issue.step_id, issue.field, issue.details["limit"]


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def test_a_hundred_thousand_steps_are_over_the_budget() -> None:
    """One issue that names the bound, without looking at the steps."""
    plan = CandidatePlan(steps=(PlanStep(id="a", action="nobody", inputs={"x": "${b.c}"}),) * 100_000)
    result = validate(plan, CATALOG)

    assert ("over_budget", "", "steps", "steps") == issue_of(result)
    assert "100,000 steps" in result.issues[0].message


def test_ten_thousand_steps_in_a_row_are_valid() -> None:
    """A23: the most that is allowed, whatever their order."""
    row = [step(f"s{at}", "scale", value=f"${{s{at - 1}}}" if at else 1) for at in range(10_000)]

    assert checked(*row).ok
    assert checked(*row[::-1], outputs={"x": "${s9999}"}).ok


@pytest.mark.parametrize("value", ["x" * 50_000_000, [0] * 6_250_000, {"a": {"k" * 50_000_000: 1}}, b"x" * 50_000_000])
def test_a_literal_of_fifty_megabytes_is_over_the_budget(value: object) -> None:
    """The issue says what to do instead, and does not hold the value."""
    result = checked(step("a", value=value))

    assert ("over_budget", "a", "value", "literal_bytes") == issue_of(result)
    assert "give it as a user input and bind it" in result.issues[0].message
    assert len(repr(result)) < 1000


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"value": 1, "for_each": nested(70)}, ("a", "for_each")),
        ({"value": 1, "when": {"ref": "${user.x}", "op": "eq", "value": nested(70)}}, ("a", "when.value")),
        ({"value": 1, "when": {"ref": "${" + "x" * 300_000}}, ("a", "when.ref")),
        ({"value": nested(70)}, ("a", "value")),
        ({"value": {"deep": nested(100_000)}}, ("a", "value")),
    ],
)
def test_every_place_of_a_value_has_the_same_bounds(fields: dict[str, Any], where: tuple[str, str]) -> None:
    """Also where no action will see it."""
    assert [("over_budget", *where)] == faults(step("a", **fields))


def test_outputs_have_the_same_bounds() -> None:
    """Their place has no step."""
    assert [("over_budget", "", "outputs.x")] == faults(step("a", value=1), outputs={"x": nested(70)})


def test_a_value_that_contains_itself_is_nested_too_deep() -> None:
    """A plan written in Python can hold one."""
    loop: list[Any] = []
    loop += [loop, {"again": loop}] * 3

    assert [("over_budget", "a", "value")] == faults(step("a", value=loop))


def test_each_bound_can_be_set() -> None:
    """What is just within it passes."""
    limits = Limits(steps=2, nesting=3, literal_bytes=100)
    good = step("a", value=nested(3)), step("b", value="x" * 100)

    assert [] == faults(*good, limits=limits)
    assert [("over_budget", "", "steps")] == faults(*good, step("c", value=1), limits=limits)
    assert [("over_budget", "a", "value")] == faults(step("a", value=nested(4)), limits=limits)
    assert [("over_budget", "b", "value")] == faults(step("b", value="x" * 101), limits=limits)


def test_only_what_is_too_large_is_reported_when_something_is() -> None:
    """Nothing walks into it; but every such place is named."""
    assert [("over_budget", "a", "value"), ("over_budget", "b", "value")] == faults(
        step("a", "lod", value=nested(70)), step("b", value="x" * 300_000), step("c", "lod")
    )


def test_size_and_depth_are_measured_without_walking_further_than_needed() -> None:
    """Texts and binary by length, keys too, everything else by eight."""
    assert (5, 0) == measure("12345", 64)
    assert (8 + 3 + 8 + 8 + 2, 2) == measure({"abc": [1, b"12"]}, 64)
    assert 65 == measure(nested(100_000), 64)[1]


def test_names_that_are_close_are_looked_for_only_so_often() -> None:
    """Ten thousand wrong names in a catalog of ten thousand would take minutes otherwise."""
    catalog = ActionCatalog(
        ActionSpec(f"action_{at}", f"action:action_{at}@1", "action", "1", (), (Slot("result"),)) for at in range(5_000)
    )
    steps = [step(f"s{at}", f"actoin_{at}", x=f"${{t{at}.result}}", after=["nobody"]) for at in range(2_000)]
    result = checked(*steps, catalog=catalog)

    assert 6_000 == len(result.issues)
    assert "closest: action_" in result.issues[0].message
    assert "not looked for" in result.issues[-1].message


@pytest.mark.parametrize(
    "binding",
    [
        "${a.__class__}",
        "${user.__class__.__mro__}",
        "${user['__class__']}",
        "${user.x.__init__.__globals__}",
        "${__builtins__}",
    ],
)
def test_no_binding_reaches_an_attribute(binding: str) -> None:
    """Keys and positions only, even of live objects that the caller gave."""
    found = faults(step("a", value=1), step("b", value=binding), user_inputs={"x": object()})
    missing = checked(step("b", value=binding), user_inputs={"x": object()}).missing_user_bindings

    assert bool(found) != bool(missing)
    assert missing in ({}, {"__class__": ["b.value"]})


@pytest.mark.parametrize(
    "text", ["\x00", "\ud800", "${" * 1000, "$" * 1000 + "{", "${a" + "[0" * 100, "🙂" * 50, "${a." + "a" * 1000 + "}"]
)
def test_odd_text_anywhere_is_an_issue_or_nothing(text: str) -> None:
    """Never an exception."""
    plan = CandidatePlan.model_construct(
        steps=(
            PlanStep(id=text, action=text, action_ref=text, inputs={text: text}, for_each=text, after=(text,)),  # pyright: ignore[reportArgumentType]  # short form
            PlanStep(id="b", action="load", inputs={"path": [text, {text: text}]}, when={"ref": text, "op": "eq"}),  # pyright: ignore[reportArgumentType]  # raw JSON
        ),
        extras={},
        goal="",
        outputs={text: text},
    )

    assert validate(plan, CATALOG, {text: text}).issues


@pytest.mark.parametrize(
    "text", ["$" * 200_000 + "x ${user.a}", "${a." * 40_000, "${a" + " " * 200_000, '${a["' * 40_000]
)
def test_a_text_made_to_keep_the_reader_busy_is_read_in_one_pass(text: str) -> None:
    """A search that starts anew at each dollar would take minutes; the test's own time-out would end it."""
    for _ in range(20):
        checked(step("a", "scale", value=text))


def test_a_condition_cannot_look_at_an_item() -> None:
    """It decides about the whole step, before there is an item."""
    mapped = step("a", "scale", value="${item}", for_each=[1, 2], when={"ref": "${item}", "op": "gt", "value": 1})

    assert [("unknown_step", "a", "when.ref")] == faults(mapped)
