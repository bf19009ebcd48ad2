"""Validation: every kind of fault, at its place, once, and all of them at once."""

import copy
from typing import Any

import pytest
from pydantic import SecretStr

from planner.catalog import ActionCatalog, Slot, action
from planner.context import RequestIdentity
from planner.limits import Limits
from planner.plan import CandidatePlan, MissingUserInput, get_missing_user_inputs, validate
from planner.plan.issues import WARNINGS, IssueKind, ValidationIssue, ValidationResult
from tests.support.validation import CATALOG, checked, faults, step

LOAD = step("t", "load", path="a.csv")


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([], [("empty_plan", "", "steps")]),
        ([step("a", "lod")], [("unknown_action", "a", "action")]),
        ([step("a", None)], [("unknown_action", "a", "action")]),
        ([step("a", None, action_ref="action:load@9", path="")], [("unknown_action", "a", "action_ref")]),
        ([step("a", None, action_ref="load", path="")], [("unknown_action", "a", "action_ref")]),
        ([step("a", "count", action_ref="action:load@0.1.0", path="")], [("action_mismatch", "a", "action_ref")]),
        ([step("a"), step("a")], [("duplicate_step", "a", "id"), ("missing_input", "a", "value")]),
        ([step("user", value=1)], [("reserved_step_id", "user", "id")]),
        ([step("item", value=1)], [("reserved_step_id", "item", "id")]),
        ([step("1", value=1)], [("invalid_step_id", "1", "id")]),
        ([step("a b", value=1)], [("invalid_step_id", "a b", "id")]),
        ([step("a" * 65, value=1)], [("invalid_step_id", "a" * 65, "id")]),
        ([step("a\n", value=1)], [("invalid_step_id", "a\n", "id")]),
        ([step("a", value="${b.result}")], [("unknown_step", "a", "value")]),
        (
            [step("a", value=1, after=["b", "c"])],
            [("unknown_step", "a", "after[0]"), ("unknown_step", "a", "after[1]")],
        ),
        ([step("a", value=1, when={"ref": "${b.x}"})], [("unknown_step", "a", "when.ref")]),
        ([step("a", value=1, for_each=[1, "${b.x}"])], [("unknown_step", "a", "for_each[1]")]),
        ([step("a", value="${item}")], [("unknown_step", "a", "value")]),
        ([step("a", value=1, for_each=["${item}"])], [("unknown_step", "a", "for_each[0]")]),
        ([LOAD, step("a", value="${t.columns}")], [("unknown_output", "a", "value")]),
        ([LOAD, step("a", value="${t.total.sum}")], [("unknown_output", "a", "value")]),
        ([LOAD, step("a", value="${t.groups[0].colour}")], [("unknown_output", "a", "value")]),
        ([LOAD, step("a", value="${t[0]}")], [("unknown_output", "a", "value")]),
        ([step("a", value="${a.result}")], [("cycle", "a", "")]),
        ([step("b", value="${a}"), step("a", value=[{"x": "${b}"}])], [("cycle", "a", "")]),
        ([step("a", "load")], [("missing_input", "a", "path")]),
        ([step("a", "load", path="", pth="")], [("unknown_input", "a", "pth")]),
        ([LOAD, step("a", "count", items="${t.total}")], [("type_mismatch", "a", "items")]),
        ([LOAD, step("a", "count", items=["${t.total}", "x"])], [("type_mismatch", "a", "items[0]")]),
        ([step("a", "count", items=["x", 1])], [("invalid_literal", "a", "items[1]")]),
        ([step("a", value="${")], [("invalid_literal", "a", "value")]),
        ([step("a", value={"b": ["${user.__class__}"]})], [("invalid_literal", "a", "value.b[0]")]),
        ([step("a", "brew", cups=2)], []),
    ],
)
def test_each_fault_is_reported_once_at_its_place(
    steps: list[dict[str, Any]], found: list[tuple[str, str, str]]
) -> None:
    """And nothing else is."""
    assert found == faults(*steps)


