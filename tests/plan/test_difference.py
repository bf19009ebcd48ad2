"""What is different between two plans, as sentences."""

from typing import Any

import pytest

from planner.plan import CandidatePlan
from planner.plan.difference import Change, difference

FIND: dict[str, Any] = {"id": "find", "action": "find_flights", "inputs": {"origin": "BGO", "day": "${user.day}"}}
BOOK: dict[str, Any] = {"id": "book", "action": "book", "inputs": {"flight": "${find.result[0]}"}, "after": ["find"]}
MAIL: dict[str, Any] = {"id": "mail", "action": "send_mail", "inputs": {"text": "Booked ${book.code}"}}
STEPS = (FIND, BOOK, MAIL)


def plan(*steps: dict[str, Any], **more: Any) -> CandidatePlan:
    return CandidatePlan.from_dict({"steps": list(steps), **more})


def told(before: CandidatePlan, after: CandidatePlan) -> list[str]:
    return [str(change) for change in difference(before, after)]


def test_plans_that_say_the_same_are_not_different() -> None:
    """Order, the reference beside the name, spaces in a binding and what a caller keeps in `extras` say nothing."""
    again = [
        MAIL,
        {**BOOK, "action_ref": "action:book@1", "extras": {"x": 1}},
        {**FIND, "inputs": {"day": "${ user.day }", "origin": "BGO"}},
    ]

    assert difference(plan(*STEPS), plan(*STEPS)) == []
    assert difference(plan(*STEPS), plan(*again)) == []


WAS = "not set before"
FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "a literal": ({"inputs": {**FIND["inputs"], "origin": "OSL"}}, 'find: origin is now "OSL" (was "BGO")'),
    "a binding": ({"inputs": {**FIND["inputs"], "day": "2026-11-20"}}, 'find: day is now "2026-11-20" (was user.day)'),
    "a new input": ({"inputs": {**FIND["inputs"], "seats": 2}}, f"find: seats is now 2 ({WAS})"),
    "an input less": ({"inputs": {"origin": "BGO"}}, "find: day is no longer set (was user.day)"),
    "another type": ({"inputs": {**FIND["inputs"], "origin": True}}, 'find: origin is now true (was "BGO")'),
    "another action": ({"action": "find_trains"}, "find: action is now find_trains (was find_flights)"),
    "a loop": ({"for_each": "${user.days}"}, "find: now runs once for each of user.days"),
    "a condition": (
        {"when": {"ref": "${user.budget}", "op": "gt", "value": 100}},
        "find: now runs only if user.budget is more than 100",
    ),
    "an order": ({"after": ["mail"]}, "find: now waits for mail (before: nothing)"),
    "a loose order": (
        {"after": [{"step": "mail", "required": False}]},
        "find: now waits for mail (even if it fails) (before: nothing)",
    ),
    "optional": ({"optional": True}, "find: may now fail without stopping the rest"),
    "priority": ({"priority": 3}, "find: priority is now 3 (was 0)"),
}


@pytest.mark.parametrize(("change", "sentence"), FIELDS.values(), ids=FIELDS.keys())
def test_each_field_has_its_sentence(change: dict[str, Any], sentence: str) -> None:
    """And there is one for each change."""
    assert told(plan(*STEPS), plan({**FIND, **change}, BOOK, MAIL)) == [sentence]


def test_fields_that_are_gone_have_theirs_too() -> None:
    """As when a condition falls away."""
    when = {"ref": "${user.budget}", "op": "exists"}
    before = plan({**FIND, "for_each": ["a"], "when": when, "optional": True})

    assert told(before, plan(FIND)) == [
        "find: now runs once",
        "find: now always runs",
        "find: now stops the plan when it fails",
    ]


def test_steps_come_and_go() -> None:
    """A reference to a step that is gone is a change of its own."""
    assert told(plan(FIND, BOOK), plan(*STEPS)) == ["added mail (send_mail)"]
    assert told(plan(*STEPS), plan(FIND, BOOK)) == ["removed mail (send_mail)"]
    assert told(plan(), plan(FIND)) == ["added find (find_flights)"]


def test_a_step_that_only_has_another_name_is_renamed() -> None:
    """And so is what refers to it: nothing else is told."""
    renamed = [
        {**FIND, "id": "search"},
        {**BOOK, "inputs": {"flight": "${search.result[0]}"}, "after": ["search"]},
        MAIL,
    ]
    outputs = {"code": "${book.code}"}

    assert told(plan(*STEPS, outputs=outputs), plan(*renamed, outputs=outputs)) == ["find is now called search"]


