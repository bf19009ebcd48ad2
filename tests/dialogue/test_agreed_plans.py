"""What is agreed to is what was shown: a plan that has changed since, or was shown long ago, is shown once more."""

from datetime import timedelta
from typing import Any

import pytest

from goalgraph import QuickActionRegistry, QuickActionSpec, action
from storage.sessions import MemoryStorage
from tests.support.conversations import BOOK, FIND, GOAL, Agency, a_plan, says, step, talking

SECRET = "swordfish-4711"


@pytest.fixture
def agency() -> Agency:
    return Agency()


async def test_a_plan_is_shown_again_when_its_action_has_become_another_one(agency: Agency) -> None:
    """A plan has the names of actions only, and a deployment may change what stands behind them."""

    def folder(about: str, **more: Any) -> Any:
        @action(description=about, **more)
        async def tidy(folder: str) -> str:
            agency.done.append(f"{about} {folder}")
            return folder

        return tidy

    looking = folder("Look at a folder.")
    deleting = folder("Delete a folder for good.", effect="external")
    sessions, plan = MemoryStorage(), a_plan(step("tidy", folder="f"))
    async with talking(agency, GOAL, plan, sessions=sessions, actions=[looking], review="always") as say:
        shown = await say("tidy up there for me")
    async with talking(agency, sessions=sessions, actions=[deleting]) as say:
        await say.agent.catch_up(say.state)
        again = await say("yes")
        assert [] == agency.done
        await say("yes")

    assert shown.question is not None
    assert again.question is not None
    assert (again.message_to_user or "").startswith(
        'This has changed since I showed it:\n1. Delete a folder for good (folder: "f") – acts outside, cannot be'
    )
    assert ["Delete a folder for good. f"] == agency.done
    assert len({shown.question.id, again.question.id, shown.question.shown, again.question.shown}) == 4


async def test_a_plan_is_shown_again_when_it_was_shown_long_ago(agency: Agency) -> None:
    sessions = MemoryStorage()
    async with talking(agency, GOAL, BOOK, sessions=sessions, stale_after=timedelta(microseconds=1)) as say:
        await say("book the flight LH-1")
        again = await say("yes")
    assert [] == agency.done
    async with talking(agency, sessions=sessions) as say:
        await say.agent.catch_up(say.state)
        done = await say("yes")

    assert (again.message_to_user or "").startswith('It has been a while:\n1. Book a flight (flight: "LH-1")')
    assert ("Done: booked LH-1", ["book LH-1"]) == (done.message_to_user, agency.done)


async def test_a_form_with_more_than_a_yes_agrees_to_nothing(agency: Agency) -> None:
    """What else was filled in would be lost without a word."""
    async with talking(agency, GOAL, BOOK) as say:
        await say("book the flight LH-1")
        unclear = await say("", {"approve": True, "flight": "LH-2"})
        assert [] == agency.done
        done = await say("", {"approve": True})

    assert (unclear.message_to_user or "").startswith("That is neither true nor false.")
    assert "Done: booked LH-1" == done.message_to_user


async def test_what_is_set_aside_is_named(agency: Agency) -> None:
    """By its goal, or by the first line that says something."""
    many = a_plan(step("find_flight", destination="${user.a}", day="${user.b}", seats="${user.c}"),
                  step("find_flight", "two", destination="${user.d}"))  # fmt: skip
    async with talking(agency, GOAL, BOOK, GOAL, many, GOAL, FIND) as say:
        await say("book the flight LH-1")
        first = await say("/plan find two flights for me")
        second = await say("/plan find one flight to Oslo")

    assert (first.message_to_user or "").startswith("I set aside the plan for: book the flight LH-1\n\nTo go on")
    assert (second.message_to_user or "").startswith("I set aside what I had asked: - a (text)\n\nDone")


async def test_a_quick_action_is_agreed_to_as_it_was_understood(agency: Agency) -> None:
    """Its plan is asked about, not what was written behind the command."""
    fly = QuickActionSpec("fly", "Book one.", action_ref="book_flight", requires_confirmation=True)
    look = QuickActionSpec("look", "Find one.", action_ref="find_flight", requires_confirmation=True)
    quick = QuickActionRegistry({"fly": fly, "look": look})
    async with talking(agency, model=False, quick_actions=quick, review="never") as say:
        shown = await say("/fly flight=LH-8, flight=LH-1")
        assert [] == agency.done
        await say("yes")
        asked = await say("/look")
        filled = await say("Oslo")
        assert ["book LH-1"] == agency.done
        done = await say("yes")

    assert '1. Book a flight (flight: "LH-1") – changes data, can be undone\n' in (shown.message_to_user or "")
    assert ("inputs", "plan") == (asked.question and asked.question.kind, filled.question and filled.question.kind)
    assert (True, 2) == (done.execution and done.execution.ok, len(agency.done))


