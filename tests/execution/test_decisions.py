"""An action that must not run twice and was in flight at a crash: a person decides what became of it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Interrupt
from pydantic import AfterValidator, BaseModel

from planner.catalog import ActionContext, action
from planner.errors import InvalidAnswer
from planner.execution import PendingInterrupt
from planner.execution.earlier import Earlier
from planner.execution.people import check_answer, question_value
from tests.support.running import Runner, make_plan

DRIVER = Path(__file__).with_name("decision_driver.py")
ROOT = Path(__file__).parents[2]
KILLED = {"code": -signal.SIGKILL}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each life of four runs told: killed in the action, resumed, decided."""
    command = [sys.executable, str(DRIVER), str(tmp_path_factory.mktemp("decide"))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=110, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["retry", "succeeded", "failed"])
def test_a_run_that_was_killed_in_the_action_asks_what_became_of_it(story: dict[str, Any], name: str) -> None:
    """And does not run it meanwhile; a person sees with which inputs it ran."""
    killed, waiting, _ = story[name]

    assert (KILLED, "waiting", 1) == (killed, waiting["status"], waiting["paid"])
    assert [["unknown", "p", {"amount": 5}]] == waiting["asks"]


def test_retry_runs_it_again(story: dict[str, Any]) -> None:
    """A person knows that it took no effect."""
    *_, last = story["retry"]

    assert ("succeeded", {"doubled": 10}, 2) == (last["status"], last["outputs"], last["paid"])


def test_succeeded_goes_on_with_the_value_that_is_given(story: dict[str, Any]) -> None:
    """As if the action had returned it."""
    *_, last = story["succeeded"]

    assert ("succeeded", {"doubled": 14}, 1) == (last["status"], last["outputs"], last["paid"])


def test_failed_is_a_failure_with_the_words_that_are_given(story: dict[str, Any]) -> None:
    """As if the action had raised it."""
    *_, last = story["failed"]

    assert ("failed", 1) == (last["status"], last["paid"])
    assert ["failed", "DecidedFailed", "the bank says no"] == last["ended"]["p"]


def test_another_crash_asks_again(story: dict[str, Any]) -> None:
    """The decision to retry was about the first one."""
    first, second, waiting, last = story["again"]

    assert (KILLED, KILLED) == (first, second)
    assert ("waiting", 2, [["unknown", "p", {"amount": 5}]]) == (waiting["status"], waiting["paid"], waiting["asks"])
    assert ({"doubled": 16}, 2) == (last["outputs"], last["paid"])


class _Crash(BaseException):
    """Ends a life of a run without recording anything, as a kill would."""


def _no_debt(number: int) -> int:
    if number < 0:
        raise ValueError("a debt is no receipt")
    return number


class Receipt(BaseModel):
    number: Annotated[int, AfterValidator(_no_debt)]


class Bank:
    """Actions that must not run twice; each call crashes as long as `down`."""

    def __init__(self) -> None:
        self.saver = InMemorySaver()
        self.down = True
        self.ran: list[int] = []

        @action(idempotent="no", effect="external")
        async def pay(amount: int) -> Receipt:
            self.ran.append(amount)
            if self.down:
                raise _Crash
            return Receipt(number=amount)

        @action(idempotent="no", effect="external")
        async def confirm(ctx: ActionContext) -> int:
            answer = ctx.ask("which code?", int)
            self.ran.append(answer)
            if self.down:
                raise _Crash
            return answer

        @action
        async def boom() -> int:
            raise ValueError("no")

        self.actions = (pay, confirm, boom)

    def runner(self) -> Runner:
        return Runner(*self.actions, saver=self.saver)

    async def crash(self, plan: Any, **options: Any) -> None:
        self.down = True
        with pytest.raises(_Crash):
            await self.runner().run(plan, **options)
        self.down = False


PAY = make_plan({"id": "p", "action": "pay", "inputs": {"amount": 5}}, outputs={"number": "${p.number}"})


async def _undecided(bank: Bank, plan: Any = PAY) -> PendingInterrupt:
    await bank.crash(plan)
    (question,) = (await bank.runner().run(plan)).interrupts
    return question


@pytest.mark.parametrize(
    "decision",
    [
        None,
        "retry",
        {"decision": "perhaps"},
        {"decision": "succeeded"},
        {"decision": "succeeded", "value": 5},
        {"decision": "succeeded", "value": {"number": "five"}},
        {"decision": "failed", "error": 5},
        {"decision": "retry", "by": "me"},
    ],
    ids=str,
)
async def test_a_decision_that_does_not_fit_is_refused(decision: Any) -> None:
    """Also a value that the action could not have returned."""
    with pytest.raises(InvalidAnswer):
        check_answer(await _undecided(Bank()), decision)


async def test_a_value_that_is_decided_on_is_checked_as_what_an_action_returns() -> None:
    """In the end by the process that has the catalog, since a schema says less than a type may check."""
    bank = Bank()
    question = await _undecided(bank)
    decision = check_answer(question, {"decision": "succeeded", "value": {"number": -1}})
    outcome = (await bank.runner().run(PAY, answers={question.id: decision})).outcomes["p"]
    assert ("failed", "BindingError") == (outcome.status, outcome.error_type)

    bank = Bank()
    question = await _undecided(bank)
    decision = check_answer(question, {"decision": "succeeded", "value": {"number": 9}})
    assert {"number": 9} == (await bank.runner().run(PAY, answers={question.id: decision})).outputs