def test_steps_that_were_numbered_anew_are_found_again() -> None:
    """Models number steps; one that was put in front moves all names, and the names are taken by other actions."""
    before = plan({**FIND, "id": "s1"}, {"id": "s2", "action": "book", "inputs": {"flight": "${s1.result}"}})
    after = plan(
        {"id": "s1", "action": "log_in"},
        {**FIND, "id": "s2"},
        {"id": "s3", "action": "book", "inputs": {"flight": "${s2.result}"}},
    )

    assert told(before, after) == ["added s1 (log_in)", "s1 is now called s2", "s2 is now called s3"]


def test_goal_and_outputs_are_compared() -> None:
    """They are the plan's, so no step is named."""
    before = plan(FIND, goal="Fly to Oslo", outputs={"a": "${find.result}", "b": "${find.result}"})
    after = plan(FIND, goal="Fly home", outputs={"a": "${find.result[0]}", "c": 1})

    assert told(before, after) == [
        'the goal is now "Fly home" (was "Fly to Oslo")',
        "the result a is now find.result[0] (was find.result)",
        "the result b is no longer set (was find.result)",
        f"the result c is now 1 ({WAS})",
    ]


def test_a_change_keeps_its_facts() -> None:
    """For programs that show it in another way."""
    (change,) = difference(plan(FIND), plan({**FIND, "inputs": {**FIND["inputs"], "origin": "OSL"}}))

    assert (change.kind, change.step_id, change.field, change.before, change.after) == (
        "changed",
        "find",
        "inputs.origin",
        "BGO",
        "OSL",
    )


def test_neither_plan_is_changed() -> None:
    """Also where values lie inside each other."""
    inputs = {"flights": [{"of": "${find.result}"}, ("${find.a}",)]}
    before, after = plan(FIND, {**BOOK, "inputs": inputs}), plan({**FIND, "id": "f"}, BOOK)
    shapes = before.to_dict(), after.to_dict()

    difference(before, after)

    assert (before.to_dict(), after.to_dict()) == shapes


HOSTILE: list[Any] = ["${", "$${user.x}", "\ud800", "x" * 200_000, "a\nb", {"a": {"b": "${"}}, None]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_any_value_can_be_shown(value: Any) -> None:
    """On one line, and shortened."""
    lines = told(plan(FIND), plan({**FIND, "inputs": {"origin": value, "day": "${user.day}"}}))

    assert all(len(line) < 200 and "\n" not in line for line in lines)
    assert len(lines) == 1


def test_many_steps_are_compared_in_reasonable_time() -> None:
    """Each of them renamed, in a chain: work that grows with the square would meet the timeout of the tests."""

    def chain(name: str) -> CandidatePlan:
        values = ["go", *(f"${{{name}{number}.b}}" for number in range(1_999))]
        return plan(*({"id": f"{name}{at}", "action": "x", "inputs": {"a": value}} for at, value in enumerate(values)))

    changes = difference(chain("a"), chain("b"))

    assert [change.field for change in changes] == ["id"] * 2_000


def test_another_action_of_the_same_name_is_a_change() -> None:
    """Of another version, or from somewhere else; a plan that does not say which is the same plan."""
    one, two, other = ({**FIND, "action_ref": ref} for ref in ("p1:x@1", "p1:x@2", "p2:x@1"))

    assert ["find: action is now p1:x@2 (was p1:x@1)"] == told(plan(one), plan(two))
    assert ["find: action is now p2:x@1 (was p1:x@1)"] == told(plan(one), plan(other))
    assert [] == [*told(plan(one), plan(FIND)), *told(plan(FIND), plan(two)), *told(plan(one), plan(one))]


def test_of_two_long_texts_it_is_shown_where_they_differ() -> None:
    before, after = (plan({**FIND, "inputs": {"origin": "a" * 300 + end}}) for end in ("one", "two"))

    assert [f'find: origin is now "…{"a" * 30}two" (was "…{"a" * 30}one")'] == told(before, after)


def test_whoever_may_not_see_a_value_is_told_of_a_change_without_it() -> None:
    before, after = (plan({**FIND, "inputs": {"origin": "token=" + "a" * 80 + end}}) for end in ("one", "two"))
    (change,) = difference(before, after)

    assert "find: origin is now 3 (was 3)" == change.told(lambda _, value: str(len(value)), lambda text: text[-3:])
    assert "find: origin is now origin (was origin)" == change.told(lambda name, _: name)


def test_a_text_is_told_apart_from_a_binding() -> None:
    """What a user gives is never one, and in a plan it is escaped."""
    before, after = (plan({**FIND, "inputs": {"origin": text}}) for text in ("$${user.a}", "${user.a}"))
    given = Change(kind="changed", step_id="", field="inputs.origin", before="${user.a}", after="a")

    assert ['find: origin is now user.a (was "${user.a}")'] == told(before, after)
    assert 'origin is now "a" (was "${user.a}")' == str(given)
