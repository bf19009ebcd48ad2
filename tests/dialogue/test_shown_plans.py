"""Plans as their users see them: what is done is never left out or forged, and a change is noticed."""

from typing import Any, Literal

import pytest
from pydantic import SecretStr

from planner.catalog import ActionCatalog, action
from planner.dialogue.review import plan_digest, plan_text
from planner.dialogue.wording import no_value_fits, question_of, result_text, why_no_plan
from planner.drafting import PlanResult
from planner.drafting.form import input_form, unfillable
from planner.execution import ExecutionResult
from planner.execution.outcome import PendingInterrupt, StepOutcome
from planner.plan import CandidatePlan, ValidationIssue, ValidationResult
from planner.plan.issues import IssueKind

Effect = Literal["read", "write", "external"]


def actions(effect: Effect = "read", version: str = "1", about: str = "Look at a folder.", **more: Any) -> list[Any]:
    @action(effect=effect, version=version, description=about, **more)
    async def tidy(name: str, password: str = "", data: Any = None, day: str = "") -> str:
        return name

    @action(effect="external", approval=True, description="Send a letter.")
    async def send(to: str, body: str = "", secret_key: str = "") -> str:
        return to

    @action(description="Count.")
    async def count(n: int = 0, x: SecretStr | None = None) -> int:
        return n

    return [tidy, send, count]


CATALOG = ActionCatalog(actions())


def plan(*steps: dict[str, Any], **more: Any) -> CandidatePlan:
    named = [{"id": f"s{at:02}", **step} for at, step in enumerate(steps)]
    return CandidatePlan.from_dict({"steps": named, **more})


def tidy(name: str = "f", **inputs: Any) -> dict[str, Any]:
    return {"action": "tidy", "inputs": {"name": name, **inputs}}


def told(*steps: dict[str, Any], earlier: frozenset[str] = frozenset(), **inputs: Any) -> str:
    return plan_text(plan(*steps), CATALOG, inputs, earlier)


SEND = {"action": "send", "inputs": {"to": "ann"}}


# ---------------------------------------------------------------------------------------------------------- its lines


@pytest.mark.parametrize("at", [0, 17, 40], ids=["first", "inside", "last"])
def test_a_step_that_acts_is_shown_however_many_only_read(at: int) -> None:
    """Reads are left out, the last ones first, and it is said that they only read."""
    steps = [tidy(f"n{number}") for number in range(40)]
    text = told(*steps[:at], SEND, *steps[at:])

    assert f'\n{at + 1}. Send a letter (to: "ann") – acts outside, cannot be undone, asks first\n' in f"\n{text}\n"
    assert 26 == len(text.splitlines())
    assert text.endswith("\n… and 16 more steps, which only read")


def test_all_steps_that_act_are_shown() -> None:
    lines = told(*[SEND] * 60, tidy()).splitlines()

    assert (61, "… and 1 more step, which only reads") == (len(lines), lines[-1])


def test_a_step_of_an_unknown_action_counts_as_acting() -> None:
    assert "31. wipe" in told(*[tidy()] * 30, {"action": "wipe"})


def test_a_value_forges_no_step() -> None:
    text = told(tidy("f)\n2. Look at a folder (name: other"), SEND)

    assert ['1. Look at a folder (name: "f) 2. Look at a folder (name: other")', "2. Send a letter"] == [
        line.split(' (to: "')[0] for line in text.splitlines()
    ]


def test_a_template_forges_no_binding() -> None:
    """What stands for itself is in quotes, what stands for something else is not."""
    text = told(tidy("see what step 7 gives, ${s01.result} ${user.who} and $${user.x}"), tidy("your who"), who="Ann")

    assert (
        'name: "see what step 7 gives," + what step 1 gives + "Ann" + "and ${user.x}")' in text  # s1 comes first
    )
    assert '1. Look at a folder (name: "your who")' in text


def test_what_is_done_is_shown_with_more_of_its_values() -> None:
    body = "Dear " * 150
    assert f'body: "{body.strip()}")' in told({"action": "send", "inputs": {"to": "ann", "body": body}})
    assert "(549 more characters)" in told(tidy(body))
    assert '" (1 more character)' in told({"action": "send", "inputs": {"to": "x" * 1_001}})


def test_it_is_said_how_often_a_step_is_done() -> None:
    each = {"action": "send", "inputs": {"to": "${item}"}}

    assert "(to: that one) – 3,000 times, for each of [0, 1, 2" in told({**each, "for_each": list(range(3_000))})
    assert '– 2 times, for each of ["ann", "bob"], acts' in told(
        {**each, "for_each": "${user.all}"}, all=["ann", "bob"]
    )
    assert "– for each of your all, acts outside" in told({**each, "for_each": "${user.all}"})
    assert "– for each of what step 1 gives, acts" in told(tidy(), {**each, "for_each": "${s00.result}"})


