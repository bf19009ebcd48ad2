"""What a run asks a person is asked in the conversation, and its end is told, however long that takes."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from goalgraph import Approval, RequestIdentity
from planner.catalog import ActionContext, action
from planner.execution import RunStores
from storage.sessions import MemoryStorage
from tests.support.conversations import BOOK, GOAL, Agency, a_plan, says, step, talking
from tests.support.run_services import memory_stores
from tests.support.running import loop_turn

PAY = a_plan(step("pay", amount=12))
SEAT = a_plan(step("choose_seat"))


@pytest.fixture
def agency() -> Agency:
    return Agency()


@pytest.fixture
def stores() -> RunStores:
    """Of runs that outlive a planner."""
    return memory_stores()


async def test_an_approval_is_asked_and_given(agency: Agency) -> None:
    async with talking(agency, GOAL, PAY, review="never") as say:
        asked = await say("pay the twelve that I owe")
        unclear = await say("", "perhaps")
        done = await say("yes")

    assert asked.question is not None
    assert asked.execution is not None
    assert ("run", "waiting") == (asked.question.kind, asked.execution.status)
    assert (
        "Pay an amount (amount: 12) – acts outside, cannot be undone\nMay I do this? Say yes or no."
        == asked.message_to_user
    )
    assert "I cannot take that: an approval is True, False, or" in (unclear.message_to_user or "")
    assert done.execution is not None
    assert ("Done: paid 12", ["pay 12"]) == (done.message_to_user, agency.done)
    assert asked.question.run_id == done.execution.run_id


@pytest.mark.parametrize(
    "reply", ["no", False, {"approve": False, "reason": "too dear"}], ids=["word", "false", "form"]
)
async def test_an_approval_is_refused(agency: Agency, reply: Any) -> None:
    async with talking(agency, GOAL, PAY, review="never") as say:
        await say("pay the twelve that I owe")
        turn = await say(reply) if isinstance(reply, str) else await say("", reply)

    assert "This was not agreed to, so it was not done: 'pay' (Pay an amount)." == (turn.message_to_user or "")
    assert ([], None, []) == (agency.done, say.state.pending, say.state.running)


async def test_several_questions_are_asked_one_after_the_other(agency: Agency) -> None:
    """Each answer is read by the model, checked, and asked again when it does not fit."""
    async with talking(agency, GOAL, SEAT, {"answer": None}, {"answer": 14}) as say:
        first = await say("choose a seat in the plane")
        odd = await say("any row will do")
        second = await say("number fourteen")
        done = await say("left")

    assert ("Which row?", "integer") == (first.message_to_user, first.question and first.question.form["type"])
    assert "I cannot take that: " in (odd.message_to_user or "")
    assert (odd.message_to_user or "").endswith("Which row?")
    assert "Which side?" == second.message_to_user
    assert ("Done: row 14, left", ["seat 14 left"]) == (done.message_to_user, agency.done)


async def test_a_question_of_a_run_is_answered_with_a_form(agency: Agency) -> None:
    async with talking(agency, GOAL, SEAT) as say:
        await say("choose a seat in the plane")
        await say("", 3)
        wrong = await say("", "up")
        done = await say("", "right")

    assert "I cannot take that" in (wrong.message_to_user or "")
    assert "Done: row 3, right" == done.message_to_user


async def test_a_run_whose_question_nobody_wants_to_answer_is_stopped(agency: Agency) -> None:
    async with talking(agency, GOAL, SEAT) as say:
        await say("choose a seat in the plane")
        turn = await say("forget it")

    assert turn.execution is not None
    assert ("cancelled", None, []) == (turn.execution.status, say.state.pending, say.state.running)
    assert (turn.message_to_user or "").startswith("The run was stopped")


async def test_who_may_not_answer_is_told_who_may(agency: Agency) -> None:

    @action(approval=Approval(roles=["manager"]), effect="external")
    async def spend(amount: int) -> str:
        """Spend an amount."""
        return f"spent {amount}"

    plan = a_plan(step("spend", amount=5))
    async with talking(agency, GOAL, plan, review="never", actions=[spend]) as say:
        turn = await say("spend five on something")
        manager = RequestIdentity(user_id="boss", roles=("manager",))
        run_id = say.state.running[0]
        again = await say.agent.catch_up(say.state)
        handle = await say.service.get_run(run_id, identity=manager)
        await handle.answer(True)  # noqa: FBT003 - the answer
        await (await say.service.get_run(run_id)).wait(end=True)
        told = await say.agent.catch_up(say.state)

    assert "The run waits for somebody with the role manager: May spend run?" == turn.message_to_user
    assert (None, None) == (turn.question, say.state.pending)
    assert again is not None
    assert turn.message_to_user == again.message_to_user
    assert told is not None
    assert ("Done: spent 5", []) == (told.message_to_user, say.state.running)


async def test_a_question_is_answered_days_later_in_another_process(agency: Agency, stores: RunStores) -> None:
    sessions, saver = MemoryStorage(), InMemorySaver()
    async with talking(agency, GOAL, SEAT, stores=stores, sessions=sessions, saver=saver) as say:
        asked = await say("choose a seat in the plane")
    async with talking(agency, stores=stores, sessions=sessions, saver=saver) as later:
        caught = await later.agent.catch_up(later.state)
        await later("", 7)
        done = await later("right")

    assert caught is not None
    assert asked.question is not None
    assert caught.question is not None
    assert ("Which row?", asked.question.id) == (caught.message_to_user, caught.question.id)
    assert ("Done: row 7, right", ["seat 7 right"]) == (done.message_to_user, agency.done)


async def test_what_was_answered_elsewhere_is_told(agency: Agency) -> None:
    async with talking(agency, GOAL, PAY, review="never") as say:
        await say("pay the twelve that I owe")
        handle = await say.service.get_run(say.state.running[0])
        await handle.answer(True)  # noqa: FBT003 - the answer
        await handle.wait(end=True)
        turn = await say("yes")

    assert ("Done: paid 12", ["pay 12"]) == (turn.message_to_user, agency.done)


async def test_a_run_that_takes_long_goes_on_and_its_end_is_told_later(agency: Agency) -> None:
    """Once: by the next turn, or by catch_up."""
    gate = asyncio.Event()

    @action
    async def slow() -> str:
        """Take long."""
        await gate.wait()
        return "at last"

    async with talking(agency, GOAL, a_plan(step("slow")), actions=[slow], patience=0.05) as say:
        begun = await say("do the slow thing now")
        said = await say.spoken()
        going = await say.agent.catch_up(say.state)
        assert said == await say.spoken()
        run_id = say.state.running[0]
        between = await say("/nonsense")
        gate.set()
        await (await say.service.get_run(run_id)).wait()
        told = await say("/nonsense", {"odd": 1})
        nothing = await say.agent.catch_up(say.state)

    assert f"It is still running (run {run_id})." == begun.message_to_user
    assert going is not None
    assert begun.message_to_user == going.message_to_user
    assert "Meanwhile" not in (between.message_to_user or "")
    unused = "Nothing was asked, so the values were not used."
    told_first = f"{unused}\n\nMeanwhile: Done: at last\n\nThere is no command /nonsense"
    assert (told.message_to_user or "").startswith(told_first)
    assert (None, []) == (nothing, say.state.running)


async def test_with_nothing_under_way_there_is_nothing_to_catch_up_with(agency: Agency) -> None:
    async with talking(agency, GOAL, BOOK) as say:
        await say("book the flight LH-1")
        assert None is await say.agent.catch_up(say.state)


async def test_a_new_goal_leaves_a_run_that_asks_where_it_is(agency: Agency) -> None:
    """It is told of, and asked again when nothing else is open."""
    async with talking(agency, GOAL, SEAT, GOAL, BOOK, says("chat"), "Hm.") as say:
        await say("choose a seat in the plane")
        turn = await say("Rather than that I want to book the flight LH-1 right now")
        dropped = await say("no")
        other = await say("What do you think about that flight to be honest")

    assert "Your run still waits for an answer" in (turn.message_to_user or "")
    assert turn.question is not None
    assert "plan" == turn.question.kind
    assert "The plan is dropped; nothing was done.\n\nWhich row?" == dropped.message_to_user
    assert dropped.question is not None
    assert ("run", "run") == (dropped.question.kind, other.question and other.question.kind)


async def test_what_an_action_gives_is_shown_without_control_characters(agency: Agency) -> None:
    """A terminal would follow them."""

    @action
    async def tell() -> str:
        """Tell something."""
        return "a\x1b[2Jb"

    async with talking(agency, GOAL, a_plan(step("tell")), actions=[tell]) as say:
        assert "Done: a[2Jb" == (await say("tell me something nice")).message_to_user


async def test_an_answer_that_is_secret_is_shown_to_no_model_and_not_stored_with_the_conversation(
    agency: Agency,
) -> None:
    @action
    async def unlock(ctx: ActionContext) -> int:
        """Unlock the door."""
        return len(ctx.ask("Which code?", SecretStr).get_secret_value())

    async with talking(agency, GOAL, a_plan(step("unlock")), actions=[unlock]) as say:
        await say("unlock the door for me")
        done = await say("4711-swordfish")

    assert "Done: 14" == done.message_to_user
    assert ["unlock the door for me", "(values given)"] == (await say.spoken())[::2]
    assert "swordfish" not in say.prompts


async def test_another_message_while_a_run_goes_on_finds_it_going_on(agency: Agency) -> None:
    """Its turn was stopped, as with Ctrl-C; the run was not."""
    gate, working = asyncio.Event(), asyncio.Event()

    @action(effect="write")
    async def slow() -> str:
        """Take long."""
        working.set()
        await gate.wait()
        return "at last"

    async with talking(agency, GOAL, a_plan(step("slow")), GOAL, BOOK, actions=[slow]) as say:
        await say("do the slow thing now")
        turn = asyncio.create_task(say("yes"))
        await working.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        run_id = say.state.running[0]
        other = await say("book the flight LH-1 meanwhile")
        gate.set()
        await (await say.service.get_run(run_id)).wait()
        told = await say.agent.catch_up(say.state)

    assert (other.message_to_user or "").startswith(
        f"What was begun before goes on (run {run_id}).\n\nThis is the plan:"
    )
    assert told is not None
    assert told.question is not None
    assert ("Done: at last", "plan") == ((told.message_to_user or "").partition("\n")[0], told.question.kind)


async def test_the_answer_that_began_a_run_may_be_given_again_while_it_goes_on(agency: Agency) -> None:
    """It is told what the one run came to."""
    gate, working = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    @action(effect="write")
    async def slow() -> str:
        """Take long."""
        calls.append("slow")
        working.set()
        await gate.wait()
        return "at last"

    async with talking(agency, GOAL, a_plan(step("slow")), actions=[slow]) as say:
        await say("do the slow thing now")
        turn = asyncio.create_task(say("yes"))
        await working.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        again = asyncio.create_task(say("yes"))
        await loop_turn()
        gate.set()
        told = await again

    assert ("Done: at last", ["slow"], []) == (told.message_to_user, calls, say.state.running)


async def test_whoever_lost_the_role_that_a_question_asks_for_may_not_answer_it(agency: Agency) -> None:
    @action(approval=Approval(roles=["manager"]), effect="external")
    async def spend(amount: int) -> str:
        """Spend an amount."""
        raise AssertionError(amount)

    boss, plan = RequestIdentity(user_id="boss", roles=("manager",)), a_plan(step("spend", amount=5))
    async with talking(agency, GOAL, plan, review="never", actions=[spend], identity=boss) as say:
        asked = await say("spend five on something")
        say.state.identity = RequestIdentity(user_id="boss")
        turn = await say("yes")

    assert asked.question is not None
    assert (turn.message_to_user or "").startswith(
        "You may not answer this; manager may.\n\nThe run waits for somebody"
    )
    assert None is turn.question


async def test_a_question_of_a_run_that_is_gone_is_closed(agency: Agency) -> None:
    async with talking(agency, GOAL, SEAT) as say:
        await say("choose a seat in the plane")
        assert say.state.pending is not None
        say.state.pending = say.state.pending.model_copy(update={"run_id": "gone"})
        say.state.running = ["gone"]
        await say.agent.memory.save(say.state)
        turn = await say("", 3)

    assert "The run that asked this is not there any more." == turn.message_to_user
    assert (None, []) == (say.state.pending, say.state.running)
