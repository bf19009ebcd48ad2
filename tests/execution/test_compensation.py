"""Undoing a run that failed or was cancelled: the nine rules of durable.md section 4, each with a test."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy

from planner.catalog import ActionContext, Resource, action
from planner.context import RequestIdentity, RunContext
from planner.execution import RunRequest
from planner.execution.outcome import RunStatus
from planner.execution.state import RunState
from planner.limits import Limits
from tests.support.ledger import CHAIN, Crash, Ledger, cancelled_at_once, statuses, step
from tests.support.running import Runner, make_plan


async def test_the_failure_stays_the_error_and_the_report_hangs_off_it() -> None:
    """Rule 1: running, compensating, then failed; what was undone is listed, and told in order."""
    ledger = Ledger()
    runner = Runner(*ledger.actions())
    result = await runner.run(CHAIN)

    assert ("failed", False) == (result.status, result.compensation_failed)
    assert "RuntimeError: no" in str(result.errors[0].error)
    assert {"c": "undone", "b": "undone", "a": "undone"} == statuses(result)
    assert ["compensation_start", *["compensation_success"] * 3, "failure"] == runner.phases()[-5:]


async def test_the_status_is_told_while_it_compensates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 1: whoever records the run hears of it before the first undo."""
    told: list[str] = []
    ledger = Ledger()

    def hear(status: RunStatus) -> None:
        told.append(f"{status} after {len(ledger.undone)}")

    original = RunState.__post_init__

    def with_hook(state: RunState) -> None:
        original(state)
        state.on_status = hear

    monkeypatch.setattr(RunState, "__post_init__", with_hook)
    await Runner(*ledger.actions()).run(CHAIN)

    assert ["compensating after 0"] == told


async def test_steps_are_undone_in_the_reverse_order_of_completion() -> None:
    """Rule 2: never before what used them, also through steps that have no undo."""
    ledger = Ledger()
    plan = make_plan(
        step("a"), step("b", "a"), step("m", "b", action="look"), step("c", "m"), step("end", "c", action="fail")
    )
    await Runner(*ledger.actions()).run(plan)

    assert ["c", "b", "a"] == ledger.undone


async def test_independent_branches_are_undone_together() -> None:
    """Rule 2: the undo of one does not wait for that of the other, and what both used comes last."""
    both = asyncio.Barrier(2)
    undone: list[str] = []

    async def meet(name: str) -> None:
        if name != "root":
            async with asyncio.timeout(5):
                await both.wait()
        undone.append(name)

    @action(undo=meet)
    async def do(name: str, uses: list[str] | None = None) -> str:
        return name

    @action
    async def fail(uses: list[str]) -> str:
        raise RuntimeError("no")

    plan = make_plan(step("root"), step("l", "root"), step("r", "root"), step("end", "l", "r", action="fail"))
    result = await Runner(do, fail).run(plan)

    assert ({"l", "r"}, "root", 3) == (set(undone[:2]), undone[2], len(undone))
    assert not result.compensation_failed