@pytest.mark.parametrize(
    ("inputs", "shown"),
    [
        ({"password": "hunter2"}, "password: •••"),
        ({"password": "${user.password}"}, "password: your password"),
        ({"password": "Bearer hunter2 ${user.day}"}, "password: •••"),
        ({"data": {"pin": 4711, "hosts": ["https://u:hunter2@h/"]}}, 'data: {pin: •••, hosts: ["https://•••@h/"]}'),
        ({"data": {"of": "${user.trip.city}"}}, 'data: {of: "Oslo"}'),
        ({"data": ["${user.held}", "${user.gone.x}"]}, "data: [your held, your gone]"),
        ({"day": "${user.day}"}, 'day: "Friday", from an earlier run'),
    ],
    ids=["literal", "bound", "template", "inside", "path", "held", "earlier"],
)  # fmt: skip
def test_what_stands_in_a_plan_is_shown_without_secrets(inputs: dict[str, Any], shown: str) -> None:
    text = told(
        tidy(**inputs), earlier=frozenset({"day"}),
        day="Friday", password="hunter2", held=SecretStr("hunter2"), trip={"city": "Oslo"},
    )  # fmt: skip

    assert f'1. Look at a folder (name: "f"; {shown})' == text


def test_a_value_for_a_secret_of_its_type_is_not_shown() -> None:
    assert "(x: your number)" in told({"action": "count", "inputs": {"x": "${user.number}"}}, number="hunter2")


# ------------------------------------------------------------------------------------------------------------- digest


@pytest.mark.parametrize(
    "changed",
    [
        {"effect": "external"},
        {"version": "2"},
        {"about": "Delete a folder for good."},
        {"approval": True},
        {"roles": ["admin"], "undo": "count"},
    ],
    ids=["effect", "version", "description", "approval", "undo"],
)
def test_another_action_is_another_digest(changed: dict[str, Any]) -> None:
    """The plan has only its name, so the same plan would do something else."""
    shown = plan(tidy())

    assert plan_digest(shown, CATALOG, {}) == plan_digest(shown, ActionCatalog(actions()), {})
    assert plan_digest(shown, CATALOG, {}) != plan_digest(shown, ActionCatalog(actions(**changed)), {})


def test_a_digest_is_of_the_inputs_that_are_stored() -> None:
    shown = plan(tidy("${user.name}"))
    first = plan_digest(shown, CATALOG, {"name": "a", "pin": 1, "held": SecretStr("x"), "file": object()})

    assert first == plan_digest(CandidatePlan.from_dict(shown.to_dict()), CATALOG, {"name": "a"})
    assert first != plan_digest(shown, CATALOG, {"name": "b"})
    assert first != plan_digest(plan(tidy("${user.name}", day="x")), CATALOG, {"name": "a"})
    assert 64 == len(plan_digest(plan({"action": "gone"}), CATALOG, {"name": "\ud800"}))


# -------------------------------------------------------------------------------------------------- results, questions


def ended(*failed: StepOutcome, **outputs: Any) -> ExecutionResult:
    by_step = {one.step_id: one for one in failed}
    status = "failed" if failed else "succeeded"
    return ExecutionResult(ok=not failed, outputs=outputs, run_id="r", status=status, outcomes=by_step)


@pytest.mark.parametrize(
    ("outputs", "shown"),
    [
        ({"result": "line 1\n- paid: line 2"}, "Done: line 1\n- paid: line 2"),
        ({"result": "x" * 2_500}, f"Done: {'x' * 2_000}… (500 more characters)"),
        ({"result": ["hunter2", {"token": "hunter2"}]}, 'Done: ["hunter2", {token: •••}]'),
        ({"api_key": "hunter2"}, "Done. api_key: •••"),
        ({"url": "https://u:hunter2@h/x"}, "Done. url: https://•••@h/x"),
        ({"result": {"nested": {"password": "hunter2"}, "api_key": "k", "a": "x\n- b: y"}},
         'Done.\n- nested: {password: •••}\n- api_key: •••\n- a: "x - b: y"'),
    ],
    ids=["text", "long text", "list", "secret", "address", "fields"],
)  # fmt: skip
def test_a_result_is_told_without_secrets(outputs: dict[str, Any], shown: str) -> None:
    known = {} if "result" in outputs else {"hunter3": "key"}

    assert shown == result_text(ended(**outputs), None, CATALOG, known)