async def test_what_is_undecided_when_the_run_ends_is_unknown() -> None:
    """Something else failed, so nobody is asked any more; in a life that asked, and in one that did not get to it."""
    bank = Bank()
    plan = make_plan(
        {"id": "p", "action": "pay", "inputs": {"amount": 5}}, {"id": "b", "action": "boom", "after": ["p"]}
    )
    beside = make_plan({"id": "p", "action": "pay", "inputs": {"amount": 5}}, {"id": "b", "action": "boom"})
    await bank.crash(beside)
    result = await bank.runner().run(beside)
    assert ("failed", "unknown", "UnknownOutcome") == (
        result.status,
        result.outcomes["p"].status,
        result.outcomes["p"].error_type,
    )

    bank = Bank()
    await _undecided(bank, plan)
    result = await _cancelled(bank.runner(), plan)
    assert ("cancelled", "unknown") == (result.status, result.outcomes["p"].status)
    assert [5] == bank.ran


async def _cancelled(runner: Runner, plan: Any) -> Any:
    """Cancel a run as soon as it has begun in this process."""
    listen = runner.listen

    def cancel(event: Any) -> None:
        listen(event)
        if event.phase == "start":
            runner.executor.cancel("run-1")

    runner.listen = cancel
    return await runner.run(plan)


@pytest.mark.parametrize("crashes", [1, 2], ids=["in flight", "in flight and asked"])
async def test_a_run_that_is_cancelled_does_not_say_that_a_call_in_flight_was_skipped(crashes: int) -> None:
    """Nobody knows, so it is unknown; whether or not a person was asked."""
    bank = Bank()
    await bank.crash(PAY)
    if crashes == 2:
        await bank.runner().run(PAY)
    result = await _cancelled(bank.runner(), PAY)

    assert ("cancelled", "unknown", [5]) == (result.status, result.outcomes["p"].status, bank.ran)


async def test_each_item_in_flight_is_decided_by_itself() -> None:
    """In any order, over two lives."""
    bank = Bank()
    plan = make_plan(
        {"id": "p", "action": "pay", "for_each": [1, 2], "inputs": {"amount": "${item}"}},
        outputs={"all": "${p.number}"},
    )
    await bank.crash(plan)
    waiting = await bank.runner().run(plan)
    by_call = {one.value["call"]: one for one in waiting.interrupts}
    ran = list(bank.ran)
    assert {f"p[{amount - 1}]" for amount in ran} == set(by_call)
    result = waiting
    for name in sorted(by_call, reverse=True):
        decision = {"decision": "succeeded", "value": {"number": 10 * by_call[name].value["inputs"]["amount"]}}
        result = await bank.runner().run(plan, answers={by_call[name].id: decision})

    assert {"all": [10 * amount if amount in ran else amount for amount in (1, 2)]} == result.outputs


async def test_an_action_that_asked_is_not_taken_for_one_in_flight() -> None:
    """It waited for the answer; only a crash after that leaves its outcome unknown."""
    bank = Bank()
    plan = make_plan({"id": "c", "action": "confirm"}, outputs={"code": "${c}"})
    bank.down = False
    (question,) = (await bank.runner().run(plan)).interrupts
    assert (question,) == (await bank.runner().run(plan)).interrupts
    await bank.crash(plan, answers={question.id: 4})
    assert [4] == bank.ran
    (unknown,) = (await bank.runner().run(plan, answers={question.id: 4})).interrupts
    assert "unknown" == unknown.kind
    result = await bank.runner().run(plan, answers={unknown.id: {"decision": "retry"}})

    assert ({"code": 4}, [4, 4]) == (result.outputs, bank.ran)


async def test_a_run_that_is_cancelled_while_its_action_asks_skips_it() -> None:
    """It waited, so nothing of it is unknown."""
    bank = Bank()
    plan = make_plan({"id": "c", "action": "confirm"})
    bank.down = False
    await bank.runner().run(plan)
    result = await _cancelled(bank.runner(), plan)

    assert ("cancelled", "skipped") == (result.status, result.outcomes["c"].status)


async def test_another_policy_at_the_resume_does_not_lose_what_was_begun() -> None:
    """Whether somebody has to agree is no part of how the calls inside a step are numbered."""
    bank = Bank()
    await bank.crash(PAY)
    runner = bank.runner()
    runner.executor.approve_effects = frozenset({"external"})
    (approval,) = (await runner.run(PAY)).interrupts
    assert "approval" == approval.kind
    (unknown,) = (await runner.run(PAY, answers={approval.id: True})).interrupts

    assert ("unknown", [5]) == (unknown.kind, bank.ran)


@pytest.mark.parametrize("returned", [True, False])
def test_what_a_task_asked_before_it_returned_is_no_open_question(returned: bool) -> None:  # noqa: FBT001 - a parameter
    """Its interrupt stays in the checkpoint beside its result."""
    value = question_value("unknown", "p", "what became of it?")
    writes: list[Any] = [("task", "__interrupt__", [Interrupt(value=value, id="q")]), ("task", "__resume__", ["retry"])]
    if returned:
        writes.append(("task", "__return__", {"answer": "retry"}))
    earlier = Earlier()
    earlier.read(cast("Any", SimpleNamespace(pending_writes=writes)))

    assert (set() if returned else {"q"}, set() if returned else {"p"}) == (set(earlier.questions), earlier.undecided)
    assert (True, {"task": 1}) == (earlier.any, earlier.answers)