def test_everything_is_reported_at_once() -> None:
    """Not only the first fault, or the first kind; in the order of the plan."""
    found = faults(
        step("user", value=1),
        step("a", "lod", path="${nobody.x} ${user.city}"),
        step("b", "load", path=5, extra="${c}"),
        step("c", "count", items="${b.total}", after=["d"]),
        outputs={"x": "${b.nothing}"},
    )

    assert [
        ("reserved_step_id", "user", "id"),
        ("unknown_action", "a", "action"),
        ("unknown_step", "a", "path"),
        ("invalid_literal", "b", "path"),
        ("unknown_input", "b", "extra"),
        ("type_mismatch", "c", "items"),
        ("unknown_step", "c", "after[0]"),
        ("unknown_output", "", "outputs.x"),
        ("cycle", "b", ""),
    ] == found


def test_a_fault_that_stands_twice_in_one_text_is_reported_once() -> None:
    """But in two places twice."""
    assert [("unknown_step", "a", "value")] == faults(step("a", value="${b.x} ${b.x}"))
    assert 2 == len(faults(step("a", value=["${b.x}", "${b.x}"])))


def test_a_step_that_shares_its_id_is_checked_as_what_it_is() -> None:
    """The second must not be held against the first's action; what refers to either is not known to be wrong."""
    first, second = step("a", "load", path="x"), step("a", "count", items=["x"])

    assert [("duplicate_step", "a", "id")] == faults(first, second, step("b", value="${a.total} ${a.result}"))
    assert [("duplicate_step", "a", "id"), ("unknown_output", "b", "value")] == faults(
        first, first, step("b", value="${a.result}")
    )


def messages(*steps: dict[str, Any], **options: Any) -> str:
    return "\n".join(issue.message for issue in checked(*steps, **options).issues)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([step("a", "laod", path="")], "unknown action 'laod'; closest: load"),
        ([step("a", None, action_ref="load")], "write action:name@version"),
        ([step("tabel"), step("a", value="${table.x}")], "closest: tabel"),
        ([LOAD, step("a", value="${t.totl}")], "load has no output 'totl'; it has rows, groups, total"),
        ([step("a", "scale", value=1), step("b", value="${a.x}")], "write ${a.result.x}"),
        ([step("a", "load", pth="")], "load has no input 'pth'; closest: path"),
        ([LOAD, step("a", "count", items="${t.total}")], "${t.total} is a number, where a list of text is needed"),
        ([step("a", value="${a}")], "waits for itself"),
        ([step("a", value="${b}"), step("b", value="${a}")], "a → b → a"),
        ([step("a", "brew", cups="many")], '"many" is not of type "integer"'),
        ([step("a", "when_is", moment="soon")], '"soon" is not a "date-time"'),
    ],
)
def test_a_message_says_what_is_wrong_and_what_is_close(steps: list[dict[str, Any]], words: str) -> None:
    """People and models read it."""
    assert words in messages(*steps)


def test_details_are_facts_for_programs() -> None:
    """Where the fault is in the plan's JSON, what is expected, and what could fill a missing input (A15)."""
    issues = {issue.kind: issue for issue in checked(step("a", "plot"), step("b", "count", items=[{"x": 1}])).issues}

    assert ["inputs", "items", 0] == issues["invalid_literal"].details["location"]
    assert ["inputs", "group"] == issues["missing_input"].details["location"]
    assert "Group" == issues["missing_input"].details["expected"]["title"]
    assert ["action:pick@0.1.0"] == [found["action_ref"] for found in issues["missing_input"].details["candidates"]]


def test_a_missing_user_key_is_a_question_and_no_fault() -> None:
    """Each key once, with every place; the plan is partial until they are there."""
    result = checked(
        step("a", "load", path="${user.path}"),
        step("b", value=["${user.path}", {"c": "to ${user.name}, ${user.name}"}], for_each="${user.names}"),
        outputs={"who": "${user.name}"},
    )

    assert {
        "path": ["a.path", "b.value[0]"],
        "name": ["b.value[1].c", "outputs.who"],
        "names": ["b.for_each"],
    } == result.missing_user_bindings
    assert (False, False, True) == (result.ok, result.has_structural_errors, result.is_partial_ok())
    assert MissingUserInput("path", ["a.path", "b.value[0]"]) == get_missing_user_inputs(result)[0]


