"""Steps that a person has to agree to: what is shown, who is asked when, and what an answer does."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from pydantic import SecretStr
from typing_extensions import TypedDict

from planner.catalog import Approval, action
from planner.context import RequestIdentity
from planner.errors import InvalidAnswer, NotEntitled
from planner.execution import ExecutionResult, PendingInterrupt, PlanExecutor
from planner.execution.people import (
    NOBODY_ANSWERED,
    check_answer,
    expired,
    may_answer,
    next_deadline,
    read_question,
)
from planner.execution.run_fields import answer_field
from planner.execution.run_records import ANSWER
from planner.limits import Limits
from tests.support.run_services import memory_stores
from tests.support.running import Runner, make_plan

PAYMENTS = make_plan(
    *({"id": name, "action": "pay", "inputs": {"amount": amount}} for amount, name in enumerate("abc", 1)),
    {"id": "total", "action": "add", "inputs": {"parts": ["${a}", "${b}", "${c}"]}},
    outputs={"total": "${total}"},
)
ONE = make_plan({"id": "p", "action": "pay", "inputs": {"amount": 5}}, outputs={"paid": "${p}"})


class Till:
    """Actions that pay, and what was paid."""

    def __init__(self, **options: Any) -> None:
        self.paid: list[int] = []

        @action(**({"approval": True, "effect": "external", "undo": "refund"} | options))
        async def pay(amount: int) -> int:
            self.paid.append(amount)
            return amount

        @action
        async def add(parts: list[int]) -> int:
            return sum(parts)

        @action
        async def refund(amount: int) -> None: ...

        self.actions = (pay, add, refund)

    def runner(self, saver: Any, **options: Any) -> Runner:
        return Runner(*self.actions, saver=saver, **options)


def asked(result: ExecutionResult) -> dict[str, PendingInterrupt]:
    """What a run waits for, by step."""
    assert "waiting" == result.status
    return {one.step_id: one for one in result.interrupts}


@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
async def test_several_approvals_are_answered_in_any_order(order: Sequence[str]) -> None:
    """Each life of the run answers one, in another process; what was approved runs once."""
    till, saver = Till(), InMemorySaver()
    result = await till.runner(saver).run(PAYMENTS)
    questions = asked(result)
    assert {"a", "b", "c"} == set(questions)
    for at, step_id in enumerate(order):
        assert at == len(till.paid)
        result = await till.runner(saver).run(PAYMENTS, answers={questions[step_id].id: True})
        left = {one.step_id: one for one in result.interrupts}
        assert {name: questions[name] for name in order[at + 1 :]} == left

    assert ({"total": 6}, [1, 2, 3]) == (result.outputs, sorted(till.paid))


async def test_all_approvals_may_be_answered_at_once() -> None:
    """Some with a yes, one with a no; an independent step goes on when failures do not stop the run."""
    till, saver = Till(), InMemorySaver()
    questions = asked(await till.runner(saver).run(PAYMENTS, stop_on_failure=False))
    answers = {questions["a"].id: True, questions["b"].id: False, questions["c"].id: {"approve": True}}
    result = await till.runner(saver).run(PAYMENTS, answers=answers, stop_on_failure=False)

    statuses = {step_id: outcome.status for step_id, outcome in result.outcomes.items()}
    assert {"a": "succeeded", "b": "failed", "c": "succeeded", "total": "skipped"} == statuses
    assert [1, 3] == sorted(till.paid)


async def test_a_refused_step_fails_with_the_reason() -> None:
    """It is a failure like any other, so the run fails; nothing was called."""
    till, saver = Till(), InMemorySaver()
    question = asked(await till.runner(saver).run(ONE))["p"]
    answer = check_answer(question, {"approve": False, "reason": "too dear"})
    result = await till.runner(saver).run(ONE, answers={question.id: answer})

    outcome = result.outcomes["p"]
    assert ("failed", []) == (result.status, till.paid)
    assert ("failed", "ApprovalRefused", "too dear") == (outcome.status, outcome.error_type, outcome.error)


async def test_a_refused_optional_step_fails_nothing_else() -> None:
    """As when it had failed."""
    till, saver = Till(), InMemorySaver()
    plan = make_plan(
        {"id": "p", "action": "pay", "inputs": {"amount": 5}, "optional": True},
        {"id": "s", "action": "add", "inputs": {"parts": [1, 2]}},
        outputs={"sum": "${s}"},
    )
    question = asked(await till.runner(saver).run(plan))["p"]
    result = await till.runner(saver).run(plan, answers={question.id: False})

    assert (True, {"sum": 3}, "failed") == (result.ok, result.outputs, result.outcomes["p"].status)


async def test_a_person_sees_what_is_about_to_happen() -> None:
    """Inputs as they are after binding, cut short; the effect, the cost, and what can be undone."""
    till, saver = Till(cost=2.5, approval=Approval(message="Pay the bill?", roles="treasurer")), InMemorySaver()
    question = asked(await till.runner(saver).run(ONE))["p"]

    assert ("approval", "Pay the bill?", ("treasurer",)) == (question.kind, question.message, question.roles)
    facts = {name: question.value[name] for name in ("action", "ref", "effect", "inputs", "cost", "undo")}
    assert {
        "action": "pay",
        "ref": "action:pay@0.1.0",
        "effect": "external",
        "inputs": {"amount": 5},
        "cost": {"amount": 2.5, "seconds": 0.0, "tokens": 0},
        "undo": "refund",
    } == facts


async def test_no_secret_is_in_a_question() -> None:
    """Neither as a value of its own, nor inside a text, nor in the event that tells of it."""

    @action(approval=True)
    async def send(token: SecretStr, text: str, parts: list[str]) -> int:
        return len(parts)

    saver = InMemorySaver()
    runner = Runner(send, saver=saver)
    inputs = {"token": "${user.token}", "text": "with ${user.token}", "parts": "${user.parts}"}
    user = {"token": SecretStr("hunter2"), "parts": ["x" * 5000] * 40}
    result = await runner.run(make_plan({"id": "s", "action": "send", "inputs": inputs}), user_inputs=user)

    shown = asked(result)["s"].value["inputs"]
    assert ("**********", "with <secret token>") == (shown["token"], shown["text"])
    assert (11, "… 30 more") == (len(shown["parts"]), shown["parts"][-1])
    assert all(len(part) < 400 for part in shown["parts"])
    held = await saver.aget_tuple({"configurable": {"thread_id": "run-1"}})
    assert "hunter2" not in repr(held) + repr(runner.events)


async def test_a_mapped_step_is_approved_once() -> None:
    """For all its items; a person sees how many there are, and the first of them."""
    till, saver = Till(), InMemorySaver()
    plan = make_plan(
        {"id": "p", "action": "pay", "for_each": [1, 2, 3, 4, 5], "inputs": {"amount": "${item}"}},
        outputs={"all": "${p}"},
    )
    waiting = await till.runner(saver).run(plan)
    question = asked(waiting)["p"]
    assert (1, 5) == (len(waiting.interrupts), question.value["items"])
    assert [{"amount": 1}, {"amount": 2}, {"amount": 3}] == question.value["inputs"]
    result = await till.runner(saver).run(plan, answers={question.id: True})

    assert ({"all": [1, 2, 3, 4, 5]}, [1, 2, 3, 4, 5]) == (result.outputs, sorted(till.paid))


async def test_a_flow_is_approved_before_it_begins() -> None:
    """And asks nothing more when it is resumed."""

    class State(TypedDict):
        amount: int

    def count(state: State) -> State:
        return {"amount": state["amount"] + 1}

    graph = StateGraph(State).add_node("n", count).add_edge(START, "n")
    runner = Runner(saver=InMemorySaver())
    runner.catalog.add_flow(graph, name="pay", approval=True)
    plan = make_plan({"id": "p", "action": "pay", "inputs": {"amount": 5}}, outputs={"paid": "${p.amount}"})
    question = asked(await runner.run(plan))["p"]

    assert {"paid": 6} == (await runner.run(plan, answers={question.id: True})).outputs


async def test_an_effect_may_need_approval_whatever_the_action_says() -> None:
    """A policy of the application; other effects are left alone."""
    till, saver = Till(approval=False), InMemorySaver()
    runner = till.runner(saver)
    runner.executor.approve_effects = frozenset({"external"})
    plan = make_plan(
        {"id": "p", "action": "pay", "inputs": {"amount": 5}}, {"id": "s", "action": "add", "inputs": {"parts": [1]}}
    )
    question = asked(await runner.run(plan))["p"]
    assert (["s"], []) == ([step for step in ("p", "s") if "step_success" in runner.phases(step)], till.paid)

    assert (await runner.run(plan, answers={question.id: True})).ok


async def test_a_policy_without_a_checkpointer_is_refused() -> None:
    """Nothing runs, since nobody could be asked."""
    till = Till(approval=False)
    runner = till.runner(None)
    runner.executor.approve_effects = frozenset({"external"})
    result = await runner.run(ONE)

    assert ([], "failed") == (till.paid, result.status)
    assert "ApprovalRequired: p (pay)" in (result.errors[0].error or "")


async def test_who_waits_for_a_person_keeps_nobody_else_out() -> None:
    """It holds no place of the run's, nor of its action's."""
    till, saver = Till(max_concurrency=1), InMemorySaver()
    runner = till.runner(saver, limits=Limits(concurrency=1))
    plan = make_plan(
        {"id": "p", "action": "pay", "inputs": {"amount": 5}, "priority": -1},
        {"id": "q", "action": "pay", "inputs": {"amount": 6}},
        {"id": "s", "action": "add", "inputs": {"parts": [1]}},
    )
    questions = asked(await runner.run(plan))

    assert ({"p", "q"}, 1) == (set(questions), runner.phases("s").count("step_success"))


async def test_a_dry_run_asks_nobody() -> None:
    """It shows that somebody would be asked."""
    result = await Till().runner(InMemorySaver()).run(ONE, dry_run=True)

    assert result.preview is not None
    assert (("p",), ()) == (result.preview.estimate.approvals, result.interrupts)


async def test_a_run_that_ends_while_it_waits_skips_what_was_not_approved() -> None:
    """Nobody is asked for an answer that would be thrown away."""

    @action
    async def boom() -> int:
        raise ValueError("no")

    till = Till()
    runner = Runner(*till.actions, boom, saver=InMemorySaver())
    plan = make_plan({"id": "p", "action": "pay", "inputs": {"amount": 5}}, {"id": "b", "action": "boom"})
    result = await runner.run(plan)

    assert ("failed", (), "skipped") == (result.status, result.interrupts, result.outcomes["p"].status)


@pytest.mark.parametrize(("on_timeout", "status"), [("refuse", "failed"), ("approve", "succeeded")])
async def test_the_deadline_decides_when_nobody_does(on_timeout: Any, status: str) -> None:
    """It is counted from when it was asked first, and does not move when the run goes on for another reason."""
    approval = Approval(deadline=timedelta(hours=1), on_timeout=on_timeout)
    till, saver = Till(approval=approval), InMemorySaver()
    before = datetime.now(UTC)
    question = asked(await till.runner(saver).run(ONE))["p"]
    again = asked(await till.runner(saver).run(ONE))["p"]
    deadline = question.deadline
    assert deadline is not None
    assert question == again
    assert timedelta(hours=1) <= deadline - before < timedelta(hours=2)
    assert ({}, deadline) == (expired([question], deadline - timedelta(seconds=1)), next_deadline([question]))
    result = await till.runner(saver).run(ONE, answers=expired([question], deadline))

    assert status == result.outcomes["p"].status
    assert (result.outcomes["p"].error or "nobody answered in time") == "nobody answered in time"


async def test_a_question_is_read_from_the_checkpoint_alone() -> None:
    """By a process that has no catalog and did not ask."""
    saver = InMemorySaver()
    question = asked(await Till(approval=Approval(deadline=timedelta(days=1))).runner(saver).run(ONE))["p"]
    held = await saver.aget_tuple({"configurable": {"thread_id": "run-1"}})
    assert held is not None
    found = [one for _, channel, value in held.pending_writes or () if channel == "__interrupt__" for one in value]

    assert {question.id} == {one.id for one in found}
    assert all(read_question(one.id, one.value) == question for one in found)


@pytest.mark.parametrize("answer", ["yes", 1, None, {"reason": "x"}, {"approve": "no"}, {"approve": True, "by": 1}])
async def test_an_answer_that_is_no_verdict_is_refused(answer: Any) -> None:
    """And names the question."""
    question = asked(await Till().runner(InMemorySaver()).run(ONE))["p"]

    with pytest.raises(InvalidAnswer, match=question.id):
        check_answer(question, answer)


def person(user: str, *roles: str, tenant: str = "acme") -> RequestIdentity:
    return RequestIdentity(user_id=user, org_id=tenant, roles=roles)


@pytest.mark.parametrize(
    ("roles", "identity", "allowed"),
    [
        ((), person("ann"), True),
        ((), person("bob", "boss"), False),
        ((), person("ann", tenant="other"), False),
        (("boss", "chief"), person("bob", "clerk", "boss"), True),
        (("boss",), person("ann"), False),
        (("boss",), person("bob", "boss", tenant="other"), False),
    ],
    ids=["owner", "another", "same name elsewhere", "role", "owner without the role", "role elsewhere"],
)
def test_who_may_answer(roles: Sequence[str], identity: RequestIdentity, *, allowed: bool) -> None:
    """The owner, or whoever of the tenant has one of the roles that are named."""
    question = PendingInterrupt(id="q", step_id="p", value=None, kind="approval", roles=roles)

    assert allowed == may_answer(question, identity, person("ann"))


async def test_whoever_runs_the_plan_again_may_not_answer_for_somebody_else() -> None:
    """The roles of a question hold wherever an answer is given; nothing runs."""
    till, saver = Till(approval=Approval(roles=("boss",))), InMemorySaver()
    question = asked(await till.runner(saver).run(ONE))["p"]
    with pytest.raises(NotEntitled, match="boss"):
        await till.runner(saver).run(ONE, answers={question.id: True})
    assert [] == till.paid
    boss = till.runner(saver, identity=RequestIdentity(roles=("boss",)))

    assert (True, [5]) == ((await boss.run(ONE, answers={question.id: True})).ok, till.paid)


@pytest.mark.parametrize("answer", [NOBODY_ANSWERED, {"approve": True, "reason": "x" * 5_000}], ids=["nobody", "large"])
async def test_an_answer_given_with_the_plan_is_checked_like_any_other(answer: Any) -> None:
    """Nobody but the deadline says that nobody answered, and what is stored has a bound."""
    till, saver = Till(), InMemorySaver()
    runner = till.runner(saver, limits=Limits(literal_bytes=1_000))
    question = asked(await runner.run(ONE))["p"]
    with pytest.raises(InvalidAnswer, match=question.id):
        await runner.run(ONE, answers={question.id: answer})

    assert [] == till.paid


async def test_the_first_answer_counts_also_when_another_is_given_with_the_plan() -> None:
    """What was recorded is not overruled by whoever runs the plan again."""
    till, stores, run_id = Till(), memory_stores(), "run-1"
    runner = till.runner(InMemorySaver())
    runner.executor = PlanExecutor(runner.catalog, runner.executor.checkpointer, stores=stores)
    question = asked(await runner.run(ONE, run_id))["p"]
    refused = answer_field({"approve": False, "reason": "no"}, 1, stores.codec)
    await stores.live.tell(run_id, f"{ANSWER}{question.id}", refused, at_most=frozenset({"waiting"}))
    result = await runner.run(ONE, run_id, answers={question.id: True})
    runner.executor.close()

    assert ("ApprovalRefused", []) == (result.outcomes["p"].error_type, till.paid)


@pytest.mark.parametrize("wrong", [{"deadline": timedelta(0)}, {"on_timeout": "ignore"}], ids=str)
def test_an_approval_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """Where it is written."""
    with pytest.raises(ValueError, match=r"deadline|on_timeout"):
        Approval(**wrong)
