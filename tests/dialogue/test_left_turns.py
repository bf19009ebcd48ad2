"""Turns that fail half-way, runs that are told later, and parts of an application that do what they should not."""

import asyncio
from typing import Any

import pytest

from goalgraph import (
    ActionCatalog,
    AgentOrchestrator,
    DialogueMemory,
    PlannerService,
    QuickActionRegistry,
    QuickActionSpec,
    RoutedIntent,
    RuleRouter,
    ScriptedModel,
    action,
)
from planner.dialogue.compaction import MemoryPolicy
from planner.dialogue.state import PendingQuestion
from planner.errors import ModelUnavailable
from storage.sessions import MemoryStorage
from tests.support.conversations import BOOK, GOAL, Agency, a_plan, step, talking


class Failing(MemoryStorage):
    """Fails once where it is told to."""

    fails = ""
    written = 0

    async def add_conversation_message(self, session_id: str, role: str, *args: Any, **more: Any) -> bool:
        self.reach(role)
        return await super().add_conversation_message(session_id, role, *args, **more)

    async def get_conversation_history(self, *args: Any, **more: Any) -> Any:
        self.reach("history")
        return await super().get_conversation_history(*args, **more)

    async def store_task_context(self, session_id: str, context: Any) -> bool:
        self.written += 1
        return await super().store_task_context(session_id, context)

    def reach(self, point: str) -> None:
        if point == self.fails:
            self.fails = ""
            raise ConnectionError("the store is gone")


@pytest.fixture
def agency() -> Agency:
    return Agency()


# --------------------------------------------------------------------------------------------------- a store that fails


async def test_a_goal_whose_answer_could_not_be_stored_is_not_run_again(agency: Agency) -> None:
    sessions = Failing()
    async with talking(agency, GOAL, BOOK, review="never", sessions=sessions) as say:
        sessions.fails = "assistant"
        with pytest.raises(ConnectionError):
            await say("book the flight LH-1")
        turn = await say("book the flight LH-1")

    assert ("Done: booked LH-1", ["book LH-1"]) == (turn.message_to_user, agency.done)


async def test_a_yes_whose_answer_could_not_be_stored_is_told_when_it_is_given_again(agency: Agency) -> None:
    sessions = Failing()
    async with talking(agency, GOAL, BOOK, sessions=sessions) as say:
        asked = await say("book the flight LH-1")
        sessions.fails = "assistant"
        with pytest.raises(ConnectionError):
            await say("yes")
        assert say.state.pending == asked.question
        turn = await say("yes")

    assert ("Done: booked LH-1", ["book LH-1"]) == (turn.message_to_user, agency.done)


async def test_a_conversation_that_cannot_be_made_short_is_answered(agency: Agency) -> None:
    sessions = Failing()
    async with talking(agency, model=False, sessions=sessions) as say:
        sessions.fails = "history"
        turn = await say("hello")
        assert ("", turn.message_to_user) == (sessions.fails, (await say.spoken())[-1])


async def test_a_run_waits_for_no_summary(agency: Agency) -> None:
    """That is written before a model is asked next, so no result is lost or late for its sake."""
    writer = ScriptedModel(["They talked."], repeat=True)
    sessions = MemoryStorage()
    memory = DialogueMemory(sessions, llm=writer, policy=MemoryPolicy(window_tokens=60))
    async with talking(agency, GOAL, BOOK, sessions=sessions, memory=memory) as say:
        await say("book the flight LH-1 " + "for me " * 100)
        assert [] == writer.calls
        turn = await say("yes")
        assert ("Done: booked LH-1", []) == (turn.message_to_user, writer.calls)
        await say("/help")

    assert ("They talked.", True) == (say.state.summary, len(writer.calls) > 0)


async def test_a_state_is_written_only_when_it_has_changed(agency: Agency) -> None:
    """Each version is kept, so a greeting would cost as much as all that is remembered."""
    sessions = Failing()
    async with talking(agency, GOAL, BOOK, sessions=sessions, model=True) as say:
        await say("/help")
        assert 0 == sessions.written
        await say("book the flight LH-1")
        assert 1 == sessions.written
        await say("yes")
        assert 3 == sessions.written
        await say("/help")

    assert 3 == sessions.written


# ------------------------------------------------------------------------------------------------------ runs told later


async def test_the_ends_of_several_runs_are_told_in_order_and_remembered_with_their_goals(agency: Agency) -> None:
    gate = asyncio.Event()

    @action
    async def slow(n: int) -> str:
        """Do it slowly."""
        await gate.wait()
        return f"r{n}"

    plans = [a_plan(step("slow", n=number)) for number in (1, 2)]
    async with talking(agency, GOAL, plans[0], GOAL, plans[1], actions=[slow], patience=0.01) as say:
        await say("do the slow thing one please")
        second = await say("do the slow thing two please")
        runs = list(say.state.running)
        gate.set()
        for run_id in runs:
            await (await say.service.get_run(run_id)).wait(end=True)
        told = await say.agent.catch_up(say.state)
        again = await say.agent.catch_up(say.state)

    assert (second.message_to_user or "").startswith(f"What was begun before goes on by itself (run {runs[0]}).")
    assert told is not None
    assert ("Done: r1\n\nDone: r2", None, []) == (told.message_to_user, again, say.state.running)
    assert ["one", "two"] == [one.goal.split()[4] for one in say.state.artifacts]