def test_a_plan_with_faults_is_not_partial() -> None:
    """Answers alone would not make it run; a valid plan is not partial either."""
    assert not checked(step("a", "lod", path="${user.path}")).is_partial_ok()
    assert not checked(step("a", "load", path="x")).is_partial_ok()


def test_given_values_and_external_slots_are_both_known() -> None:
    """A16: one did not know of the other; what is given is checked by value, what comes later by type."""
    steps = [step("a", "scale", value="${user.now}", factor="${user.later}")]

    def answer(given: Any, slot: Any) -> list[tuple[str, str, str]]:
        result = checked(*steps, user_inputs={"now": given}, external_slots={"later": slot})
        assert {} == result.missing_user_bindings
        return [(issue.kind, issue.step_id, issue.field) for issue in result.issues]

    assert [] == answer(1, Slot("later", {"type": "integer"})) == answer(1.5, "number") == answer(2, None)
    assert [("type_mismatch", "a", "value")] == answer("1", float)
    assert [("type_mismatch", "a", "factor")] == answer(1, str)
    assert {"later": ["a.factor"]} == checked(*steps, user_inputs={"now": 1}).missing_user_bindings


@pytest.mark.parametrize(
    ("binding", "found"),
    [
        ("${user.row.name}", []),
        ("${user.row.names[1]}", []),
        ("${user.row.nobody}", [("unknown_output", "a", "path")]),
        ("${user.row.names[2]}", [("unknown_output", "a", "path")]),
        ("${user.row.names}", [("type_mismatch", "a", "path")]),
        ("${user.row.name.upper}", [("unknown_output", "a", "path")]),
        ("${user.secret}", []),
        ("${user.later.name}", []),
        ("${user.later.nobody}", [("unknown_output", "a", "path")]),
        ("${user}", [("type_mismatch", "a", "path")]),
    ],
)
def test_bindings_into_what_the_user_gave_are_followed(binding: str, found: list[tuple[str, str, str]]) -> None:
    """Through the value where it is there, through the schema where it is not."""
    given = {"row": {"name": "x", "names": ["y", "z"]}, "secret": SecretStr("x")}
    later = {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": False}

    assert found == faults(step("a", "load", path=binding), user_inputs=given, external_slots={"later": later})


def test_a_secret_is_never_shown() -> None:
    """Not when it does not fit, and not in a summary."""
    result = checked(step("a", "scale", value="${user.pin}"), user_inputs={"pin": SecretStr("hunter2")})

    assert ["type_mismatch"] == [issue.kind for issue in result.issues]
    assert "hunter2" not in repr(result) + result.summary()


def test_groups_and_roles_forbid_actions() -> None:
    """What is outside the groups, and what the identity may not call; without either, nothing is forbidden."""
    brew, erase = step("b", "brew", cups=1), step("e", "erase", name="x")

    assert [] == faults(brew, erase) == faults(brew, flow_ids=["kitchen"])
    assert [("forbidden_action", "b", "action")] == faults(brew, erase, flow_ids=["trips"])
    assert [("forbidden_action", "e", "action")] == faults(brew, erase, identity=RequestIdentity(roles=["guest"]))
    assert [] == faults(erase, identity=RequestIdentity(roles=["admin"]))


def test_costs_are_held_against_the_budget() -> None:
    """As far as actions declare them."""
    steps = [step("a", "brew", cups=1), step("b", "brew", cups=1)]

    assert [] == faults(*steps, limits=Limits(cost=6))
    assert [("over_budget", "", "steps")] == faults(*steps, limits=Limits(cost=5))


@pytest.mark.parametrize(
    ("steps", "outputs", "found"),
    [
        ([LOAD, step("s", "scale", value=1)], {}, [("unused_step", "t")]),
        ([LOAD, step("s", "scale", value=1)], {"x": "${t.total}"}, [("unused_step", "s")]),
        ([LOAD, step("s", "scale", value="${t.total}")], {}, []),
        ([LOAD, step("s", "scale", value=1, after=["t"])], {}, []),
        ([step("m", "send", text="x"), step("s", "scale", value=1, after=["m"])], {}, [("point_of_no_return", "m")]),
        ([step("m", "send", text="x"), step("s", "scale", value=1, after=["m"], optional=True)], {}, []),
        ([step("e", "erase", name="x"), step("s", "scale", value=1, after=["e"])], {}, []),
        ([LOAD, step("m", "send", text="sum: ${t.total}")], {}, []),
    ],
)
def test_warnings_are_no_reason_not_to_run(
    steps: list[Any], outputs: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    """A step that nothing uses, and an effect that nothing takes back before a step that may fail."""
    result = checked(*steps, outputs=outputs)

    assert found == [(issue.kind, issue.step_id) for issue in result.issues]
    assert result.ok


@pytest.mark.parametrize(
    ("undo", "why"),
    [
        ("refund", ""),
        ("nothing", "there is no 'nothing'"),
        ("action:nothing@1.0.0", "there is no"),
        ("asks", "approval"),
        ("unpay", "requires 'payment', neither an input nor an output"),
    ],
)
def test_an_undo_that_nobody_will_call_takes_nothing_back(undo: str, why: str) -> None:
    """It is known before the run, and not only when it fails."""

    @action
    async def refund() -> None: ...

    @action(approval=True)
    async def asks() -> None: ...

    @action
    async def unpay(payment: int, result: int) -> None: ...

    @action(effect="external", undo=undo)
    async def pay() -> int:
        return 1

    plan = CandidatePlan.from_dict(
        {"steps": [{"id": "p", "action": "pay"}, {"id": "q", "action": "refund", "after": ["p"]}]}
    )
    found = [one.message for one in validate(plan, ActionCatalog([refund, asks, unpay, pay])).issues]

    assert (1 if why else 0) == len(found)
    assert all(why in message for message in found)


def test_validation_changes_nothing_that_it_is_given() -> None:
    """It is a pure function, with the same answer each time."""
    plan = CandidatePlan.from_dict(
        {"steps": [step("a", "plot", group={"name": "${user.n}", "size": "x"}), step("b", value=["${a}"])]}
    )
    inputs = {"n": ["x"], "unused": {1, 2}}
    before = (copy.deepcopy(plan), copy.deepcopy(inputs), CATALOG.version)
    first = validate(plan, CATALOG, inputs)

    assert before == (plan, inputs, CATALOG.version)
    assert first == validate(plan, CATALOG, inputs)


ISSUE = ValidationIssue("missing_input", "a", "path", "load needs 'path'")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (ValidationResult.of([]), "Plan is valid."),
        (
            ValidationResult.of([ISSUE]),
            "Plan is invalid:\n- [missing_input] step=a field=path: load needs 'path'",
        ),
        (
            ValidationResult.of([ValidationIssue("cycle", "a", "", "round")], {"k": ["a.x", "b.y"]}),
            "Plan is invalid:\n- [cycle] step=a field=: round\n- [missing_user_input] k: needed by a.x, b.y",
        ),
        (
            ValidationResult.of([], {"city": ["a.x"]}),
            "Plan is incomplete:\n- [missing_user_input] city: needed by a.x",
        ),
        (
            ValidationResult.of([ValidationIssue("unused_step", "a", "", "nothing uses it")]),
            "Plan is valid, with warnings:\n- [unused_step] step=a field=: nothing uses it",
        ),
    ],
)
def test_a_summary_has_a_line_for_each_issue_and_each_missing_key(result: ValidationResult, text: str) -> None:
    """A13: what is missing reaches the model that repairs the plan."""
    assert text == result.summary()


def test_every_kind_is_structural_except_the_warnings() -> None:
    """The seed's kinds keep their names."""
    kinds = set(IssueKind.__args__)
    structural = {kind for kind in kinds if ValidationIssue(kind, "", "", "").is_structural}

    assert kinds - structural == WARNINGS
    assert {"unknown_action", "cycle", "missing_input", "type_mismatch"} <= structural
