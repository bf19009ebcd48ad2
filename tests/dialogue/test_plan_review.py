"""A plan is shown, approved, changed or dropped, before anything that matters is done."""

from typing import Any

import pytest

from goalgraph import NodePlanner
from planner.errors import ModelUnavailable, TooManyRuns
from storage.sessions import MemoryStorage
from tests.support.conversations import ASK, BOOK, FIND, GOAL, Agency, a_plan, says, step, talking

TRIP = a_plan(
    step("find_flight", destination="Oslo", day="Friday"), step("book_flight", flight="${find_flight.result.flight}")
)
LATER = a_plan(
    step("find_flight", destination="Oslo", day="Saturday"), step("book_flight", flight="${find_flight.result.flight}")
)


@pytest.fixture
def agency() -> Agency:
    return Agency()


async def test_a_plan_with_effects_is_shown_in_words_and_run_when_it_is_approved(agency: Agency) -> None:
    async with talking(agency, GOAL, TRIP) as say:
        shown = await say("book me a flight to Oslo on Friday")
        assert shown.question is not None
        assert ("plan", []) == (shown.question.kind, agency.done)
        text = shown.message_to_user or ""
        assert '1. Find a flight to a city (destination: "Oslo"; day: "Friday")\n' in text
        assert "2. Book a flight (flight: what step 1 gives) – changes data, can be undone\n" in text
        assert text.endswith("Say yes to run it, no to drop it, or say what to change.")
        done = await say("yes")

    assert done.execution is not None
    assert (shown.question.run_id, "answer") == (done.execution.run_id, done.mode)
    assert (["find Oslo Friday 1", "book LH-Oslo"], None) == (agency.done, say.state.pending)


@pytest.mark.parametrize("reply", ["no", "forget it", False])
async def test_a_plan_that_is_dropped_is_not_run(agency: Agency, reply: Any) -> None:
    async with talking(agency, GOAL, BOOK) as say:
        await say("book the flight LH-1")
        turn = await say(reply) if isinstance(reply, str) else await say("", reply)
        again = await say("yes")

    assert ("The plan is dropped; nothing was done.", []) == (turn.message_to_user, agency.done)
    assert "Nothing waits for an answer" in (again.message_to_user or "")


@pytest.mark.parametrize(
    ("review", "plan", "asks"),
    [("always", FIND, True), ("effects", FIND, False), ("effects", BOOK, True), ("never", BOOK, False)],
    ids=["always", "reads", "effects", "never"],
)
async def test_which_plans_are_shown_is_set(agency: Agency, review: Any, plan: dict[str, Any], *, asks: bool) -> None:
    async with talking(agency, GOAL, plan, review=review) as say:
        turn = await say("do what I mean with that")

    assert (asks, not asks) == (turn.question is not None, turn.execution is not None)


async def test_a_plan_that_was_guessed_from_words_is_always_shown(agency: Agency) -> None:
    async with talking(agency, model=False, review="never") as say:
        turn = await say("cancel the flight")
        shown = await say("LH-1")

    assert turn.question is not None
    assert shown.question is not None
    assert (True, "plan", []) == (turn.question.draft, shown.question.kind, agency.done)
    assert (shown.message_to_user or "").startswith('This is my guess at a plan:\n1. Cancel a flight (flight: "LH-1")')


async def test_a_change_is_planned_shown_as_a_difference_and_asked_about(agency: Agency) -> None:
    async with talking(agency, GOAL, TRIP, says("change"), LATER) as say:
        shown = await say("book me a flight to Oslo on Friday")
        changed = await say("make that Saturday please, I have to work")
        assert shown.question is not None
        assert changed.question is not None
        assert ['find_flight: day is now "Saturday" (was "Friday")'] == list(changed.changes)
        assert 'What changes:\n- find_flight: day is now "Saturday"' in (changed.message_to_user or "")
        assert 'day: "Saturday")' in (changed.message_to_user or "")
        assert changed.question.run_id != shown.question.run_id
        assert [] == agency.done
        await say("ok")

    assert ["find Oslo Saturday 1", "book LH-Oslo"] == agency.done
    assert "make that Saturday please, I have to work" in say.prompts
    assert "(was" not in say.prompts


