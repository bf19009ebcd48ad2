"""One undo: what it is called with, by whose right, how often, and for what."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy, interrupt
from pydantic import SecretStr

from planner.catalog import ActionCatalog, ActionContext, Resource, action
from planner.errors import LeaseLost, RegistrationError, RunConflict
from planner.execution import StepOutcome
from planner.execution.compensation import undo_order, undone_before
from planner.execution.outcome import UndoOutcome
from planner.execution.state import Called, RunState
from planner.limits import Limits
from planner.plan import build_graph, resolve_step
from tests.support.ledger import CHAIN, Crash, Ledger, statuses, step
from tests.support.running import Runner, make_plan


async def test_an_undo_gets_what_it_asks_for() -> None:
    """Rule 4: inputs, outputs, the whole value, single ones by name, the context, resources; and its own key."""
    seen: dict[str, Any] = {}

    async def unbook(  # noqa: PLR0913, PLR0917 - everything there is
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        result: int,
        outcome: str,
        city: str,
        nights: int,
        ctx: ActionContext,
        db: Annotated[object, Resource("db")],
        other: str = "default",
    ) -> None:
        seen.update(locals())

    @action(undo=unbook)
    async def book(city: str, nights: int = 2) -> int:
        return 41

    ledger = Ledger()
    booked = {"id": "b", "action": "book", "inputs": {"city": "${user.city}"}}
    plan = make_plan(booked, {"id": "f", "action": "fail", "after": ["b"]})
    result = await Runner(book, *ledger.actions()).run(plan, user_inputs={"city": "Ulm"}, resources={"db": "the db"})
    ctx = seen.pop("ctx")
    seen.pop("seen", None)

    assert {"b": "undone"} == statuses(result), result.compensation
    assert ("run-1:b:undo", 1, "b") == (ctx.idempotency_key, ctx.attempt, ctx.step_id)
    assert {
        "inputs": {"city": "Ulm"},
        "outputs": {"result": 41},
        "result": 41,
        "outcome": "succeeded",
        "city": "Ulm",
        "nights": 2,
        "db": "the db",
        "other": "default",
    } == seen


async def test_an_undo_needs_the_same_rights_as_any_action() -> None:
    """Rule 4: a named undo that the run's identity may not call is not called."""

    @action(roles="admin")
    async def unpay() -> None:
        raise AssertionError

    @action(undo="unpay", effect="external")
    async def pay() -> str:
        return "paid"

    ledger = Ledger()
    plan = make_plan({"id": "p", "action": "pay"}, {"id": "f", "action": "fail", "inputs": {"uses": ["${p}"]}})
    result = await Runner(unpay, pay, *ledger.actions()).run(plan)

    assert ("failed", "NotUndone") == (result.compensation["p"].status, result.compensation["p"].error_type)
    assert "roles" in str(result.compensation["p"].error)


async def test_an_undo_has_a_timeout_of_its_own_and_is_retried() -> None:
    """Rule 4: a plain function three times, an action as it says."""
    tries: list[int] = []

    @action(timeout=0.02, retry=RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False))
    async def hang(ctx: ActionContext) -> None:
        tries.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()

    @action(undo=hang)
    async def do(name: str, uses: list[str]) -> str:
        return name

    runner = Runner(do, *[one for one in Ledger().actions() if one.__name__ == "fail"])
    result = await runner.run(make_plan(step("a"), step("end", "a", action="fail")))

    assert ([1, 2], "undone", 2) == (tries, result.compensation["a"].status, result.compensation["a"].attempts)
    assert "AttemptTimeout" in str(next(event.error for event in runner.events if event.phase == "step_retry"))


