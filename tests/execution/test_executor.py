"""A plan runs: order, bindings, outputs, events, and what it means to be refused."""

import asyncio
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, SecretStr

from planner.catalog import ActionContext, ActionSpec, Resource, Slot, action
from tests.support.running import Runner, make_plan


async def add(a: int, b: int = 1) -> int:
    return a + b


class Flight(BaseModel):
    id: str
    day: date
    price: float = 10.0


@dataclass
class Trip:
    flight: Flight
    at: datetime


@pytest.fixture(params=["no saver", "memory"])
def runner(request: pytest.FixtureRequest) -> Runner:
    return Runner(add, saver=InMemorySaver() if request.param == "memory" else None)


async def test_a_plan_gives_its_declared_outputs(runner: Runner) -> None:
    """Bindings alone keep their type; bindings in a text give a text."""
    plan = make_plan(
        {"id": "one", "action": "add", "inputs": {"a": "${user.start}"}},
        {"id": "two", "action": "add", "inputs": {"a": "${one}", "b": "${one.result}"}},
        outputs={
            "sum": "${two}",
            "text": "it is ${two.result}",
            "list": [["${one}"], {"k": "${user.start}"}],
            "raw": "$${x}",
        },
    )

    result = await runner.run(plan, user_inputs={"start": 4})

    assert result.ok
    assert {"sum": 10, "text": "it is 10", "list": [[5], {"k": 4}], "raw": "${x}"} == result.outputs
    assert {"one": {"result": 5}, "two": {"result": 10}} == result.step_outputs


async def test_without_declared_outputs_the_last_step_is_returned(runner: Runner) -> None:
    """The last in the list, as aethergraph does, whatever the order of running."""
    plan = make_plan(
        {"id": "late", "action": "add", "inputs": {"a": "${early}"}},
        {"id": "early", "action": "add", "inputs": {"a": 1}},
    )

    result = await runner.run(plan)

    assert {"result": 2} == result.outputs
    assert {"result": 3} == result.step_outputs["late"]


async def test_independent_steps_work_at_the_same_time(runner: Runner) -> None:
    """A2: each waits for the other to have begun, so running them one by one would not end."""
    meeting = asyncio.Barrier(2)

    @action
    async def meet(name: str) -> str:
        async with asyncio.timeout(10):
            await meeting.wait()
        return name

    runner.catalog.add(meet)
    plan = make_plan(*({"id": name, "action": "meet", "inputs": {"name": name}} for name in "ab"))

    assert (await runner.run(plan)).ok


async def test_a_step_starts_when_its_own_inputs_are_there(runner: Runner) -> None:
    """No barrier between levels: `fast2` runs while `slow`, which it does not need, is held."""
    release = asyncio.Event()

    @action
    async def slow() -> int:
        async with asyncio.timeout(10):
            await release.wait()
        return 1

    @action
    async def fast2(a: int) -> int:
        release.set()
        return a

    runner.catalog.add(slow)
    runner.catalog.add(fast2)
    plan = make_plan(
        {"id": "slow", "action": "slow"},
        {"id": "fast", "action": "add", "inputs": {"a": 1}},
        {"id": "fast2", "action": "fast2", "inputs": {"a": "${fast}"}},
    )

    assert (await runner.run(plan)).ok


async def test_events_are_numbered_without_gaps_and_end_with_the_outcome(runner: Runner) -> None:
    """Each has the run's id and a time with a zone."""
    await runner.run(make_plan({"id": "s", "action": "add", "inputs": {"a": 1}}))

    assert ["start", "step_start", "step_success", "success"] == runner.phases()
    assert [1, 2, 3, 4] == [event.seq for event in runner.events]
    assert {"run-1"} == {event.run_id for event in runner.events}
    assert all(event.time is not None and event.time.tzinfo is not None for event in runner.events)
    assert {"result": 2} == runner.events[2].step_outputs