async def test_a_change_that_changes_nothing_is_told_so(agency: Agency) -> None:
    async with talking(agency, GOAL, TRIP, says("change"), TRIP) as say:
        shown = await say("book me a flight to Oslo on Friday")
        turn = await say("make it nicer in some way or other")

    assert (turn.message_to_user or "").startswith("That changes nothing in the plan.\n\nThis is the plan:")
    assert shown.question is not None
    assert turn.question is not None
    assert (shown.question.id, ()) == (turn.question.id, turn.changes)


async def test_a_change_that_cannot_be_planned_leaves_the_plan_as_it_was(agency: Agency) -> None:
    async with talking(agency, GOAL, TRIP, says("change"), *[ModelUnavailable("dead")] * 3) as say:
        shown = await say("book me a flight to Oslo on Friday")
        turn = await say("make that Saturday please, I have to work")
        done = await say("yes")

    assert "The language model does not answer" in (turn.message_to_user or "")
    assert "The plan is as it was." in (turn.message_to_user or "")
    assert shown.question is not None
    assert turn.question is not None
    assert (shown.question.id, True) == (turn.question.id, done.execution is not None)


async def test_a_change_keeps_the_answers_that_were_given(agency: Agency) -> None:
    ask = a_plan(step("find_flight", destination="${user.destination}", day="Friday"))
    more = a_plan(step("find_flight", destination="${user.destination}", day="Monday"))
    async with talking(agency, GOAL, ask, {"destination": "Oslo"}, says("change"), more, review="always") as say:
        await say("find me a flight somewhere")
        await say("Oslo")
        changed = await say("better have it leave on a Monday, I think")
        await say("yes")

    assert changed.question is not None
    assert ({"destination": "Oslo"}, ["find Oslo Monday 1"]) == (changed.question.inputs, agency.done)


@pytest.mark.parametrize("model", [False, True], ids=["no model", "model"])
async def test_a_value_is_changed_by_writing_it(agency: Agency, *, model: bool) -> None:
    """`key = value`, of the user's keys; no model is asked."""
    answers = [GOAL, ASK] if model else []
    async with talking(agency, *answers, model=model, review="always") as say:
        await say("find a flight for us now" if model else "find a flight")
        await say("", {"destination": "Oslo", **({"seats": 2} if model else {})})
        changed = await say("destination = Rome")
        await say("yes")

    assert ['destination is now "Rome" (was "Oslo")'] == list(changed.changes)
    assert [f"find Rome any day {2 if model else 1}"] == agency.done


async def test_without_a_model_other_changes_are_told_to_be_impossible(agency: Agency) -> None:
    async with talking(agency, model=False) as say:
        await say("find a flight")
        await say("Oslo")
        turn = await say("rather something with a train and a boat, please")

    told = "changed by writing key = value. I know: destination, day, seats. Say no to drop it, or /plan GOAL"
    assert told in (turn.message_to_user or "")
    assert turn.question is not None


async def test_a_plan_whose_actions_are_gone_is_not_run_and_stays_open(agency: Agency) -> None:
    """Another catalog may be there by mistake only."""

    class Empty(Agency):
        @property
        def actions(self) -> list[Any]:
            return [one for one in super().actions if one.__name__ == "find_flight"]

    sessions = MemoryStorage()
    async with talking(agency, GOAL, BOOK, sessions=sessions) as say:
        await say("book the flight LH-1")
    async with talking(Empty(), sessions=sessions) as say:
        turn = await say("yes")
    async with talking(agency, sessions=sessions) as say:
        done = await say("yes")

    assert "The plan needs what the catalog here does not have: book_flight. Nothing was done" in (
        turn.message_to_user or ""
    )
    assert ("Done: booked LH-1", ["book LH-1"]) == (done.message_to_user, agency.done)