async def test_items_are_undone_one_by_one_in_reverse() -> None:
    """Of a mapped step that failed, those that succeeded; each with a key of its own."""
    ledger = Ledger()

    @action(undo="take_back")
    async def each(name: str) -> str:
        if name == "bad":
            raise RuntimeError("no")
        return name

    plan = make_plan({"id": "m", "action": "each", "for_each": "${user.names}", "inputs": {"name": "${item}"}})
    ledger.broken = {"y"}
    saver = InMemorySaver()
    inputs = {"names": ["x", "y", "bad"]}
    failed = await Runner(each, *ledger.actions(), saver=saver).run(plan, user_inputs=inputs)

    assert ["y", "y", "x"] == ledger.undone
    assert ["run-1:m:undo:1", "run-1:m:undo:1", "run-1:m:undo:0"] == ledger.keys
    assert ("failed", (1,)) == (failed.compensation["m"].status, tuple(failed.compensation["m"].items))

    ledger.broken, ledger.lines = set(), []
    again = await Runner(each, *ledger.actions(), saver=saver).run(plan, user_inputs=inputs, attempt=2, undo_again=True)
    assert (["y"], "undone") == (ledger.undone, again.compensation["m"].status)


def test_an_undo_that_cannot_be_called_is_refused_when_it_is_registered() -> None:
    """Not when a run fails."""

    @action(undo=lambda *names: None)
    async def do(name: str) -> str:
        return name

    with pytest.raises(RegistrationError, match="no fixed name"):
        ActionCatalog([do])


async def test_a_secret_does_not_leave_through_the_error_of_an_undo() -> None:
    """Neither in the report nor in the events."""

    def leak(token: Any) -> None:
        raise RuntimeError(f"refused {token.get_secret_value()}")

    @action(undo=leak)
    async def do(token: SecretStr) -> str:
        return "x"

    ledger = Ledger()
    plan = make_plan(
        {"id": "a", "action": "do", "inputs": {"token": "${user.token}"}},
        {"id": "f", "action": "fail", "inputs": {"uses": ["${a}"]}},
    )
    actions = [one for one in ledger.actions() if one.__name__ == "fail"]
    runner = Runner(do, *actions)
    request: Mapping[str, Any] = {"token": SecretStr("hunter2")}
    result = await runner.run(plan, user_inputs=request)

    assert "failed" == result.compensation["a"].status
    assert "hunter2" not in repr(result) + repr(runner.events)


async def test_a_flow_is_undone_as_a_whole_and_a_named_undo_may_be_a_reference() -> None:
    """With the outputs of the flow by their names."""

    class Trip(TypedDict):
        city: str
        room: int

    def book(state: Trip) -> dict[str, int]:
        return {"room": 7}

    graph = StateGraph(Trip)
    graph.add_node("book", book)
    graph.add_edge(START, "book")
    undone: list[tuple[str, int]] = []

    @action
    async def cancel(city: str, room: int) -> None:
        undone.append((city, room))

    fail = next(one for one in Ledger().actions() if one.__name__ == "fail")
    runner = Runner(cancel, fail, saver=InMemorySaver())
    runner.catalog.add_flow(graph, name="trip", undo="action:cancel@0.1.0")
    trip = {"id": "t", "action": "trip", "inputs": {"city": "Ulm"}}
    result = await runner.run(make_plan(trip, {"id": "f", "action": "fail", "after": ["t"]}))

    assert ({"t": "undone"}, [("Ulm", 7)]) == (statuses(result), undone)


async def test_an_undo_may_be_a_flow() -> None:
    """It runs as one undo."""

    class Cancellation(TypedDict):
        name: str

    undone: list[str] = []

    def cancel(state: Cancellation) -> None:
        undone.append(state["name"])

    graph = StateGraph(Cancellation)
    graph.add_node("cancel", cancel)
    graph.add_edge(START, "cancel")

    @action(undo="cancellation")
    async def do(name: str, uses: list[str]) -> str:
        return name

    fail = next(one for one in Ledger().actions() if one.__name__ == "fail")
    runner = Runner(do, fail, saver=InMemorySaver())
    runner.catalog.add_flow(graph, name="cancellation")
    result = await runner.run(make_plan(step("a"), step("end", "a", action="fail")))

    assert ({"a": "undone"}, ["a"]) == (statuses(result), undone)


