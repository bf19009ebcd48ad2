"""What goes wrong in an action becomes an outcome that names the place, and nothing that was done is lost."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

from planner.catalog import ActionContext, Cost, action
from planner.context import RunContext
from planner.execution import RunRequest
from planner.limits import Limits
from planner.plan import CandidatePlan
from tests.support.running import Runner, make_plan


@action
async def ok(a: Any = 1) -> Any:
    return a


@action
async def boom(a: Any = 1) -> Any:
    raise ValueError("no such thing")


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets threads of abandoned actions end with the test."""
    event = threading.Event()
    yield event
    event.set()


async def test_completed_outputs_survive_a_failure() -> None:
    """A10: the result keeps them, and says which step failed with what."""
    runner = Runner(ok, boom, saver=InMemorySaver())
    plan = make_plan(
        {"id": "good", "action": "ok", "inputs": {"a": 5}},
        {"id": "bad", "action": "boom", "inputs": {"a": "${good}"}},
        {"id": "rest", "action": "ok", "inputs": {"a": "${bad}"}},
        outputs={"x": "${good}", "y": "${rest}"},
    )
    result = await runner.run(plan)

    assert ("failed", False) == (result.status, result.ok)
    assert {"x": 5} == result.outputs
    assert {"good": {"result": 5}} == result.step_outputs
    assert ["step_failure", "failure"] == [event.phase for event in result.errors]
    assert "step 'bad': ValueError: no such thing" == result.errors[1].error
    assert ("skipped", "dependency") == (result.outcomes["rest"].status, result.outcomes["rest"].reason)


async def test_after_a_failure_nothing_new_starts_unless_asked() -> None:
    """`stop_on_failure=False` lets what does not depend on it go on."""
    plan = make_plan(
        {"id": "bad", "action": "boom"},
        {"id": "first", "action": "ok", "after": [{"step": "bad", "required": False}]},
        {"id": "next", "action": "ok", "inputs": {"a": "${first}"}},
    )
    stopped = await Runner(ok, boom).run(plan)
    went_on = await Runner(ok, boom).run(plan, stop_on_failure=False)

    assert "stopped" == stopped.outcomes["first"].reason
    assert "succeeded" == went_on.outcomes["next"].status
    assert not went_on.ok


async def test_running_steps_may_finish_within_the_grace_after_a_failure() -> None:
    """What was already working is not wasted."""
    failed = asyncio.Event()

    @action
    async def slow() -> int:
        async with asyncio.timeout(10):
            await failed.wait()
        return 7

    runner = Runner(slow, boom)
    plan = make_plan({"id": "s", "action": "slow"}, {"id": "b", "action": "boom"})

    def listen(event: Any) -> None:
        if event.phase == "step_failure":
            failed.set()

    context = RunContext(run_id="r")
    result = await runner.executor.execute(RunRequest(plan=plan, context=context, on_event=listen))

    assert "succeeded" == result.outcomes["s"].status


async def test_steps_that_overrun_the_grace_are_cancelled() -> None:
    """Their outcome says so."""

    @action
    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    runner = Runner(hang, boom, limits=Limits(grace=timedelta(0)))
    result = await runner.run(make_plan({"id": "a", "action": "hang"}, {"id": "b", "action": "boom"}))

    assert "cancelled" == result.outcomes["a"].status


