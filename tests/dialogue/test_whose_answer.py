"""An answer counts for the question that its user saw, once, whoever else talks in the session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from goalgraph import AgentOrchestrator, AgentTurnResult, QuickActionRegistry, QuickActionSpec, SessionState, action
from planner.execution import ExecutionResult
from storage.sessions import MemoryStorage
from tests.support.conversations import BOOK, GOAL, Agency, Talk, a_plan, says, step, talking
from tests.support.running import loop_turn

PAY = a_plan(step("pay", amount=3))
CHANGED = "What you answered was answered already, or has changed meanwhile, so I did nothing. What I ask now:"
UNSEEN = "I cannot see whether it still goes on. Ask for it again only if it does not, and is still to be done."


class Slow(MemoryStorage):
    """Lets others work during each call, as a network does."""

    async def get_task_context(self, session_id: str) -> Any:
        found = await super().get_task_context(session_id)
        await loop_turn()
        return found

    async def add_conversation_message(self, *args: Any, **more: Any) -> bool:
        await loop_turn()
        return await super().add_conversation_message(*args, **more)


@pytest.fixture
def agency() -> Agency:
    return Agency()


async def at_once(say: Talk, *messages: str, **options: Any) -> list[AgentTurnResult]:
    """Say each message in a process of its own, as far as agents tell processes apart."""
    agents = [AgentOrchestrator(planner=say.service, **options) for _ in messages]
    states = [await agent.open("trip") for agent in agents]
    return await asyncio.gather(
        *(
            agent.handle_turn(user_message=message, session_state=state)
            for agent, message, state in zip(agents, messages, states, strict=True)
        )
    )


@asynccontextmanager
async def shown(agency: Agency, plan: Any = BOOK, *more: Any, **options: Any) -> AsyncIterator[Talk]:
    """A conversation in which a plan is shown."""
    async with talking(agency, GOAL, plan, *more, **options) as say:
        assert (await say("book the flight LH-1")).question is not None
        yield say


@pytest.mark.parametrize("answer", [("", True), ("yes", None), ("no", None)], ids=["form", "yes", "no"])
async def test_an_answer_to_a_plan_that_was_changed_elsewhere_does_nothing(agency: Agency, answer: Any) -> None:
    """The other one is shown, and may be agreed to then."""
    other = a_plan(step("book_flight", flight="LH-EXPENSIVE"))
    async with shown(agency, BOOK, says("change"), other) as say:
        tab = say.state.model_copy(deep=True)
        await say("make it the expensive one please")
        turn = await say.agent.handle_turn(user_message=answer[0], values=answer[1], session_state=tab)
        assert ([], True) == (agency.done, (turn.message_to_user or "").startswith(CHANGED))
        assert "LH-EXPENSIVE" in (turn.message_to_user or "")
        await say.agent.handle_turn(user_message="yes", session_state=tab)

    assert ["book LH-EXPENSIVE"] == agency.done


async def test_a_yes_that_arrives_twice_agrees_to_one_question(agency: Agency) -> None:
    async with shown(agency, PAY) as say:
        first, second = await asyncio.gather(say("yes"), say("yes"))

    assert first.question is not None
    assert second.question is not None
    assert (first.question.id, []) == (second.question.id, agency.done)
    assert (second.message_to_user or "").startswith(CHANGED)


async def test_a_request_that_is_sent_again_agrees_to_one_question(agency: Agency) -> None:
    """Also to a server that opens the state for each request, when it says which question was answered."""
    async with shown(agency, PAY) as say:
        assert say.state.pending is not None
        before, question_id = say.state.model_copy(deep=True), say.state.pending.id
        await say("", {"approve": True})
        again = await say.agent.handle_turn(user_message="", values={"approve": True}, session_state=before)
        opened = await say.agent.open("trip")
        named = await say.agent.handle_turn(user_message="yes", session_state=opened, question_id=question_id)

    assert [] == agency.done
    for turn in (again, named):
        assert (turn.message_to_user or "").startswith(CHANGED)


async def test_values_for_a_question_that_was_answered_are_told_so(agency: Agency) -> None:
    async with shown(agency) as say:
        before = say.state.model_copy(deep=True)
        await say("yes")
        turn = await say.agent.handle_turn(user_message="", values=True, session_state=before)

    assert (turn.message_to_user or "").startswith("That was answered already, so it was not used.")
    assert ["book LH-1"] == agency.done


@pytest.mark.parametrize("messages", [("yes", "no"), ("no", "yes"), ("yes", "yes")], ids="-".join)
async def test_of_two_answers_at_once_one_counts(agency: Agency, messages: tuple[str, str]) -> None:
    """It is not said that nothing was done, when something was."""
    async with shown(agency, sessions=Slow()) as say:
        told = [turn.message_to_user or "" for turn in await at_once(say, *messages)]

    nothing = [text for text in told if "nothing was done" in text]
    assert agency.done in ([], ["book LH-1"])
    assert (len(nothing) > 0) == (agency.done == [])


async def test_a_plan_that_was_dropped_stays_dropped(agency: Agency) -> None:
    async with shown(agency, sessions=Slow()) as say:
        await at_once(say, "no", "/help")
        later = await say.agent.open("trip")
        turn = await say.agent.handle_turn(user_message="yes", session_state=later)

    assert (None, []) == (later.pending, agency.done)
    assert "Nothing waits for an answer" in (turn.message_to_user or "")


async def test_a_quick_action_is_done_once_when_two_agree_to_it(agency: Agency) -> None:
    done: list[str] = []

    async def pay(*, context: Any) -> str:
        done.append("pay")
        return "paid"

    quick = QuickActionRegistry({"pay": QuickActionSpec("pay", "Pay.", requires_confirmation=True)}, {"pay": pay})
    async with talking(agency, model=False, sessions=Slow(), quick_actions=quick) as say:
        await say("/pay")
        told = [turn.message_to_user for turn in await at_once(say, "yes", "yes", quick_actions=quick)]

    assert (["pay"], ["paid", f"This was begun already.\n\n{UNSEEN}"]) == (done, sorted(told, key=str, reverse=True))


async def test_an_executor_of_ones_own_runs_a_plan_once_when_two_agree_to_it(agency: Agency) -> None:
    class Executor:
        calls = 0

        async def execute(self, plan: Any, *, user_inputs: Any) -> ExecutionResult:
            self.calls += 1
            await loop_turn()
            return ExecutionResult(ok=True, outputs={"result": "ok"}, status="succeeded")

    executor = Executor()
    async with shown(agency, sessions=Slow(), executor=executor) as say:
        told = [turn.message_to_user or "" for turn in await at_once(say, "yes", "yes", executor=executor)]

    assert 1 == executor.calls
    assert ["Done: ok"] == [text for text in told if UNSEEN not in text]


async def test_a_state_of_another_session_brings_no_plan_along(agency: Agency) -> None:
    async with shown(agency) as say:
        say.state.session_id = "other"
        turn = await say("yes")

    assert ([], True) == (agency.done, "Nothing waits for an answer" in (turn.message_to_user or ""))


async def test_a_state_that_somebody_made_up_brings_no_plan_along(agency: Agency) -> None:
    async with shown(agency) as say:
        made = SessionState(session_id="empty", pending=say.state.pending)
        await say.agent.handle_turn(user_message="yes", session_state=made)

    assert ([], None) == (agency.done, made.pending)


async def test_a_plan_that_was_shown_days_ago_is_shown_once_more(agency: Agency) -> None:
    """Unless the conversation was taken up, and so it was shown again."""
    for caught_up in (False, True):
        agency.done.clear()
        async with shown(agency) as say:
            assert say.state.pending is not None
            then = datetime.now(UTC) - timedelta(days=3)
            say.state.pending = say.state.pending.model_copy(update={"asked_at": then})
            await say.agent.memory.save(say.state)
            if caught_up:
                assert None is await say.agent.catch_up(say.state)
            turn = await say("yes")
            assert caught_up == (agency.done == ["book LH-1"])
            if not caught_up:
                assert (turn.message_to_user or "").startswith("It has been a while:\n1. Book a flight")
                await say("yes")

        assert ["book LH-1"] == agency.done


async def test_how_long_a_plan_may_be_agreed_to_is_a_setting(agency: Agency) -> None:
    async with shown(agency, stale_after=timedelta(microseconds=1)) as say:
        turn = await say("yes")

    assert ([], True) == (agency.done, (turn.message_to_user or "").startswith("It has been a while:"))


async def test_the_same_question_keeps_its_id_and_another_one_has_another(agency: Agency) -> None:
    @action(effect="external")
    async def send(urgent: bool) -> str:  # noqa: FBT001 - an input
        """Send it."""
        return str(urgent)

    plan = a_plan(step("send", urgent="${user.urgent}"))
    async with talking(agency, GOAL, plan, actions=[send]) as say:
        asked = (await say("send it to them please")).question
        again = (await say("", {"urgent": "perhaps"})).question
        shown = (await say("", {"urgent": True})).question

    assert asked is not None
    assert again is not None
    assert shown is not None
    assert asked.id == again.id != shown.id
    assert shown.asked_at is not None