async def test_an_undo_that_the_catalog_does_not_have_is_reported() -> None:
    """The others are made."""
    ledger = Ledger()

    @action(undo="nothing")
    async def odd(uses: list[str]) -> str:
        return ""

    odd_step = {"id": "o", "action": "odd", "inputs": {"uses": ["${a}"]}}
    plan = make_plan(step("a"), odd_step, step("end", "o", action="fail"))
    result = await Runner(odd, *ledger.actions()).run(plan)

    assert {"o": "failed", "a": "undone"} == statuses(result)
    assert "UnknownAction" == result.compensation["o"].error_type


async def test_there_is_no_undo_to_repeat_of_a_run_that_never_ran() -> None:
    """And nothing of it is called."""
    ledger = Ledger()
    with pytest.raises(RunConflict, match="has not ended before"):
        await Runner(*ledger.actions(), saver=InMemorySaver()).run(CHAIN, undo_again=True)

    assert [] == ledger.lines


@pytest.mark.parametrize("by", ["action", "application"])
async def test_an_undo_that_wants_approval_is_not_made_without(by: str) -> None:
    """Rule 4: its own policy, and the application's, hold for it as for any action."""
    lines: list[str] = []

    @action(effect="external", approval=by == "action")
    async def refund(name: str) -> None:
        lines.append("refund")

    @action(effect="write", undo="refund")
    async def pay(name: str, uses: list[str]) -> str:
        return name

    ledger = Ledger()
    runner = Runner(refund, pay, *ledger.actions(), saver=InMemorySaver())
    if by == "application":
        runner.executor.approve_effects = frozenset({"external"})
    result = await runner.run(make_plan(step("p", action="pay"), step("f", "p", action="fail")))

    assert ("failed", "NotUndone") == (result.compensation["p"].status, result.compensation["p"].error_type)
    assert ("approval" in str(result.compensation["p"].error), []) == (True, lines)


@pytest.mark.parametrize(("by", "status"), [("name", "undone"), ("function", "failed")])
async def test_an_undo_that_is_gone_in_the_next_life_breaks_nothing(by: str, status: str) -> None:
    """A named one is called as it was decided; that a function is gone is reported, and the others are made."""
    lines: list[str] = []
    saver = InMemorySaver()

    @action
    async def take(name: str) -> None:
        lines.append(name)
        if len(lines) == 1:
            raise Crash

    def forget(name: str) -> None:
        raise AssertionError

    def runner(undo: Any) -> Runner:
        @action(undo="take", effect="write")
        async def always(name: str, uses: list[str] | None = None) -> str:
            return name

        @action(undo=undo, effect="write")
        async def once(name: str, uses: list[str] | None = None) -> str:
            return name

        fail = next(one for one in Ledger().actions() if one.__name__ == "fail")
        return Runner(take, always, once, fail, saver=saver)

    plan = make_plan(
        step("a", action="always"),
        step("b", "a", action="once"),
        step("c", "b", action="always"),
        step("f", "c", action="fail"),
    )
    with pytest.raises(Crash):
        await runner("take" if by == "name" else forget).run(plan)
    result = await runner(None).run(plan)

    assert {"a": "undone", "b": status, "c": "undone"} == statuses(result)
    assert [name for name in ("c", "c", "b", "a") if by == "name" or name != "b"] == lines


async def test_all_undos_of_a_run_may_be_gone_in_the_next_life() -> None:
    """What was decided is read again, although nothing could be decided now."""
    saver, lines = InMemorySaver(), list[str]()

    @action
    async def take(name: str) -> None:
        lines.append(name)
        if len(lines) == 1:
            raise Crash

    def runner(undo: str | None) -> Runner:
        @action(undo=undo, effect="write")
        async def do(name: str, uses: list[str] | None = None) -> str:
            return name

        fail = next(one for one in Ledger().actions() if one.__name__ == "fail")
        return Runner(take, do, fail, saver=saver)

    plan = make_plan(step("a"), step("f", "a", action="fail"))
    with pytest.raises(Crash):
        await runner("take").run(plan)

    assert {"a": "undone"} == statuses(await runner(None).run(plan))