async def test_a_run_that_is_not_started_leaves_the_plan_to_be_approved_again(
    agency: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:

    async with talking(agency, GOAL, BOOK) as say:
        await say("book the flight LH-1")
        with monkeypatch.context() as patch:

            async def full(*_: object, **__: object) -> None:
                raise TooManyRuns("tenant_runs", 3, 5)

            patch.setattr(NodePlanner, "start", full)
            turn = await say("yes")
        assert "The plan was not started: there are 3 runs" in (turn.message_to_user or "")
        done = await say("yes")

    assert (["book LH-1"], True) == (agency.done, done.execution is not None)


async def test_a_secret_that_is_changed_in_a_plan_is_shown_to_no_model_and_stored_nowhere(agency: Agency) -> None:
    sessions = MemoryStorage()
    plan = a_plan(step("log_in", user="joe", password="${user.password}"))
    async with talking(agency, GOAL, plan, review="always", sessions=sessions) as say:
        await say("log me in over there")
        await say("swordfish-1")
        changed = await say("password = swordfish-4711")
        await say("yes")
        stored = [await sessions.get_task_context("trip"), await sessions.get_conversation_history("trip", 50)]

    assert ["password is now ••• (was •••)"] == list(changed.changes)
    assert ["log in joe 14"] == agency.done
    assert "swordfish" not in say.prompts + repr(stored) + repr(say.state)


async def test_a_plan_that_was_guessed_is_shown_again_after_it_was_changed(agency: Agency) -> None:
    async with talking(agency, model=False, review="never") as say:
        await say("find a flight")
        await say("Oslo")
        changed = await say("destination = Rome")

    assert changed.question is not None
    assert (True, []) == (changed.question.draft, agency.done)


async def test_a_change_is_shown_whatever_is_shown_otherwise(agency: Agency) -> None:
    """Also while the plan still lacks something."""
    async with talking(agency, GOAL, ASK, says("change"), TRIP, review="never") as say:
        await say("find me a flight somewhere")
        changed = await say("rather book the one to Oslo that leaves on Friday")

    assert changed.question is not None
    assert ("plan", []) == (changed.question.kind, agency.done)
    assert "added book_flight (book_flight)" in changed.changes


async def test_a_literal_is_changed_by_writing_it_where_there_is_no_model(agency: Agency) -> None:
    """Such as in a session that was begun with one; what looks like a binding is none."""
    sessions = MemoryStorage()
    async with talking(agency, GOAL, BOOK, sessions=sessions) as say:
        await say("book the flight LH-1")
    async with talking(agency, model=False, sessions=sessions) as later:
        changed = await later("flight = ${user.name}")
        await later("yes")

    assert 1 == len(changed.changes)
    assert ["book ${user.name}"] == agency.done


async def test_a_literal_with_the_name_of_a_secret_is_not_shown(agency: Agency) -> None:
    plan = a_plan(step("log_in", user="joe", password="hunter2"))
    async with talking(agency, GOAL, plan, review="always") as say:
        turn = await say("log me in over there")

    assert '(user: "joe"; password: your password)' in (turn.message_to_user or "")
    assert "hunter2" not in (turn.message_to_user or "")


async def test_conditions_and_lists_are_shown_in_words(agency: Agency) -> None:
    plan = a_plan(
        {**step("find_flight", "f", destination="${item}"), "for_each": "${user.cities}"},
        {
            **step("book_flight", "b", flight="x"),
            "when": {"ref": "${user.budget}", "op": "gt", "value": 9},
            "after": ["f"],
        },
    )
    async with talking(agency, GOAL, plan) as say:
        await say("find and book many flights")
        shown = await say("", {"cities": ["Oslo", "Rome"], "budget": 10})
        await say("yes")

    text = shown.message_to_user or ""
    assert '1. Find a flight to a city (destination: that one) – 2 times, for each of ["Oslo", "Rome"]\n' in text
    assert '2. Book a flight (flight: "x") – only if your budget is more than 9, changes data, can be undone\n' in text
    assert {"find Oslo any day 1", "find Rome any day 1", "book x"} == set(agency.done)