async def test_an_optional_failure_skips_what_depends_on_it_and_fails_nothing() -> None:
    """What only comes after it and does not mind goes on."""
    plan = make_plan(
        {"id": "bad", "action": "boom", "optional": True},
        {"id": "needs", "action": "ok", "inputs": {"a": "${bad}"}},
        {"id": "after", "action": "ok", "after": ["bad"]},
        {"id": "any", "action": "ok", "after": [{"step": "bad", "required": False}]},
    )
    result = await Runner(ok, boom).run(plan)

    assert result.ok
    statuses = {name: (outcome.status, outcome.reason) for name, outcome in result.outcomes.items()}
    assert {
        "bad": ("failed", None),
        "needs": ("skipped", "dependency"),
        "after": ("skipped", "dependency"),
        "any": ("succeeded", None),
    } == statuses


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("eq", 5, True), ("eq", 6, False), ("ne", 6, True), ("lt", 6, True), ("le", 5, True), ("gt", 5, False),
        ("ge", 5, True), ("in", [5, 6], True), ("not_in", [5], False), ("exists", None, True), ("truthy", None, True),
        ("eq", "${five}", True),
    ],
)  # fmt: skip
async def test_a_condition_decides_whether_a_step_runs(op: str, value: Any, expected: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Where it is false the step is skipped, with what needs its data; what comes after it is not."""
    plan = make_plan(
        {"id": "five", "action": "ok", "inputs": {"a": 5}},
        {"id": "if", "action": "ok", "inputs": {"a": 1}, "when": {"ref": "${five}", "op": op, "value": value}},
        {"id": "needs", "action": "ok", "inputs": {"a": "${if}"}},
        {"id": "after", "action": "ok", "after": ["if"]},
        {"id": "later", "action": "ok", "after": ["needs"]},
        outputs={"if": "${if}"},
    )
    result = await Runner(ok).run(plan)

    assert result.ok
    status = "succeeded" if expected else "skipped"
    assert [status, status, "succeeded", "succeeded"] == [
        result.outcomes[step].status for step in ("if", "needs", "after", "later")
    ]
    assert expected == ("if" in result.outputs)


async def test_a_date_is_compared_with_the_text_of_one() -> None:
    """JSON has no dates, so a plan can only write one as text; text that is none fails the step."""

    @action
    async def today() -> date:
        return date(2026, 11, 20)

    def plan(value: str) -> CandidatePlan:
        when = {"ref": "${d}", "op": "gt", "value": value}
        return make_plan({"id": "d", "action": "today"}, {"id": "s", "action": "ok", "when": when})

    statuses = [
        (await Runner(ok, today).run(plan(value))).outcomes["s"].status for value in ("2026-01-01", "2027-01-01", "x")
    ]
    assert ["succeeded", "skipped", "failed"] == statuses


async def test_a_condition_on_what_is_not_there_is_false_for_exists_and_fails_otherwise() -> None:
    """The failure names the place."""
    source = {"id": "s", "action": "ok", "inputs": {"a": {"x": 1}}}
    exists = make_plan(source, {"id": "t", "action": "ok", "when": {"ref": "${s.result.y}", "op": "exists"}})
    equal = make_plan(source, {"id": "t", "action": "ok", "when": {"ref": "${s.result.y}", "op": "eq", "value": 1}})
    compare = make_plan(source, {"id": "t", "action": "ok", "when": {"ref": "${s}", "op": "gt", "value": 1}})

    assert "skipped" == (await Runner(ok).run(exists)).outcomes["t"].status
    missing = (await Runner(ok).run(equal)).outcomes["t"]
    assert ("failed", "BindingError") == (missing.status, missing.error_type)
    assert "t.when" in (missing.error or "")
    assert "cannot compare" in ((await Runner(ok).run(compare)).outcomes["t"].error or "")


async def test_an_unknown_type_is_checked_when_it_is_there_and_names_the_path() -> None:
    """The step fails; the message has the step, the input, and what was found."""

    @action
    async def count(items: list[int]) -> int:
        return len(items)

    source = {"id": "s", "action": "ok", "inputs": {"a": {"list": "text"}}}
    wrong = make_plan(source, {"id": "c", "action": "count", "inputs": {"items": "${s.result.list}"}})
    absent = make_plan(source, {"id": "c", "action": "count", "inputs": {"items": "${s.result.nothing[0]}"}})

    outcome = (await Runner(ok, count).run(wrong)).outcomes["c"]
    assert ("failed", "BindingError") == (outcome.status, outcome.error_type)
    assert (outcome.error or "").startswith("c.items:")
    outcome = (await Runner(ok, count).run(absent)).outcomes["c"]
    assert "${s.result.nothing[0]} is not there" in (outcome.error or "")


async def test_an_action_that_returns_the_wrong_type_fails_and_its_dependents_do_not_run() -> None:
    """A8: the declared output is checked."""

    @action
    async def liar() -> int:
        return cast("int", "5")

    result = await Runner(liar, ok).run(
        make_plan({"id": "l", "action": "liar"}, {"id": "d", "action": "ok", "inputs": {"a": "${l}"}})
    )
    assert "the output of liar" in (result.outcomes["l"].error or "")
    assert "skipped" == result.outcomes["d"].status


async def test_an_output_that_cannot_be_stored_fails_its_own_step() -> None:
    """The message names the part and what to do; without the check, dependents would run and the run would break."""

    @action
    async def odd() -> Any:
        return {"ok": 1, "bad": [object()]}

    outcome = (await Runner(odd, saver=InMemorySaver()).run(make_plan({"id": "o", "action": "odd"}))).outcomes["o"]

    assert ("failed", "UnstorableOutput") == (outcome.status, outcome.error_type)
    assert "bad[0]" in (outcome.error or "")
    assert "catalog.add_codec" in (outcome.error or "")


async def test_a_transient_error_is_retried_and_told() -> None:
    """A9: the idempotency key stays the same over the attempts."""
    calls: list[int] = []

    @action(retry=RetryPolicy(max_attempts=3, initial_interval=0, jitter=False))
    async def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("again")
        return 1

    runner = Runner(flaky)
    result = await runner.run(make_plan({"id": "f", "action": "flaky"}))

    assert result.ok
    assert 3 == result.outcomes["f"].attempts
    assert ["step_start", "step_retry", "step_retry", "step_success"] == runner.phases("f")


async def test_an_error_that_the_policy_does_not_list_is_not_retried() -> None:
    """LangGraph's default leaves programming errors alone."""
    calls: list[int] = []

    @action(retry=3)
    async def mine() -> int:
        calls.append(1)
        raise ValueError("mine")

    result = await Runner(mine).run(make_plan({"id": "m", "action": "mine"}))

    assert ([1], 1) == (calls, result.outcomes["m"].attempts)


async def test_an_action_that_hangs_meets_its_timeout_and_is_retried() -> None:
    """The timeout is for each attempt, and counts from when the inputs are ready."""

    @action(timeout=0.02, retry=RetryPolicy(max_attempts=2, initial_interval=0, jitter=False))
    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    result = await Runner(hang).run(make_plan({"id": "h", "action": "hang"}))

    assert ("failed", "AttemptTimeout", 2) == (
        result.outcomes["h"].status, result.outcomes["h"].error_type, result.outcomes["h"].attempts,
    )  # fmt: skip


async def test_a_thread_that_hangs_is_left_behind_and_the_run_goes_on(release: threading.Event) -> None:
    """A thread cannot be stopped; its result is dropped."""

    @action(timeout=0.05)
    def hang() -> int:
        release.wait(30)
        return 0

    plan = make_plan({"id": "h", "action": "hang", "optional": True}, {"id": "o", "action": "ok"})
    result = await Runner(hang, ok).run(plan)

    assert result.ok
    assert "AttemptTimeout" == result.outcomes["h"].error_type


@pytest.mark.parametrize("threaded", [False, True])
async def test_an_action_that_exits_the_process_only_fails(threaded: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """`sys.exit()` inside an action would otherwise end the event loop."""

    @action(name="leave")
    async def leave() -> int:
        raise SystemExit(3)

    @action(name="leave")
    def leave_thread() -> int:
        raise SystemExit(3)

    result = await Runner(leave_thread if threaded else leave).run(make_plan({"id": "l", "action": "leave"}))

    assert ("failed", "ActionExit") == (result.outcomes["l"].status, result.outcomes["l"].error_type)


async def test_bounds_of_cost_and_items_are_failures_that_name_the_bound() -> None:
    """Declared costs are counted before each call."""

    @action(cost=1.0)
    async def pay(a: int) -> int:
        return a

    runner = Runner(pay, ok, limits=Limits(cost=2.5, items=5))
    three = await runner.run(make_plan({"id": "p", "action": "pay", "for_each": [1, 2, 3], "inputs": {"a": "${item}"}}))
    many = await runner.run(
        make_plan(
            {"id": "s", "action": "ok", "inputs": {"a": [1, 2, 3, 4, 5, 6]}},
            {"id": "m", "action": "ok", "for_each": "${s.result}", "inputs": {"a": "${item}"}},
        ),
        "run-2",
    )

    assert "limit 'cost'" in (three.outcomes["p"].error or "")
    assert "limit 'items'" in (many.outcomes["m"].error or "")


async def test_an_output_larger_than_its_bound_fails_the_step() -> None:
    """Nothing is stored of it."""

    @action
    async def large() -> str:
        return "x" * 2000

    result = await Runner(large, limits=Limits(output_bytes=1000)).run(make_plan({"id": "l", "action": "large"}))

    assert "limit 'output_bytes'" in (result.outcomes["l"].error or "")


async def test_the_deadline_of_a_run_ends_it_as_failed() -> None:
    """What works is cancelled; the error names the bound."""

    @action
    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    result = await Runner(hang, limits=Limits(run_timeout=timedelta(milliseconds=50))).run(
        make_plan({"id": "h", "action": "hang"})
    )
    assert ("failed", "cancelled") == (result.status, result.outcomes["h"].status)
    assert "run_timeout" in (result.errors[-1].error or "")


async def test_when_one_item_fails_no_further_item_starts_and_the_outcome_says_which() -> None:
    """The step has failed; starting the rest would be work for nothing."""
    ran: list[int] = []

    @action
    async def work(a: int) -> int:
        ran.append(a)
        if a == 2:
            raise ValueError("two")
        return a

    runner = Runner(work, limits=Limits(concurrency=1))
    plan = make_plan({"id": "m", "action": "work", "for_each": [1, 2, 3, 4], "inputs": {"a": "${item}"}})
    outcome = (await runner.run(plan)).outcomes["m"]

    assert [1, 2] == ran
    assert ("failed", "ValueError", "item 1: two (1 of 4 items succeeded)") == (
        outcome.status,
        outcome.error_type,
        outcome.error,
    )


async def test_declared_tokens_are_a_bound_too() -> None:
    """Counted before each call, like the cost."""

    @action(cost=Cost(tokens=100))
    async def ask(a: int) -> int:
        return a

    plan = make_plan({"id": "a", "action": "ask", "for_each": [1, 2, 3], "inputs": {"a": "${item}"}})
    result = await Runner(ask, limits=Limits(tokens=250)).run(plan)

    assert "limit 'tokens'" in (result.outcomes["a"].error or "")


async def test_each_item_has_an_idempotency_key_of_its_own_that_its_attempts_share() -> None:
    """`run:revision:step:item`."""
    keys: list[str] = []

    @action(retry=RetryPolicy(max_attempts=2, initial_interval=0, jitter=False), idempotent="keyed")
    async def send(ctx: ActionContext, a: int) -> int:
        keys.append(ctx.idempotency_key)
        if ctx.attempt == 1:
            raise ConnectionError
        return a

    plan = make_plan({"id": "m", "action": "send", "for_each": [1, 2], "inputs": {"a": "${item}"}})
    assert (await Runner(send).run(plan)).ok
    assert ["run-1:0:m:0", "run-1:0:m:0", "run-1:0:m:1", "run-1:0:m:1"] == sorted(keys)


async def test_what_a_flow_returns_is_checked_like_any_output() -> None:
    """Its state says an integer."""

    class State(TypedDict):
        number: int

    graph = StateGraph(State).add_node("n", cast("Any", lambda _: {"number": "text"})).add_edge(START, "n")
    runner = Runner()
    runner.catalog.add_flow(graph, name="flow")
    result = await runner.run(make_plan({"id": "f", "action": "flow", "inputs": {"number": 1}}))

    assert "the output of flow" in (result.outcomes["f"].error or "")