async def test_what_an_undo_costs_is_counted_and_never_refused() -> None:
    """No budget keeps an effect from being taken back."""

    @action(cost=5.0)
    async def take(name: str) -> None: ...

    @action(undo="take", effect="write", cost=2.0)
    async def do(name: str) -> str:
        return name

    fail = next(one for one in Ledger().actions() if one.__name__ == "fail")
    plan = make_plan({"id": "a", "action": "do", "inputs": {"name": "a"}}, step("f", "a", action="fail"))
    result = await Runner(take, do, fail, limits=Limits(cost=3)).run(plan)

    assert ({"a": "undone"}, 7.0) == (statuses(result), result.usage.amount)


async def test_an_undo_that_asks_a_person_is_not_made() -> None:
    """Nobody can answer by then; the run ends all the same."""

    @action
    async def take(name: str) -> None:
        interrupt("really?")

    @action(undo="take", effect="write")
    async def do(name: str) -> str:
        return name

    fail = next(one for one in Ledger().actions() if one.__name__ == "fail")
    plan = make_plan({"id": "a", "action": "do", "inputs": {"name": "a"}}, step("f", "a", action="fail"))
    result = await Runner(take, do, fail, saver=InMemorySaver()).run(plan)

    assert ("failed", "NotUndone") == (result.status, result.compensation["a"].error_type)


async def test_a_process_that_has_lost_its_lease_undoes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may have undone it by now."""
    ledger, original = Ledger(), RunState.seal

    def lose(state: RunState) -> None:
        def check() -> None:
            raise LeaseLost("run-1")

        original(state)
        state.check_lease = check

    monkeypatch.setattr(RunState, "seal", lose)
    with contextlib.suppress(LeaseLost):
        await Runner(*ledger.actions()).run(CHAIN)

    assert [] == ledger.undone


async def test_an_undo_that_is_repeated_has_the_key_that_it_had() -> None:
    """That of the attempt whose effect it takes back, and not of an earlier one, which is gone."""
    ledger, saver = Ledger(), InMemorySaver()
    plan = make_plan(step("a"), step("f", "a", action="fail"))
    await Runner(*ledger.actions(), saver=saver).run(plan)
    ledger.broken = {"a"}
    await Runner(*ledger.actions(), saver=saver).run(plan, attempt=2)
    ledger.broken = set()
    await Runner(*ledger.actions(), saver=saver).run(plan, attempt=3, undo_again=True)

    assert ["run-1:a:undo", *["run-1:a:undo.1"] * 3] == ledger.keys


def test_a_clock_that_is_behind_does_not_put_a_step_before_what_it_used() -> None:
    """Two processes may have run them."""
    plan = make_plan(step("a"), step("b", "a"), step("c"))
    catalog = ActionCatalog(Ledger().actions())
    called = {one.id: resolve_step(one, catalog) for one in plan.steps}
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    at = {"a": noon, "b": noon - timedelta(hours=2), "c": noon - timedelta(hours=1)}
    outcomes = {
        name: StepOutcome(step_id=name, ref=called[name].ref, status="succeeded", finished_at=at[name]) for name in at
    }
    state = cast(
        "Any",
        SimpleNamespace(
            everything=build_graph(plan),
            called=lambda name: Called(plan.steps["abc".index(name)], called[name], outcomes[name]),
        ),
    )

    assert ["b", "a", "c"] == undo_order(state)


def test_what_was_undone_of_a_mapped_step_is_counted_by_item() -> None:
    """And a step that was undone as a whole by its id; earlier counts are added to."""
    outcome = StepOutcome(step_id="m", ref="action:do@0.1.0", status="succeeded", value=["x", "y", "z"]).to_record()
    undos = [
        UndoOutcome(step_id="m", status="failed", attempts=4, items=[1]),
        UndoOutcome(step_id="a", status="undone", attempts=1),
        UndoOutcome(step_id="b", status="failed", attempts=1),
    ]
    final = {"records": {"m": outcome}, "undone": {"a": 1}, "compensation": [one.to_record() for one in undos]}

    assert {"a": 2, "m[0]": 1, "m[2]": 1} == undone_before(final)
    assert {} == undone_before(None)