async def test_a_run_that_was_stopped_in_this_turn_is_not_said_to_go_on(agency: Agency) -> None:
    async def stop(*, context: Any) -> str:
        handle = await context.planner.get_run(say.state.running[0])
        handle.cancel()
        await handle.wait(end=True)
        return "It is stopped."

    quick = QuickActionRegistry({"stop": QuickActionSpec("stop", "Stop it.")}, {"stop": stop})
    async with talking(agency, GOAL, a_plan(step("choose_seat")), quick_actions=quick) as say:
        await say("choose a seat in the plane")
        turn = await say("/stop")

    assert "running" not in (turn.message_to_user or "")
    assert (turn.message_to_user or "").startswith("It is stopped.")


@pytest.mark.parametrize("message", ["no", "/drop"])
async def test_a_question_of_a_run_that_is_gone_can_be_dropped(agency: Agency, message: str) -> None:
    async with talking(agency, GOAL, a_plan(step("choose_seat"))) as say:
        await say("choose a seat in the plane")
        assert say.state.pending is not None
        say.state.pending = say.state.pending.model_copy(update={"run_id": "gone"})
        say.state.running = ["gone"]
        await say.agent.memory.save(say.state)
        turn = await say(message)

    assert ("The run that asked this is not there any more.", None) == (turn.message_to_user, say.state.pending)


async def test_a_goal_that_comes_to_no_plan_leaves_what_was_open(agency: Agency) -> None:
    away = [ModelUnavailable("the line is dead")] * 3
    async with talking(agency, GOAL, BOOK, *away) as say:
        await say("book the flight LH-1")
        turn = await say("/plan fly to the moon")
        assert turn.question is not None
        assert "The language model does not answer" in (turn.message_to_user or "")
        await say("yes")

    assert ["book LH-1"] == agency.done


async def test_a_plan_that_is_set_aside_is_named_by_its_goal(agency: Agency) -> None:
    async with talking(agency, GOAL, BOOK, BOOK) as say:
        await say("book the flight LH-1 password=swordfish")
        turn = await say("/plan book it again")

    assert (turn.message_to_user or "").startswith("I set aside the plan for: book the flight LH-1 password=•••")


# ------------------------------------------------------------------------------------------- parts of the application


class Odd:
    """A router or builder that does not do what it should."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def route(self, **_: Any) -> Any:
        return self.build()

    def build(self, **_: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_router_may_be_sync(agency: Agency) -> None:
    router: Any = Odd(RoutedIntent(mode="chat_only", metadata={"hint": "Routed."}))
    async with talking(agency, model=False, router=router) as say:
        assert "Routed." == (await say("anything")).message_to_user


@pytest.mark.parametrize("answer", [None, RuntimeError("boom"), "plan"], ids=["nothing", "raises", "text"])
async def test_a_router_that_fails_leaves_the_message_to_the_rules(agency: Agency, answer: Any) -> None:
    router: Any = Odd(answer)
    async with talking(agency, BOOK, router=router) as say:
        await say("/plan book the flight LH-1")
        await say("yes")

    assert ["book LH-1"] == agency.done


@pytest.mark.parametrize(
    ("answer", "told"),
    [(RuntimeError("boom"), "RuntimeError: boom"), (None, "returned a NoneType, not a PlanningContext")],
    ids=["raises", "nothing"],
)
async def test_a_context_builder_that_fails_is_told(agency: Agency, answer: Any, told: str) -> None:
    builder: Any = Odd(answer)
    async with talking(agency, model=False, context_builder=builder) as say:
        turn = await say("book a flight")
        spoken = await say.spoken()

    assert (turn.message_to_user or "").startswith("I could not gather what I need to plan this: ")
    assert (True, 2) == (told in (turn.message_to_user or ""), len(spoken))


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ({"memory": MemoryPolicy()}, r"DialogueMemory\(planner.service.sessions, policy="),
        ({"context_builder": object()}, r"context_builder has `build\(…\)`, which a object does not have"),
        ({"router": RuleRouter}, r"router is the class RuleRouter itself; give an instance of it: RuleRouter\(…\)"),
        ({"router": "rules"}, "router has `route"),
        ({"quick_actions": {"a": 1}}, r"quick_actions is a QuickActionRegistry, not dict; QuickActionRegistry\("),
        ({"quick_actions": QuickActionRegistry}, "not the class QuickActionRegistry"),
    ],
    ids=["memory", "builder", "class", "text", "actions", "actions class"],
)
def test_parts_that_are_something_else_are_refused_with_advice(option: dict[str, Any], advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        AgentOrchestrator(planner=PlannerService(ActionCatalog()), **option)


async def test_a_state_that_is_none_is_refused_with_advice(agency: Agency) -> None:
    async with talking(agency, model=False) as say:
        made: Any = {"session_id": "trip"}
        for call in (
            say.agent.handle_turn(user_message="hi", session_state=made),
            say.agent.catch_up(made),
        ):
            with pytest.raises(TypeError, match="session_state is a SessionState, not dict; take the one that open"):
                await call


async def test_secrets_are_held_for_a_run_and_for_nothing_else(agency: Agency) -> None:
    """Without an id they would be offered to whoever has a question without one."""
    async with talking(agency, model=False) as say:
        with pytest.raises(ValueError, match="the id of a run"):
            say.agent._parts.hold("", {"password": "x"})

    assert {} == say.agent._parts.inputs_of(PendingQuestion(kind="inputs", text=""))