@pytest.mark.parametrize("knows", [True, False], ids=["compensates", "reported"])
async def test_a_step_whose_outcome_is_not_known(knows: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Rule 3: its undo is told so when it can do that; otherwise a person is."""
    started, asked = asyncio.Event(), list[Any]()

    def undo(outputs: Any, outcome: str, name: str) -> None:
        asked.append((name, outputs, outcome))

    @action(undo=undo, compensates_unknown=knows)
    async def slow(name: str) -> str:
        started.set()
        await asyncio.Event().wait()
        return name

    runner = Runner(slow)
    running = asyncio.create_task(runner.run(make_plan({"id": "s", "action": "slow", "inputs": {"name": "x"}})))
    await started.wait()
    runner.executor.cancel("run-1")
    result = await running

    assert "cancelled" == result.status
    assert ([("x", None, "unknown")] if knows else []) == asked
    assert ({"s": "undone"} if knows else {"s": "unknown"}) == statuses(result)
    assert result.compensation_failed is not knows


async def test_a_failing_undo_stops_no_other_and_is_recorded() -> None:
    """Rule 5: with the step, the attempt, the error without secrets, and when."""
    ledger = Ledger()
    ledger.broken = {"b"}
    runner = Runner(*ledger.actions())
    result = await runner.run(CHAIN)
    undo = result.compensation["b"]

    assert ["c", "b", "b", "a"] == ledger.undone
    assert {"c": "undone", "b": "failed", "a": "undone"} == statuses(result)
    assert (2, "RuntimeError", "b stays") == (undo.attempts, undo.error_type, undo.error)
    assert undo.at is not None
    assert result.compensation_failed
    assert ["RuntimeError: b stays"] == [one.error for one in runner.events if one.phase == "compensation_failure"]
    assert "step 'end': RuntimeError: no" == result.errors[-1].error


async def test_only_the_undos_that_failed_run_again() -> None:
    """Rule 5: with the same keys; what was undone stays so, and the run has still failed."""
    ledger, saver = Ledger(), InMemorySaver()
    ledger.broken = {"b"}
    runner = Runner(*ledger.actions(), saver=saver)
    await runner.run(CHAIN)
    ledger.broken, ledger.lines = set(), []
    before = list(ledger.keys)
    again = await Runner(*ledger.actions(), saver=saver).run(CHAIN, attempt=2, undo_again=True)
    restored = await Runner(*ledger.actions(), saver=saver).run(CHAIN, attempt=2)

    assert ["undo b"] == ledger.lines
    assert before[1] == ledger.keys[-1] == "run-1:b:undo"
    assert ("failed", False) == (again.status, again.compensation_failed)
    assert {"c": "undone", "b": "undone", "a": "undone"} == statuses(again) == statuses(restored)


async def test_a_cancelled_run_is_undone_when_the_policy_says_so() -> None:
    """Rule 7: the step that was in flight declares no undo, so only what was done before it is taken back."""
    for policy, undone in (("compensate", ["a"]), ("keep", [])):
        ledger, started = Ledger(), asyncio.Event()

        @action
        async def slow(uses: list[str], started: Annotated[asyncio.Event, Resource("started")]) -> str:
            started.set()
            await asyncio.Event().wait()
            return ""

        runner = Runner(slow, *ledger.actions())
        plan = make_plan(step("a"), {"id": "s", "action": "slow", "inputs": {"uses": ["${a}"]}})
        running = asyncio.create_task(runner.run(plan, on_cancel=policy, resources={"started": started}))
        await started.wait()
        runner.executor.cancel("run-1")
        result = await running

        assert ("cancelled", undone) == (result.status, ledger.undone)


async def test_a_deadline_and_a_budget_are_undone_like_a_failure() -> None:
    """Rule 7: both are limits of the run."""

    @action(cost=3, retry=RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False, retry_on=Exception))
    async def dear(uses: list[str]) -> str:
        raise RuntimeError("no")

    @action
    async def slow(uses: list[str]) -> str:
        await asyncio.Event().wait()
        return ""

    for name, limits in (("dear", Limits(cost=4)), ("slow", Limits(run_timeout=timedelta(seconds=0.1)))):
        ledger = Ledger()
        plan = make_plan(step("a"), {"id": "d", "action": name, "inputs": {"uses": ["${a}"]}})
        result = await Runner(dear, slow, *ledger.actions(), limits=limits).run(plan)

        assert ("failed", ["a"]) == (result.status, ledger.undone)
        assert "LimitExceeded" in str(result.errors[-1].error)


async def test_a_step_that_was_in_flight_at_a_crash_is_not_known_when_it_does_not_run_again() -> None:
    """Rule 3: that it was about to be called is stored before the call."""
    asked: list[str] = []

    def undo(outcome: str) -> None:
        asked.append(outcome)

    @action(undo=undo, compensates_unknown=True)
    async def dies() -> str:
        raise Crash

    saver, plan = InMemorySaver(), make_plan({"id": "d", "action": "dies"})
    with pytest.raises(Crash):
        await Runner(dies, saver=saver).run(plan)
    result = await cancelled_at_once(Runner(dies, saver=saver), plan)

    assert ("cancelled", "unknown", ["unknown"]) == (result.status, result.outcomes["d"].status, asked)


async def test_a_broken_store_undoes_nothing() -> None:
    """Rule 7: resuming mends it, so nothing of what is done is taken back."""
    ledger = Ledger()

    class Breaking(InMemorySaver):
        async def aput_writes(self, *arguments: Any, **more: Any) -> None:
            if "do b" in ledger.lines:
                raise ConnectionError("gone")
            await super().aput_writes(*arguments, **more)

    with pytest.raises(ConnectionError):
        await Runner(*ledger.actions(), saver=Breaking()).run(CHAIN)

    assert ["do a", "do b"] == ledger.lines


async def test_compensation_is_not_cancelled() -> None:
    """Rule 7: a cancel that comes while it goes on changes neither the end nor what is undone."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait(name: str) -> None:
        begun.set()
        await go.wait()

    @action(undo=wait)
    async def do(name: str, uses: list[str]) -> str:
        return name

    runner = Runner(do, *[one for one in Ledger().actions() if one.__name__ == "fail"])
    running = asyncio.create_task(runner.run(make_plan(step("a"), step("end", "a", action="fail"))))
    await begun.wait()
    runner.executor.cancel("run-1")
    go.set()
    result = await running

    assert ("failed", {"a": "undone"}) == (result.status, statuses(result))


async def test_nothing_is_undone_when_it_is_to_be_kept_or_succeeded() -> None:
    """Rule 7: and an effect that nothing can undo is named when the rest is undone."""
    ledger = Ledger()
    kept = await Runner(*ledger.actions()).run(CHAIN, on_failure="keep")
    fine = await Runner(*ledger.actions()).run(make_plan(step("a")))

    @action(effect="external")
    async def send(uses: list[str]) -> str:
        return ""

    plan = make_plan(
        step("a"), {"id": "s", "action": "send", "inputs": {"uses": ["${a}"]}}, step("end", "s", action="fail")
    )
    left = await Runner(send, *ledger.actions()).run(plan)

    assert ({}, {}, "failed", True) == (kept.compensation, fine.compensation, kept.status, fine.ok)
    assert ({"a": "undone", "s": "left"}, ["a"]) == (statuses(left), ledger.undone)


async def test_the_result_is_told_after_compensation() -> None:
    """Rule 9: the run has no end before."""
    ledger = Ledger()
    runner = Runner(*ledger.actions())
    await runner.run(CHAIN)

    assert "failure" == runner.phases()[-1]
    assert 1 == runner.phases().count("failure")


async def test_a_run_resumed_during_compensation_keeps_its_reason_and_its_identity() -> None:
    """The decision is stored before the first undo: what is resumed without the cancel is cancelled all the same."""
    ledger, saver, started = Ledger(), InMemorySaver(), asyncio.Event()

    @action
    async def slow(uses: list[str]) -> str:
        started.set()
        await asyncio.Event().wait()
        return ""

    plan = make_plan(step("a"), {"id": "s", "action": "slow", "inputs": {"uses": ["${a}"]}})
    runner = Runner(slow, *ledger.actions(), saver=saver)
    original = runner.catalog.get_action_by_name("take_back")
    assert original is not None

    async def crash(*_: Any) -> Any:
        raise Crash

    runner.catalog.add(replace(original, call=crash), replace=True)
    running = asyncio.create_task(runner.run(plan))
    await started.wait()
    runner.executor.cancel("run-1")
    with pytest.raises(Crash):
        await running
    request = RunRequest(plan=plan, context=RunContext(run_id="run-1", identity=RequestIdentity()))
    result = await Runner(slow, *ledger.actions(), saver=saver).executor.execute(request)

    assert ("cancelled", {"a": "undone"}, ["a"]) == (result.status, statuses(result), ledger.undone)


async def test_a_waiting_run_that_is_cancelled_is_undone() -> None:
    """Also the items of a mapped step of which one still asks."""
    ledger, saver = Ledger(), InMemorySaver()

    @action(undo="take_back")
    async def each(name: str, ctx: ActionContext) -> str:
        if name == "asks":
            ctx.ask("may I?")
        return name

    plan = make_plan(
        step("a"),
        {"id": "m", "action": "each", "for_each": "${user.names}", "inputs": {"name": "${item}"}},
        step("z", "m[0]"),
    )
    inputs = {"names": ["x", "asks", "y"]}
    waiting = await Runner(each, *ledger.actions(), saver=saver).run(plan, user_inputs=inputs)
    result = await cancelled_at_once(Runner(each, *ledger.actions(), saver=saver), plan, user_inputs=inputs)

    assert ("waiting", {}) == (waiting.status, waiting.compensation)
    assert ("cancelled", {"a": "undone", "m": "undone"}) == (result.status, statuses(result))
    assert ["a", "x", "y"] == sorted(ledger.undone)
    assert "skipped" == result.outcomes["z"].status


async def test_independent_steps_go_on_before_anything_is_undone() -> None:
    """With `stop_on_failure=False` the run fails when all is settled."""
    ledger = Ledger()
    plan = make_plan({"id": "f", "action": "fail"}, step("a"), step("b", "a"))
    result = await Runner(*ledger.actions()).run(plan, stop_on_failure=False)

    assert ("failed", ["do a", "do b", "undo b", "undo a"]) == (result.status, ledger.lines)


async def test_repeating_the_undos_is_as_durable_as_the_undos_were() -> None:
    """What this attempt has undone before a crash is not undone once more; nor is a step called."""
    ledger, saver = Ledger(), InMemorySaver()
    ledger.broken = {"a", "b"}
    await Runner(*ledger.actions(), saver=saver).run(CHAIN)
    ledger.broken, ledger.lines = set(), []
    runner = Runner(*ledger.actions(), saver=saver)
    mended = runner.catalog.get_action_by_name("take_back")
    assert mended is not None
    call = mended.call

    async def crash(inputs: Mapping[str, Any], *more: Any) -> Any:
        if inputs["name"] == "a":
            raise Crash
        assert call is not None
        return await call(inputs, *more)

    runner.catalog.add(replace(mended, call=crash), replace=True)
    with pytest.raises(Crash):
        await runner.run(CHAIN, attempt=2, undo_again=True)
    result = await Runner(*ledger.actions(), saver=saver).run(CHAIN, attempt=2)

    assert ["undo b", "undo a"] == ledger.lines
    assert ("failed", False, {"a": "undone", "b": "undone", "c": "undone"}) == (
        result.status,
        result.compensation_failed,
        statuses(result),
    )


async def test_a_refused_write_stops_the_compensation_and_another_process_goes_on_with_it() -> None:
    """Before the next undo: whoever has the run now may have made it."""
    ledger = Ledger()

    class Fencing(InMemorySaver):
        fenced = True

        async def aput_writes(self, *arguments: Any, **more: Any) -> None:
            if self.fenced and "undo c" in ledger.lines:
                raise ConnectionError("refused")
            await super().aput_writes(*arguments, **more)

    saver = Fencing()
    with pytest.raises(ConnectionError):
        await Runner(*ledger.actions(), saver=saver).run(CHAIN)
    assert ["c"] == ledger.undone

    saver.fenced = False
    result = await Runner(*ledger.actions(), saver=saver).run(CHAIN)

    assert ("failed", ["c", "c", "b", "a"]) == (result.status, ledger.undone)
    assert 1 == len(set(ledger.keys[:2]))
    assert "step 'end': RuntimeError: no" == result.errors[-1].error
    assert ["step_failure", "failure"] == [event.phase for event in result.errors]