async def test_a_listener_that_raises_changes_nothing(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""

    def broken(_: Any) -> None:
        raise RuntimeError("listener")

    runner.events = []
    from planner.context import RunContext
    from planner.execution import RunRequest

    plan = make_plan({"id": "s", "action": "add", "inputs": {"a": 1}})
    result = await runner.executor.execute(RunRequest(plan=plan, context=RunContext(run_id="r"), on_event=broken))

    assert result.ok
    assert "an event listener failed" in caplog.text


async def test_models_dataclasses_and_dates_cross_steps_as_plain_data(runner: Runner) -> None:
    """They are stored plain and validated again where they are bound."""
    seen: list[Any] = []

    @action
    async def find(day: date) -> Flight:
        return Flight(id="F1", day=day)

    @action
    async def plan_trip(flight: Flight, at: datetime) -> Trip:
        seen.extend([type(flight), type(at)])
        return Trip(flight, at)

    @action
    async def show(trip: Trip, day: str) -> str:
        seen.extend([type(trip), type(trip.flight)])
        return f"{trip.flight.id} {day}"

    for item in (find, plan_trip, show):
        runner.catalog.add(item)
    plan = make_plan(
        {"id": "f", "action": "find", "inputs": {"day": "2026-11-20"}},
        {"id": "t", "action": "plan_trip", "inputs": {"flight": "${f}", "at": "2026-11-20T10:00:00Z"}},
        {"id": "s", "action": "show", "inputs": {"trip": "${t}", "day": "${f.day}"}},
    )

    result = await runner.run(plan)

    assert {"result": "F1 2026-11-20"} == result.outputs
    assert [Flight, datetime, Trip, Flight] == seen
    assert {"id": "F1", "day": date(2026, 11, 20), "price": 10.0} == result.step_outputs["f"]


async def test_no_step_can_change_what_another_was_given(runner: Runner) -> None:
    """Lists and dictionaries are copied where they are bound."""

    @action
    async def make() -> dict[str, Any]:
        return {"items": [1, 2]}

    @action
    async def spoil(data: dict[str, Any]) -> int:
        data["items"].append(3)
        return len(data["items"])

    runner.catalog.add(make)
    runner.catalog.add(spoil)
    plan = make_plan(
        {"id": "m", "action": "make"},
        {"id": "a", "action": "spoil", "inputs": {"data": "${m.result}"}},
        {"id": "b", "action": "spoil", "inputs": {"data": "${m.result}"}, "after": ["a"]},
        outputs={"data": "${m.result}", "lengths": ["${a}", "${b}"]},
    )

    result = await runner.run(plan)

    assert {"data": {"items": [1, 2]}, "lengths": [3, 3]} == result.outputs


async def test_an_action_is_told_about_its_call_and_given_resources(runner: Runner) -> None:
    """The idempotency key names run, revision and step; reports become events."""
    seen: list[Any] = []

    @action
    async def work(ctx: ActionContext, db: Annotated[dict[str, int], Resource("db")]) -> int:
        seen.append((ctx.run_id, ctx.step_id, ctx.attempt, ctx.idempotency_key, ctx.identity.user_id))
        ctx.report(0.5, "half")
        return db["x"]

    runner.catalog.add(work)
    result = await runner.run(make_plan({"id": "w", "action": "work"}), resources={"db": {"x": 7}})

    assert {"result": 7} == result.outputs
    assert [("run-1", "w", 1, "run-1:0:w", "local")] == seen
    assert [(0.5, "half")] == [
        (event.progress, event.message) for event in runner.events if event.phase == "step_progress"
    ]


async def test_a_missing_resource_is_a_failure_that_says_what_to_pass(runner: Runner) -> None:
    """The run fails at that step, with the resource's name."""

    @action
    async def work(db: Annotated[dict[str, int], Resource("db")]) -> int:
        return db["x"]

    runner.catalog.add(work)
    result = await runner.run(make_plan({"id": "w", "action": "work"}))

    assert "failed" == result.status
    assert "resource 'db'" in (result.outcomes["w"].error or "")


async def test_a_plan_that_fails_validation_is_never_run(runner: Runner) -> None:
    """Nothing is called, and the result says why (A3, A6, A7)."""
    called: list[int] = []

    @action
    async def note(a: int) -> int:
        called.append(a)
        return a

    runner.catalog.add(note)
    result = await runner.run(
        make_plan(
            {"id": "good", "action": "note", "inputs": {"a": 1}}, {"id": "bad", "action": "note", "inputs": {"b": 1}}
        )
    )
    empty = await runner.run(make_plan())

    assert [] == called
    assert ("failed", False) == (result.status, result.ok)
    assert result.validation is not None
    assert {"missing_input", "unknown_input"} == {
        issue.kind for issue in result.validation.issues if issue.is_structural
    }
    assert "InvalidPlan" in (result.errors[0].error or "")
    assert "empty" in str(empty.validation and empty.validation.issues[0].kind)


async def test_a_plan_that_lacks_user_inputs_is_never_run(runner: Runner) -> None:
    """A11: not even the steps before the one that lacks something."""
    plan = make_plan(
        {"id": "s", "action": "add", "inputs": {"a": 1}},
        {"id": "t", "action": "add", "inputs": {"a": "${user.missing}"}},
    )
    result = await runner.run(plan)

    assert not result.ok
    assert {} == result.outcomes
    assert result.validation is not None
    assert {"missing": ["t.a"]} == result.validation.missing_user_bindings


async def test_an_action_that_needs_approval_is_refused_without_a_checkpointer() -> None:
    """Nothing of the plan runs, since it could not wait for the answer."""
    runner, called = Runner(), list[int]()

    @action(approval=True, effect="external")
    async def pay(amount: int) -> int:
        called.append(amount)
        return amount

    runner.catalog.add(pay)
    result = await runner.run(make_plan({"id": "p", "action": "pay", "inputs": {"amount": 1}}))

    assert [] == called
    assert "ApprovalRequired: p (pay)" in (result.errors[0].error or "")


async def test_an_action_that_is_only_described_is_refused(runner: Runner) -> None:
    """A spec without a function can be planned with, not run."""
    runner.catalog.add(ActionSpec("ghost", "action:ghost@1.0", "action", "1.0", (), (Slot("result"),)))

    result = await runner.run(make_plan({"id": "g", "action": "ghost"}))

    assert "NotExecutable: ghost" in (result.errors[0].error or "")


async def test_a_dry_run_shows_order_bindings_and_estimate_and_calls_nothing(runner: Runner) -> None:
    """Known values are filled in; what comes from steps stays a binding."""
    plan = make_plan(
        {"id": "two", "action": "add", "inputs": {"a": "${one}", "b": 2}},
        {"id": "one", "action": "add", "inputs": {"a": "${user.x}"}},
    )
    result = await runner.run(plan, user_inputs={"x": 5}, dry_run=True)

    assert result.ok
    assert result.preview is not None
    assert ["one", "two"] == list(result.preview.order)
    assert {"two": {"a": "${one}", "b": 2}, "one": {"a": 5}} == result.preview.bindings
    assert [] == runner.phases()


async def test_a_secret_reaches_the_action_and_nothing_else(runner: Runner) -> None:
    """Not the events, not the errors, not the stored outcome; also when an action raises it."""

    @action
    async def login(token: str, typed: SecretStr) -> int:
        raise RuntimeError(f"bad token {token} {typed.get_secret_value()}")

    runner.catalog.add(login)
    plan = make_plan(
        {"id": "l", "action": "login", "inputs": {"token": "${user.token}", "typed": "${user.more[0].key}"}}
    )
    secrets = {"token": SecretStr("hunter2"), "more": [{"key": SecretStr("hunter23")}]}
    result = await runner.run(plan, user_inputs=secrets)

    assert "bad token <secret token> <secret more>" == result.outcomes["l"].error
    assert "hunter2" not in repr(runner.events) + repr(result)


async def test_a_secret_cannot_be_an_output(runner: Runner) -> None:
    """Outputs are stored, so the step fails and says so."""

    @action
    async def leak() -> SecretStr:
        return SecretStr("hunter2")

    runner.catalog.add(leak)
    result = await runner.run(make_plan({"id": "l", "action": "leak"}))

    assert "UnstorableOutput" == result.outcomes["l"].error_type
    assert "hunter2" not in repr(result)


async def test_the_result_raises_on_request(runner: Runner) -> None:
    """With the first error in the message."""
    from planner.errors import RunFailed

    result = await runner.run(make_plan({"id": "s", "action": "add", "inputs": {"a": 1}}))
    assert result is result.raise_for_failure()

    bad = await runner.run(make_plan(), "another")
    with pytest.raises(RunFailed, match="empty"):
        bad.raise_for_failure()


async def test_values_that_no_store_can_write_fail_their_own_step() -> None:
    """An integer of more than 64 bits, and a text that is no UTF-8; what was done before is kept."""

    @action
    async def odd(a: int) -> Any:
        return 2**70 if a else "file-\udce9"

    plan = make_plan(
        {"id": "good", "action": "add", "inputs": {"a": 1}},
        {"id": "big", "action": "odd", "inputs": {"a": 1}, "after": ["good"]},
        {"id": "text", "action": "odd", "inputs": {"a": 0}, "after": ["good"]},
    )
    result = await Runner(add, odd, saver=InMemorySaver()).run(plan, stop_on_failure=False)

    assert {"good": {"result": 2}} == result.step_outputs
    assert "64 bits" in (result.outcomes["big"].error or "")
    assert "surrogate" in (result.outcomes["text"].error or "")


async def test_inputs_that_are_odd_do_not_end_the_call_with_an_exception() -> None:
    """Nested for ever, no UTF-8, too large: the action is given them, or the step says what does not fit."""

    @action
    async def take(x) -> int:
        return 1

    @action
    async def typed(x: list[int]) -> int:
        return 1

    cyclic: list[Any] = []
    cyclic.append(cyclic)
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    runner = Runner(take, typed)
    for value in (cyclic, deep, "\ud800", 2**70):
        for name in ("take", "typed"):
            plan = make_plan({"id": "s", "action": name, "inputs": {"x": "${user.x}"}})
            assert (await runner.run(plan, user_inputs={"x": value})).status in ("succeeded", "failed")


async def test_a_plan_may_be_given_as_its_json_form() -> None:
    """As it comes from a file or a model."""
    from goalgraph import open_planner

    async with open_planner(actions=[add]) as planner:
        result = await planner.execute({"steps": [{"id": "s", "action": "add", "inputs": {"a": 1}}]})

    assert {"result": 2} == result.outputs