# ------------------------------------------------------------------------------------------------------------ secrets


@pytest.mark.parametrize("model", [True, False], ids=["model", "no model"])
async def test_a_secret_that_a_model_wrote_into_a_plan_is_told_and_stored_nowhere(agency: Agency, model: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """It is held like one that was asked for, and changed like one."""
    sessions = MemoryStorage()
    first = a_plan(step("log_in", user="joe", password="hunter2"))
    second = [says("change"), a_plan(step("log_in", user="joe", password=SECRET))] if model else []
    async with talking(agency, GOAL, first, *second, sessions=sessions, review="always") as say:
        shown = await say("log me in over there")
        changed = await say("no, rather take the other word of mine" if model else f"password = {SECRET}")
        await say("yes")
        stored = [await sessions.get_task_context("trip"), await sessions.get_conversation_history("trip", 50)]

    assert '1. Log in to the booking site (user: "joe"; password: your password)' in (shown.message_to_user or "")
    assert ["password is now ••• (was •••)"] == list(changed.changes)
    assert [f"log in joe {len(SECRET)}"] == agency.done
    told = f"{shown.message_to_user}{changed.message_to_user}{stored!r}"
    assert not {"hunter2", SECRET} & {word for word in ("hunter2", SECRET) if word in told}


async def test_a_change_inside_of_a_secret_shows_nothing_of_it(agency: Agency) -> None:
    """Of two long texts only the part is shown in which they differ."""
    first, second = (a_plan(step("book_flight", flight=f"token={SECRET * 5}{end}")) for end in ("1", "2"))
    async with talking(agency, GOAL, first, says("change"), second) as say:
        await say("book the flight LH-1")
        changed = await say("rather take the other one of these")

    assert ['book_flight: flight is now "token=•••" (was "token=•••")'] == list(changed.changes)
    assert "swordfish" not in (changed.message_to_user or "")


async def test_an_object_with_a_secret_is_held_and_run(agency: Agency) -> None:
    @action
    async def connect(user: str, credentials: dict[str, str], pin: int) -> str:
        """Connect."""
        agency.done.append(f"{user} {credentials['password']} {pin}")
        return user

    sessions = MemoryStorage()
    plan = a_plan(step("connect", user="ann", credentials={"user": "ann", "password": SECRET}, pin=4711))
    async with talking(agency, GOAL, plan, sessions=sessions, actions=[connect], review="always") as say:
        shown = await say("connect me over there")
        stored = repr([await sessions.get_task_context("trip"), await say.spoken()])
        await say("yes")

    assert '(user: "ann"; credentials: your credentials; pin: your pin)' in (shown.message_to_user or "")
    assert [f"ann {SECRET} 4711"] == agency.done
    assert not [secret for secret in (SECRET, "4711") if secret in stored]


async def test_a_result_is_stored_without_secrets(agency: Agency) -> None:
    @action
    async def look_up() -> dict[str, Any]:
        """Look up an account."""
        return {"nested": {"password": SECRET}, "url": f"https://joe:{SECRET}@h/x"}

    async with talking(agency, GOAL, a_plan(step("look_up"), result="${look_up}"), actions=[look_up]) as say:
        turn = await say("look up that account of mine")
        spoken = await say.spoken()

    assert 'Done.\n- nested: {password: •••}\n- url: "https://•••@h/x"' == turn.message_to_user
    assert SECRET not in repr(spoken) + repr(say.state)


# -------------------------------------------------------------------------------------------------------- what is bound


async def test_a_value_of_an_earlier_run_is_named_as_such(agency: Agency) -> None:
    """Whatever an action gave is bound by its name only."""
    bound = a_plan(step("book_flight", flight="${user.flight}"))
    read = a_plan(step("find_flight", destination="${user.flight}"))
    async with talking(agency, GOAL, FIND, GOAL, bound, GOAL, read) as say:
        await say("find me a flight to somewhere nice")
        shown = await say("book me that flight of yours, please")
        await say("no")
        told = await say("find one like that flight of yours")

    assert '(flight: "LH-Oslo", from an earlier run) – changes data' in (shown.message_to_user or "")
    assert (told.message_to_user or "").startswith('Taken from an earlier run: flight: "LH-Oslo".\n\nDone')


async def test_a_plan_that_nobody_can_fill_in_is_not_asked_about(agency: Agency) -> None:
    never = a_plan(
        step("find_flight", destination="${user.x}"), step("find_flight", "b", destination="a", seats="${user.x}")
    )
    async with talking(agency, GOAL, never) as say:
        turn = await say("find some flight for some of us")

    assert "x would have to be text and whole number at once. Nothing was done." in (turn.message_to_user or "")
    assert (None, []) == (say.state.pending, agency.done)
