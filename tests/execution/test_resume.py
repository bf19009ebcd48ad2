"""A run id means one run: of one plan, one owner and one set of inputs, with the versions it was started with."""

import asyncio
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from planner.catalog import action
from planner.context import RequestIdentity, RunContext
from planner.errors import RunConflict
from planner.execution import PlanExecutor, RunRequest
from storage.errors import NewerRecord
from tests.support.running import Runner, make_plan


class Crash(BaseException):
    """Ends the run like a bug of ours would."""


@action
async def echo(a: Any) -> Any:
    return a


PLAN = make_plan({"id": "e", "action": "echo", "inputs": {"a": "${user.x}"}})


async def test_another_owner_s_run_is_a_conflict() -> None:
    """Ended or not."""
    runner = Runner(echo, saver=InMemorySaver())
    await runner.run(PLAN, user_inputs={"x": 1})
    stranger = RunContext(run_id="run-1", identity=RequestIdentity(user_id="eve"))

    with pytest.raises(RunConflict, match="is taken"):
        await runner.executor.execute(RunRequest(plan=PLAN, user_inputs={"x": 1}, context=stranger))


async def test_other_inputs_are_a_conflict() -> None:
    """Half a run with each would be a mixture; a run that ended is not given again for other inputs."""
    runner = Runner(echo, saver=InMemorySaver())
    await runner.run(PLAN, user_inputs={"x": 1})

    with pytest.raises(RunConflict, match="other user inputs"):
        await runner.run(PLAN, user_inputs={"x": 2})
    with pytest.raises(RunConflict, match="other user inputs"):
        await runner.run(PLAN)


async def test_a_thread_of_something_else_is_a_conflict() -> None:
    """Such as a graph of the application, by mistake."""
    from langgraph.func import entrypoint

    saver = InMemorySaver()

    @entrypoint(checkpointer=saver)
    async def other(x: int) -> int:
        return x

    await other.ainvoke(1, {"configurable": {"thread_id": "run-1"}})
    with pytest.raises(RunConflict, match="something else"):
        await Runner(echo, saver=saver).run(PLAN, user_inputs={"x": 1})


async def test_the_roles_of_the_version_that_runs_are_what_counts() -> None:
    """A newer version without roles does not open the older one to everybody."""
    crash = True

    @action(name="read", version="1.0", roles=["admin"])
    async def old() -> str:
        if crash:
            raise Crash
        return "top secret"

    @action(name="read", version="2.0")
    async def new() -> str:
        return "public"

    saver, plan = InMemorySaver(), make_plan({"id": "r", "action": "read"})
    admin = RunContext(run_id="r", identity=RequestIdentity(roles=["admin"]))
    with pytest.raises(Crash):
        await Runner(old, saver=saver).executor.execute(RunRequest(plan=plan, context=admin))
    crash = False
    result = await Runner(old, new, saver=saver).run(plan, "r")

    assert result.validation is not None
    assert ["forbidden_action"] == [issue.kind for issue in result.validation.issues]


async def test_a_version_that_is_gone_is_an_issue() -> None:
    """The run stays as it is until the catalog has it again."""

    @action(name="read", version="1.0")
    async def old() -> str:
        raise Crash

    @action(name="read", version="2.0")
    async def new() -> str:
        return "new"

    saver, plan = InMemorySaver(), make_plan({"id": "r", "action": "read"})
    with pytest.raises(Crash):
        await Runner(old, saver=saver).run(plan)
    result = await Runner(new, saver=saver).run(plan)

    assert "InvalidPlan" in (result.errors[0].error or "")
    assert "action:read@1.0" in (result.errors[0].error or "")


