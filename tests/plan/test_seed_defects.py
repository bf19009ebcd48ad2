"""Weaknesses of aethergraph's plans and catalog that ours must not have; the others have their tests where they belong.

A1, A2, A8 to A12, A17 to A19 and A26 to A36 are about drafting, running and skills. A13 to A16, A20 to A22 and A25 are
also tested beside the modules that they are about.
"""

from typing import Any

from planner.catalog import ActionCatalog, action
from planner.plan import CandidatePlan, validate
from tests.support.validation import checked, faults, step


def double(value: int) -> int:
    return 2 * value


def name(length: int) -> str:
    return "x" * length


CATALOG = ActionCatalog([double, name])


def found(*steps: dict[str, Any]) -> list[tuple[str, str, str]]:
    return faults(*steps, catalog=CATALOG)


def test_a_step_may_use_one_that_is_listed_after_it() -> None:
    """A3: the order of the list means nothing; it validated and then failed when it ran."""
    assert [] == found(step("b", "double", value="${a}"), step("a", "double", value=1))


def test_nested_bindings_are_validated_and_make_edges() -> None:
    """A4: unknown steps and user keys inside lists passed, and a cycle through them was missed."""
    inside = {"x": [{"y": "${nobody.z}"}, "${user.city}"]}

    assert [("unknown_step", "a", "value.x[0].y")] == faults(step("a", value=inside))
    assert {"city": ["a.value.x[1]"]} == checked(step("a", value=inside)).missing_user_bindings
    assert [("cycle", "a", "")] == faults(step("a", value=[["${b}"]]), step("b", value={"k": "in ${a}"}))


def test_two_steps_cannot_have_one_id() -> None:
    """A5: one of them was lost in a dictionary."""
    assert [("duplicate_step", "a", "id")] == found(step("a", "double", value=1), step("a", "double", value=2))


def test_a_plan_without_steps_is_not_valid() -> None:
    """A6: it was ok, and running it raised an IndexError."""
    assert [("empty_plan", "", "steps")] == found()


def test_inputs_that_do_not_exist_and_literals_of_the_wrong_type_are_found() -> None:
    """A7: they failed inside the action."""
    assert [("invalid_literal", "a", "value"), ("unknown_input", "a", "valeu")] == found(
        step("a", "double", value="two", valeu=2)
    )


def test_what_the_user_still_has_to_give_is_in_the_summary() -> None:
    """A13: the repair prompt said `Plan is invalid:` and nothing else."""
    assert "city: needed by a.value" in checked(step("a", value="${user.city}")).summary()


def test_an_action_and_a_reference_that_disagree_are_an_issue() -> None:
    """A14: the reference won silently, so that a corrected name had no effect."""
    wrong = {"id": "a", "action": "double", "action_ref": "action:name@0.1.0", "inputs": {"length": 1}}

    assert [("action_mismatch", "a", "action_ref")] == found(wrong)


def test_external_slots_do_not_hide_user_inputs() -> None:
    """A16: it was either the one or the other."""
    steps = [step("a", "double", value="${user.now}"), step("b", "double", value="${user.later}")]

    assert checked(*steps, catalog=CATALOG, user_inputs={"now": 1}, external_slots={"later": int}).ok


def test_a_plan_that_names_an_older_version_stays_valid() -> None:
    """A21: only the latest version was known."""

    @action(name="double", version="2.0")
    def other(text: str) -> str:
        return text * 2

    catalog = ActionCatalog([double, other])
    old = {"id": "a", "action": "double", "action_ref": "graphfn:double@0.1.0", "inputs": {"value": 1}}

    assert [] == faults(old, catalog=catalog)
    assert [] == faults(step("a", "double", text="x"), catalog=catalog)


def test_a_long_chain_validates() -> None:
    """A23: 1,100 steps in reverse ended in a RecursionError."""
    chain = [step(f"s{at}", "double", value=f"${{s{at + 1}}}") for at in range(3_000)]

    assert [] == found(*chain, step("s3000", "double", value=1))


def test_a_step_cannot_take_the_users_name() -> None:
    """A24: it hid every user input."""
    assert [("reserved_step_id", "user", "id")] == found(step("user", "double", value=1))
    assert {"result": ["b.value"]} == checked(
        step("user", "double", value=1), step("b", "double", value="${user.result}"), catalog=CATALOG
    ).missing_user_bindings


def test_bindings_in_text_and_literal_braces_can_be_told_apart() -> None:
    """A25: text around a binding was taken literally, and there was no way to write `${a.b}`."""
    assert [("unknown_step", "a", "value")] == faults(step("a", value="for ${nobody.x}"))
    assert [] == faults(step("a", value="for $${nobody.x}"))


def test_a_whole_number_is_a_number_and_optional_is_known() -> None:
    """A7, A20: `integer` and `number` were equal, `int | None` was an object."""

    def half(value: float, digits: int | None = None) -> float: ...

    catalog = ActionCatalog([half, double])
    steps = [step("a", "double", value=1), step("b", "half", value="${a}", digits="${a}"), step("c", "half", value=3)]

    assert [] == faults(*steps, catalog=catalog)
    assert [("invalid_literal", "a", "digits")] == faults(step("a", "half", value=1, digits="2"), catalog=catalog)


def test_large_plans_are_checked_against_large_catalogs_once() -> None:
    """A22: resolving was steps times catalog; now each step is one look-up in one view."""
    catalog = ActionCatalog(action(name=f"double_{at}")(lambda value: value) for at in range(200))
    plan = CandidatePlan.from_dict({"steps": [step(f"s{at}", f"double_{at % 200}", value=1) for at in range(1_000)]})
    view = catalog.view

    assert validate(plan, catalog).ok
    assert view is catalog.view
