"""Questions of flows: who may answer what, several at once, and runs that are stopped while they wait."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from planner.catalog import action
from planner.errors import UnknownQuestion
from tests.support.running import Runner, make_plan


class State(TypedDict, total=False):
    topic: str
    answer: str


def _asking() -> Any:
    def ask(state: State) -> State:
        return {"answer": interrupt({"ask": state.get("topic")})}

    return StateGraph(State).add_node("ask", ask).add_edge(START, "ask")


def _runner(*actions: Any, saver: Any = None, **policy: Any) -> Runner:
    runner = Runner(*actions, saver=saver)
    runner.catalog.add_flow(_asking(), name="talk", **policy)
    return runner


ONE = make_plan({"id": "f", "action": "talk", "inputs": {"topic": "one"}}, outputs={"a": "${f.answer}"})


async def test_an_answer_to_what_was_not_asked_is_refused() -> None:
    """LangGraph would hand it to the question that happens to be open."""
    runner = _runner(saver=InMemorySaver())
    with pytest.raises(UnknownQuestion, match="asks nothing"):
        await runner.run(ONE, answers={"made-up": "yes"})
    waiting = await runner.run(ONE)
    with pytest.raises(UnknownQuestion, match=waiting.interrupts[0].id):
        await runner.run(ONE, answers={"made-up": "yes"})
    result = await runner.run(ONE, answers={waiting.interrupts[0].id: "yes"})

    assert {"a": "yes"} == result.outputs


async def test_all_items_of_a_mapped_flow_ask_at_once() -> None:
    """One round for three questions."""
    runner = _runner(saver=InMemorySaver())
    plan = make_plan(
        {"id": "f", "action": "talk", "for_each": ["x", "y", "z"], "inputs": {"topic": "${item}"}},
        outputs={"all": "${f.answer}"},
    )
    waiting = await runner.run(plan)
    assert ["x", "y", "z"] == sorted(one.value["ask"] for one in waiting.interrupts)
    result = await runner.run(plan, answers={one.id: one.value["ask"].upper() for one in waiting.interrupts})

    assert {"all": ["X", "Y", "Z"]} == result.outputs


async def test_a_question_without_a_checkpointer_fails_the_step() -> None:
    """Nobody could ever answer it."""
    outcome = (await _runner().run(ONE)).outcomes["f"]

    assert ("failed", "NobodyToAsk") == (outcome.status, outcome.error_type)


async def test_a_failure_beside_a_question_ends_the_run_as_failed() -> None:
    """Nobody is asked for an answer that would be thrown away."""

    @action
    async def boom() -> int:
        raise ValueError("no")

    runner = _runner(boom, saver=InMemorySaver())
    plan = make_plan({"id": "f", "action": "talk", "inputs": {"topic": "one"}}, {"id": "b", "action": "boom"})
    result = await runner.run(plan)

    assert ("failed", ()) == (result.status, result.interrupts)
    assert ("skipped", "stopped") == (result.outcomes["f"].status, result.outcomes["f"].reason)
    assert "failed" == (await runner.run(plan)).status


async def test_a_run_that_is_cancelled_while_it_waits_ends_as_cancelled() -> None:
    """Also when it is asked for again."""
    started = asyncio.Event()

    @action
    async def hang() -> int:
        started.set()
        await asyncio.Event().wait()
        return 0

    runner = _runner(hang, saver=InMemorySaver())
    plan = make_plan({"id": "f", "action": "talk", "inputs": {"topic": "one"}}, {"id": "h", "action": "hang"})
    async with asyncio.timeout(20):
        run = asyncio.create_task(runner.run(plan))
        await started.wait()
        await runner.until("waiting")
        runner.executor.cancel("run-1")
        result = await run

    assert ("cancelled", "cancelled") == (result.status, (await runner.run(plan)).status)


async def test_a_flow_that_must_not_run_twice_may_ask() -> None:
    """It has checkpoints of its own, so going on is not running twice."""
    runner = _runner(saver=InMemorySaver(), idempotent="no")
    waiting = await runner.run(ONE)
    result = await runner.run(ONE, answers={waiting.interrupts[0].id: "yes"})

    assert {"a": "yes"} == result.outputs