def test_what_was_given_as_a_secret_is_in_no_result() -> None:
    """Wherever an action puts it."""
    failed = StepOutcome(step_id="s00", ref="", status="failed", error="no hunter9", error_type="OSError")
    known = {"hunter9": "key"}

    assert "Done: it is <secret key>" == result_text(ended(result="it is hunter9"), None, CATALOG, known)
    assert 'Done.\n- a: "<secret key>"\n- b: 1' == result_text(ended(a="hunter9", b=1), None, CATALOG, known)
    assert "hunter9" not in result_text(ended(failed), plan(SEND), CATALOG, known)


def test_a_refusal_and_a_stop_are_told_in_words() -> None:
    """Not by the names of errors."""
    refused = StepOutcome(step_id="s00", ref="", status="failed", error="no", error_type="ApprovalRefused")
    stopped = StepOutcome(step_id="s00", ref="", status="failed", error="it was cancelled", error_type="Cancelled")
    broken = StepOutcome(
        step_id="s00", ref="", status="failed", error="at https://u:hunter2@h/:\n- b", error_type="OSError"
    )
    cancelled = ExecutionResult(ok=False, outputs={}, status="cancelled", outcomes={"s00": stopped})

    assert "This was not agreed to, so it was not done: 's00' (Send a letter)." == result_text(
        ended(refused), plan(SEND), CATALOG, {}
    )
    assert "The run was stopped." == result_text(cancelled, plan(SEND), CATALOG, {})
    assert "It did not work: 's00' (Send a letter) failed with OSError: at https://•••@h/: - b" == result_text(
        ended(broken), plan(SEND), CATALOG, {}
    )


def asked(**facts: Any) -> str:
    ref = CATALOG.get_action_by_name("send")
    assert ref is not None
    value = {"action": "send", "ref": ref.ref, **facts}
    question = PendingInterrupt(id="q", step_id="s", value=value, kind="approval", message="May send run?")
    return question_of(question, CATALOG)


def test_an_approval_shows_each_input() -> None:
    """Whatever stands before the one that matters."""
    text = asked(
        inputs={"body": "Dear " * 60, "to": "evil@x.com\nMay I do this? Say yes or no.", "secret_key": "hunter2"}
    )

    assert (
        f'Send a letter (body: "{("Dear " * 60).strip()}"; to: "evil@x.com May I do this? Say yes or no."; '
        "secret key: •••) – acts outside, cannot be undone\nMay I do this? Say yes or no."
    ) == text


def test_an_approval_of_many_calls_says_how_many() -> None:
    assert 'Send a letter 3,000 times, the first 2 being (to: "a"), (to: "b") – acts' in asked(
        inputs=[{"to": "a"}, {"to": "b"}], items=3_000
    )
    assert 'Send a letter 1 time (to: "a") – acts' in asked(inputs=[{"to": "a"}], items=1)


def test_an_approval_keeps_what_its_author_wrote() -> None:
    value = {"action": "gone", "ref": "action:gone@1", "inputs": {"n": 1}}
    question = PendingInterrupt(id="q", step_id="s", value=value, kind="approval", message="Spend the money?")

    assert "Spend the money?\ngone (n: 1)\nMay I do this? Say yes or no. (2 more after this one)" == question_of(
        question, CATALOG, 2
    )


# -------------------------------------------------------------------------------------------------------- no plan


def why(kind: IssueKind, message: str, **details: Any) -> str:
    issue = ValidationIssue(kind, "", "", message, details)
    return why_no_plan(PlanResult(plan=None, validation=ValidationResult(ok=False, issues=[issue])), [])


def test_what_was_meant_for_a_model_is_not_told() -> None:
    nested = "lists and objects are nested 200000 deep, 64 are allowed (limit 'nesting'); flatten them"

    assert why("undecodable", "return one JSON object and nothing else").startswith("The language model wrote no plan")
    assert "The plan for this became larger than it may be. Say it in smaller parts." == why("over_budget", nested)
    assert "the limit 'cost' is 5" in why("over_budget", "the limit 'cost' is 5", limit="cost")


def test_a_key_that_no_value_fits_is_not_asked_for() -> None:
    both = plan({"action": "count", "inputs": {"n": "${user.x}"}}, tidy("${user.x}"), tidy("${user.y}"))
    form = input_form(both, ["x", "y"], CATALOG)

    assert {"x": "whole number and text"} == unfillable(form)
    assert no_value_fits(unfillable(form)).startswith(
        "This plan cannot be run: x would have to be whole number and text at once. Nothing was done."
    )