async def test_a_record_of_another_version_ends_the_call_instead_of_hanging_it() -> None:
    """What goes wrong in a callback reaches the caller."""
    saver = InMemorySaver()

    @action
    async def crash(a: Any) -> Any:
        raise Crash

    plan = make_plan(
        {"id": "e", "action": "echo", "inputs": {"a": 1}}, {"id": "c", "action": "crash", "inputs": {"a": "${e}"}}
    )
    with pytest.raises(Crash):
        await Runner(echo, crash, saver=saver).run(plan)
    original = saver.aget_tuple

    async def newer(config: Any) -> Any:
        found = await original(config)
        for _, _, value in (found.pending_writes if found else None) or ():
            if isinstance(value, dict) and "v" in value:
                value["v"] = 99
        return found

    saver.aget_tuple = newer
    async with asyncio.timeout(20):
        with pytest.raises(NewerRecord, match="newer version"):
            await Runner(echo, crash, saver=saver).run(plan)


async def test_a_run_that_two_callers_wait_for_ends_only_when_both_have_given_up() -> None:
    """A time-out around one of them takes nothing from the other."""
    release = asyncio.Event()

    @action
    async def hold() -> int:
        await release.wait()
        return 1

    runner = Runner(hold, saver=InMemorySaver())
    plan = make_plan({"id": "h", "action": "hold"})
    first = asyncio.create_task(runner.run(plan))
    await runner.until("step_start")
    second = asyncio.create_task(runner.run(plan))
    await runner.until("step_start")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    release.set()
    async with asyncio.timeout(10):
        assert (await second).ok


async def test_what_ended_a_run_is_told_again_when_it_is_asked_for() -> None:
    """Errors and reasons are rebuilt from the records."""

    @action
    async def boom() -> int:
        raise ValueError("no")

    saver, plan = InMemorySaver(), make_plan({"id": "b", "action": "boom"})
    first = await Runner(boom, saver=saver).run(plan)
    again = await Runner(boom, saver=saver).run(plan)

    assert [event.error for event in first.errors] == [event.error for event in again.errors]


async def test_later_changes_of_the_inputs_do_not_reach_a_run() -> None:
    """They were given when it started."""
    inputs: dict[str, Any] = {"x": 1}

    @action
    async def change() -> int:
        inputs["x"] = 2
        return 0

    plan = make_plan(
        {"id": "c", "action": "change"}, {"id": "e", "action": "echo", "inputs": {"a": "${user.x}"}, "after": ["c"]}
    )
    assert {"result": 1} == (await Runner(change, echo).run(plan, user_inputs=inputs)).outputs


async def test_an_executor_without_a_saver_knows_no_run() -> None:
    """The same id runs again."""
    executor = PlanExecutor(Runner(echo).catalog)
    request = RunRequest(plan=PLAN, user_inputs={"x": 1}, context=RunContext(run_id="r"))

    assert [1, 1] == [(await executor.execute(request)).usage.attempts for _ in range(2)]


class _Flow(TypedDict, total=False):
    x: int


@pytest.mark.parametrize("later", [True, False], ids=["comes", "goes"])
async def test_an_undo_that_comes_or_goes_between_two_lives_does_not_begin_a_flow_anew(
    later: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """What was begun is known by its number among the tasks of its step."""
    saver, ran, crash = InMemorySaver(), list[str](), [True]

    def one(state: _Flow) -> _Flow:
        ran.append("one")
        return {"x": 1}

    def two(state: _Flow) -> _Flow:
        ran.append("two")
        if crash[0]:
            raise Crash
        return {"x": 2}

    graph = StateGraph(_Flow)
    graph.add_node("one", one)
    graph.add_node("two", two)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")

    def undo() -> None:
        raise AssertionError

    def runner(undone: bool) -> Runner:  # noqa: FBT001 - a parameter of the test
        found = Runner(saver=saver)
        found.catalog.add_flow(graph.compile(), name="flow", undo=undo if undone else None)
        return found

    plan = make_plan({"id": "f", "action": "flow", "inputs": {"x": 0}})
    with pytest.raises(Crash):
        await runner(not later).run(plan)
    crash[0] = False
    result = await runner(later).run(plan)

    assert (True, ["one", "two", "two"]) == (result.ok, ran)
