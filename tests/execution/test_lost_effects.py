"""Effects of calls that did not end well: none is forgotten, repeated, or taken for a failure that left none."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

from planner.catalog import ActionCatalog, ActionContext, action
from planner.context import RunContext, RunImportance
from planner.events import ExecutionEvent
from planner.execution import PlanExecutor, RunRequest, StepOutcome
from planner.limits import Limits
from storage.errors import StorageUnavailable
from tests.support.ledger import CHAIN, Crash, Ledger, cancelled_at_once, statuses, step
from tests.support.run_services import memory_stores
from tests.support.running import Runner, make_plan

AT_ONCE = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False, retry_on=Exception)
BOOK = make_plan({"id": "b", "action": "book", "inputs": {"name": "n"}})


@pytest.mark.parametrize("knows", [True, False], ids=["compensates", "reported"])
@pytest.mark.parametrize("limits", [Limits(), Limits(output_bytes=50)], ids=["type", "size"])
async def test_what_an_action_did_before_its_output_was_refused_is_there(limits: Limits, *, knows: bool) -> None:
    """It has returned, so it took effect, as far as anybody knows."""
    undone: list[str] = []

    def undo(name: str, outcome: str) -> None:
        undone.append(f"{name} {outcome}")

    @action(undo=undo, effect="external", compensates_unknown=knows)
    async def book(name: str) -> int:
        return "x" * 100  # pyright: ignore[reportReturnType]  # that is what is wrong with it

    result = await Runner(book, limits=limits).run(BOOK)
    outcome = result.outcomes["b"]

    assert ("failed", True, outcome) == (
        outcome.status,
        outcome.uncertain,
        StepOutcome.from_record(outcome.to_record()),
    )
    assert (["n unknown"] if knows else [], {"b": "undone" if knows else "unknown"}) == (undone, statuses(result))


async def test_an_attempt_that_took_too_long_is_not_forgotten_over_the_next_one() -> None:
    """Whatever the last attempt says, the first may have taken effect."""

    @action(effect="external", timeout=0.02, retry=AT_ONCE)
    async def book(name: str, ctx: ActionContext) -> str:
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        raise RuntimeError("no")

    result = await Runner(book).run(BOOK)

    assert (3, "RuntimeError") == (result.outcomes["b"].attempts, result.outcomes["b"].error_type)
    assert ({"b": "unknown"}, True) == (statuses(result), result.compensation_failed)


@pytest.mark.parametrize("how", ["hangs", "returns nonsense", "raises"])
async def test_what_must_not_run_twice_is_not_retried_once_it_may_have_acted(how: str) -> None:
    """Neither after its timeout nor when its output is refused; an error of its own says that it has not acted."""
    calls: list[int] = []

    @action(effect="external", idempotent="no", timeout=0.02 if how == "hangs" else 20, retry=AT_ONCE)
    async def book(name: str) -> int:
        calls.append(1)
        if how == "hangs":
            await asyncio.Event().wait()
        if how == "raises":
            raise RuntimeError("no")
        return "x"  # pyright: ignore[reportReturnType]  # that is what is wrong with it

    await Runner(book).run(BOOK)

    assert (3 if how == "raises" else 1) == len(calls)


@pytest.mark.parametrize("undo", [None, "take_back"])
async def test_items_that_may_have_taken_effect_are_named(undo: str | None) -> None:
    """Beside one that failed, and one that succeeded."""

    @action(effect="external", timeout=0.05, undo=undo)
    async def book(name: str) -> str:
        if name == "bad":
            raise RuntimeError("no")
        if name == "slow":
            await asyncio.Event().wait()
        return name

    plan = make_plan({"id": "m", "action": "book", "for_each": ["bad", "slow", "ok"], "inputs": {"name": "${item}"}})
    ledger = Ledger()
    undone = (await Runner(book, *ledger.actions()).run(plan)).compensation["m"]

    assert ("unknown", [1], "UnknownOutcome") == (undone.status, list(undone.items), undone.error_type)
    assert "item 1 failed, and may have taken effect" in (undone.error or "")
    assert ([] if undo is None else ["ok"]) == ledger.undone


async def test_a_cancel_that_comes_when_all_is_done_undoes_nothing_because_of_an_optional_step() -> None:
    """That had failed before, and was no failure of the run."""

    class Late(Runner):
        def listen(self, event: ExecutionEvent) -> None:
            super().listen(event)
            if (event.phase, event.step_id) == ("step_success", "z"):
                self.executor.cancel("run-1")

    ledger = Ledger()
    plan = make_plan({"id": "f", "action": "fail", "optional": True}, step("y"), step("z", "y"))
    result = await Late(*ledger.actions(), saver=InMemorySaver()).run(plan)

    assert ("succeeded", []) == (result.status, ledger.undone)


async def test_a_call_without_an_undo_that_was_in_flight_at_a_crash_is_unknown_when_the_run_is_cancelled() -> None:
    """It has an effect, so that it was about to be called is written down."""

    @action(effect="external")
    async def book(name: str) -> str:
        raise Crash

    saver = InMemorySaver()
    with pytest.raises(Crash):
        await Runner(book, saver=saver).run(BOOK)
    result = await cancelled_at_once(Runner(book, saver=saver), BOOK)

    assert ("cancelled", {"b": "unknown"}) == (result.status, statuses(result))


class _State(TypedDict, total=False):
    x: int


@pytest.mark.parametrize("error", [StorageUnavailable("away"), ConnectionError("away")], ids=["ours", "foreign"])
async def test_a_store_that_is_away_for_a_moment_fails_no_flow(error: Exception) -> None:
    """Rule 7: nothing is recorded or undone, and the next life goes on inside the flow."""
    ran: list[str] = []

    class Flaky(InMemorySaver):
        away = True

        async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
            if self.away and config["configurable"].get("checkpoint_ns") and metadata.get("step") == 1:
                self.away = False
                raise error
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def one(state: _State) -> _State:
        ran.append("one")
        return {"x": 1}

    async def two(state: _State) -> _State:
        return {"x": 2}

    ledger, saver, catalog = Ledger(), Flaky(), ActionCatalog()
    graph = StateGraph(_State).add_node("one", one).add_node("two", two).add_edge(START, "one").add_edge("one", "two")
    catalog.add_flow(graph.compile(), name="flow")
    runner = Runner(*ledger.actions(), saver=saver, catalog=catalog)
    plan = make_plan(step("a"), {"id": "f", "action": "flow", "inputs": {"x": 0}, "after": ["a"]})
    with pytest.raises(type(error)):
        await runner.run(plan)
    assert ["do a"] == ledger.lines
    result = await runner.run(plan)

    assert (True, 2, ["do a"]) == (result.ok, result.step_outputs["f"]["x"], ledger.lines)


async def test_a_store_that_fails_a_flow_from_inside_its_nodes_is_recorded_as_no_failure() -> None:
    """A node may use the same store; resuming mends it, as it does for an action."""
    lives: list[int] = []

    async def one(state: _State) -> _State:
        lives.append(1)
        if len(lives) == 1:
            raise Crash
        return {"x": 1}

    runner = Runner(saver=InMemorySaver())
    runner.catalog.add_flow(StateGraph(_State).add_node("one", one).add_edge(START, "one"), name="flow")
    plan = make_plan({"id": "f", "action": "flow", "inputs": {"x": 0}})
    with pytest.raises(Crash):
        await runner.run(plan)

    assert ((await runner.run(plan)).ok, 2) == (True, len(lives))


async def test_that_a_run_is_undone_is_told_once() -> None:
    """Not in every life that goes on with it."""
    ledger, saver = Ledger(), InMemorySaver()

    crashing = [True]

    @action
    async def take(name: str) -> None:
        if name == "a" and crashing.pop(0):
            raise Crash

    @action(undo="take", effect="write")
    async def do(name: str, uses: list[str] | None = None) -> str:
        return name

    fail = next(one for one in ledger.actions() if one.__name__ == "fail")
    first, second = Runner(take, do, fail, saver=saver), Runner(take, do, fail, saver=saver)
    with pytest.raises(Crash):
        await first.run(CHAIN)
    crashing.append(False)
    await second.run(CHAIN)

    assert (1, 0) == (first.phases().count("compensation_start"), second.phases().count("compensation_start"))
    assert ["a"] == [event.step_id for event in second.events if event.phase == "compensation_success"]


@pytest.mark.parametrize("importance", [RunImportance.normal, RunImportance.ephemeral])
async def test_a_step_that_is_done_is_told_once(importance: RunImportance) -> None:
    """Also of a run that keeps no events of its steps, where a later life cannot tell what was told."""
    told: list[str] = []

    def listen(event: ExecutionEvent) -> None:
        if event.phase == "step_success":
            told.append(str(event.step_id))

    @action
    async def one() -> int:
        return 1

    @action
    async def asks(ctx: ActionContext, uses: list[int]) -> str:
        return str(ctx.ask("?"))

    plan = make_plan({"id": "a", "action": "one"}, {"id": "q", "action": "asks", "inputs": {"uses": ["${a}"]}})
    executor = PlanExecutor(ActionCatalog([one, asks]), InMemorySaver(), stores=memory_stores())
    context = RunContext(run_id="run-1", importance=importance)
    waiting = await executor.execute(RunRequest(plan=plan, context=context, on_event=listen))
    await executor.execute(RunRequest(plan=plan, context=context, on_event=listen))
    answers = {waiting.interrupts[0].id: "y"}
    await executor.execute(RunRequest(plan=plan, context=context, on_event=listen, answers=answers))
    executor.close()

    assert ["a", "q"] == told
