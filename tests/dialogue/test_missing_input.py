"""What a plan lacks is asked for, read from the answer, checked, and asked again until it is all there."""

from typing import Any

import pytest
from pydantic import SecretStr

from goalgraph import QuickActionRegistry, QuickActionSpec, RoutedIntent, SessionState, action
from planner.dialogue.wording import cleaned
from storage.sessions import MemoryStorage
from tests.support.conversations import ASK, BOOK, GOAL, Agency, a_plan, says, step, talking

LOG_IN = a_plan(step("log_in", user="${user.name}", password="${user.password}"))
SECRET = "swordfish-4711"


@pytest.fixture
def agency() -> Agency:
    return Agency()


async def test_one_question_asks_for_all_that_is_missing_with_a_typed_form(agency: Agency) -> None:
    async with talking(agency, GOAL, ASK) as say:
        turn = await say("find me a flight somewhere")

    assert turn.question is not None
    assert turn.plan is not None
    assert ("inputs", say.state.pending) == (turn.question.kind, turn.question)
    assert "To go on I need: destination (text), seats (whole number)." == turn.message_to_user
    form = turn.question.form
    assert ["destination", "seats"] == form["required"] == list(form["properties"])
    assert ["string", "integer"] == [one["type"] for one in form["properties"].values()]
    assert (None, []) == (turn.execution, agency.done)


async def test_the_plan_that_was_asked_about_runs_with_the_answer_under_its_own_id(agency: Agency) -> None:
    answer = {"destination": "Oslo", "seats": 2}
    async with talking(agency, GOAL, ASK, says("answer"), answer) as say:
        asked = await say("find me a flight somewhere")
        turn = await say("It should be Oslo this time, and there are two of us")

    assert asked.question is not None
    assert turn.execution is not None
    assert turn.plan is not None
    assert asked.plan is not None
    assert (asked.question.run_id, asked.plan.id) == (turn.execution.run_id, turn.execution.plan_id)
    assert (asked.plan.id, ["find Oslo any day 2"]) == (turn.plan.id, agency.done)
    assert (2, 2) == (asked.usage.calls, turn.usage.calls)
    assert ("answer", None, {}) == (turn.mode, say.state.pending, say.agent._parts.held)


async def test_what_is_still_missing_is_asked_again_and_what_was_given_is_kept(agency: Agency) -> None:
    """A value that does not fit is told, and not taken."""
    async with talking(agency, GOAL, ASK, {"destination": "Oslo", "seats": "many"}) as say:
        first = await say("find me a flight somewhere")
        again = await say("destination: Oslo, seats: many")
        assert again.question is not None
        assert first.question is not None
        assert (["seats"], first.question.run_id) == (again.question.form["required"], again.question.run_id)
        assert "- seats: the value is not a whole number" in (again.message_to_user or "")
        assert {"destination": "Oslo"} == again.question.inputs
        done = await say("3")

    assert (True, ["find Oslo any day 3"]) == (done.execution is not None, agency.done)


async def test_a_message_in_which_nothing_is_found_is_told_so(agency: Agency) -> None:
    async with talking(agency, GOAL, ASK, {"destination": None, "seats": None}) as say:
        await say("find me a flight somewhere")
        turn = await say("as always")

    told = (
        "I did not find what I asked for in that. Write destination: …, seats: …; /drop lets go of the plan, "
        "and /plan GOAL begins something else.\n\nTo go on I need:"
    )
    assert (turn.message_to_user or "").startswith(told)
    assert [] == agency.done


async def test_without_a_model_the_answer_is_read_plainly(agency: Agency) -> None:
    async with talking(agency, model=False, review="never") as say:
        await say("find a flight")
        shown = await say("destination = Oslo")
        done = await say("yes")

    assert shown.question is not None
    assert ("plan", True) == (shown.question.kind, shown.question.draft)
    assert (True, ["find Oslo any day 1"]) == (done.execution is not None, agency.done)


async def test_a_form_that_was_filled_in_is_checked_field_by_field(agency: Agency) -> None:
    """No model is asked; each error names its field."""
    async with talking(agency, GOAL, ASK) as say:
        await say("find me a flight somewhere")
        wrong = await say("", {"destination": "Oslo", "seats": "two", "seat": 1})
        assert "- seats: the value is not a whole number" in (wrong.message_to_user or "")
        assert "- seat: this is not asked for; closest: seats" in (wrong.message_to_user or "")
        none = await say("", ["Oslo"])
        assert "- the values are an object with the fields seats" in (none.message_to_user or "")
        done = await say("", {"seats": 2})

    assert (True, ["find Oslo any day 2"]) == (done.execution is not None, agency.done)


async def test_a_value_that_is_too_large_is_refused_with_the_limit(agency: Agency) -> None:
    async with talking(agency, GOAL, ASK) as say:
        await say("find me a flight somewhere")
        turn = await say("", {"destination": "x" * 300_000, "seats": 1})

    assert "more than the 256,000 of 'literal_bytes'" in (turn.message_to_user or "")
    assert "xxxx" not in (turn.message_to_user or "")


async def test_values_that_nobody_asked_for_are_not_used(agency: Agency) -> None:
    async with talking(agency, model=False) as say:
        turn = await say("", {"destination": "Oslo"})

    assert "Nothing was asked, so the values were not used." in (turn.message_to_user or "")


async def test_a_question_can_be_dropped(agency: Agency) -> None:
    async with talking(agency, GOAL, ASK) as say:
        await say("find me a flight somewhere")
        turn = await say("never mind")

    assert ("The plan is dropped; nothing was done.", None) == (turn.message_to_user, say.state.pending)


async def test_another_goal_takes_the_place_of_a_question_and_that_is_said(agency: Agency) -> None:
    async with talking(agency, GOAL, ASK, GOAL, BOOK) as say:
        await say("find me a flight somewhere")
        turn = await say("Actually, I would rather have you book the flight LH-1 for me")

    assert turn.question is not None
    assert (turn.message_to_user or "").startswith("I set aside what I had asked: To go on I need: destination")
    assert ("plan", "book_flight") == (turn.question.kind, turn.plan.steps[0].action if turn.plan else "")


async def test_a_chat_in_between_leaves_the_question_open(agency: Agency) -> None:
    async with talking(
        agency, GOAL, ASK, says("chat"), "The capital is Oslo.", {"destination": "Oslo", "seats": 1}
    ) as say:
        await say("find me a flight somewhere")
        between = await say("What is the capital of Norway called in these days?")
        done = await say("destination: Oslo, seats: 1")

    assert ("The capital is Oslo.", "inputs") == (between.message_to_user, between.question and between.question.kind)
    assert (True, ["find Oslo any day 1"]) == (done.execution is not None, agency.done)


# ------------------------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize("way", ["message", "form", "typed form"])
async def test_a_secret_is_shown_to_no_model_and_stored_nowhere(agency: Agency, way: str) -> None:
    sessions = MemoryStorage()
    async with talking(agency, GOAL, LOG_IN, sessions=sessions) as say:
        asked = await say("log me in over there")
        assert asked.question is not None
        assert {"writeOnly": True, "format": "password"}.items() <= asked.question.form["properties"][
            "password"
        ].items()
        if way == "message":
            missing = await say(f"name = joe\npassword = {SECRET}")
        else:
            secret = SecretStr(SECRET) if way == "typed form" else SECRET
            missing = await say("", {"name": "joe", "password": secret})
        stored = [await sessions.get_task_context("trip"), await sessions.get_conversation_history("trip", 50)]
        run = (await say.service.runs())[0]

    assert ("Done: joe is in", [f"log in joe {len(SECRET)}"]) == (missing.message_to_user, agency.done)
    assert SECRET not in say.prompts + repr(stored) + repr(run) + repr(say.state)
    assert {} == say.agent._parts.held
    assert ["log me in over there", "(values given)"] == (await say.spoken())[::2]


async def test_a_secret_that_this_process_does_not_have_any_more_is_asked_again(agency: Agency) -> None:
    """As after a restart; the rest is still there."""
    sessions = MemoryStorage()
    async with talking(agency, GOAL, LOG_IN, sessions=sessions, review="always") as say:
        await say("log me in over there")
        shown = await say(f"name = joe\npassword = {SECRET}")
        assert '1. Log in to the booking site (user: "joe"; password: your password)' in (shown.message_to_user or "")
    async with talking(agency, sessions=sessions, review="always") as later:
        asked = await later("yes")
        assert asked.question is not None
        assert (["password"], {"name": "joe"}) == (asked.question.form["required"], asked.question.inputs)
        assert "plan" == ((await later(SECRET)).question or asked.question).kind
        done = await later("yes")

    assert ("Done: joe is in", [f"log in joe {len(SECRET)}"]) == (done.message_to_user, agency.done)


async def test_a_secret_that_is_wrong_is_not_repeated(agency: Agency) -> None:
    async with talking(agency, GOAL, LOG_IN) as say:
        await say("log me in over there")
        turn = await say("", {"password": [SECRET], "name": "joe"})

    assert turn.question is not None
    assert ["password"] == turn.question.form["required"]
    assert "password: the value is not text" in (turn.message_to_user or "")
    assert SECRET not in (turn.message_to_user or "")


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a\x00b\x1b[2Jc", "ab[2Jc"), ("a\ud800b", "a?b"), ("\r\n a\r\nb\t", "a\nb"), ("日本", "日本")],
    ids=["control", "surrogate", "ends", "language"],
)
def test_a_message_is_cleaned(text: str, kept: Any) -> None:
    assert kept == cleaned(text)


async def test_while_a_secret_is_asked_for_no_message_goes_to_the_model(agency: Agency) -> None:
    async with talking(agency, GOAL, LOG_IN) as say:
        await say("log me in over there")
        turn = await say("hello")
        dropped = await say("never mind")

    assert turn.question is not None
    assert ("inputs", "The plan is dropped; nothing was done.") == (turn.question.kind, dropped.message_to_user)


async def test_while_a_secret_is_asked_for_no_router_sees_a_message(agency: Agency) -> None:
    seen: list[str] = []

    class Router:
        async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
            seen.append(user_message)
            return RoutedIntent(mode="plan_and_execute")

    async with talking(agency, LOG_IN, router=Router()) as say:
        await say("log me in over there")
        await say(f"name = joe\npassword = {SECRET}")

    assert (["log me in over there"], [f"log in joe {len(SECRET)}"]) == (seen, agency.done)


async def test_a_secret_goes_with_the_plan_that_is_dropped(agency: Agency) -> None:
    async with talking(agency, GOAL, LOG_IN, review="always") as say:
        await say("log me in over there")
        await say(f"name = joe\npassword = {SECRET}")
        assert [["password"]] == [list(values) for values in say.agent._parts.held.values()]
        await say("no")
        assert {} == say.agent._parts.held


async def test_a_secret_that_a_quick_action_is_given_is_not_in_the_state(agency: Agency) -> None:
    login = QuickActionSpec("login", "Log in.", action_ref="log_in")
    async with talking(agency, model=False, quick_actions=QuickActionRegistry({"login": login})) as say:
        asked = await say(f"/login password = {SECRET}")
        assert asked.question is not None
        assert ["user"] == asked.question.form["required"]
        assert SECRET not in repr(say.state)
        await say("joe")

    assert [f"log in joe {len(SECRET)}"] == agency.done


async def test_the_part_of_a_value_that_does_not_fit_is_named(agency: Agency) -> None:
    @action
    async def count(ages: dict[str, int]) -> int:
        """Count the years of all."""
        return sum(ages.values())

    async with talking(agency, GOAL, a_plan(step("count", ages="${user.ages}")), actions=[count]) as say:
        await say("count the years of all of us")
        wrong = await say("", {"ages": {"ann": "old"}})
        done = await say("", {"ages": {"ann": 3}})

    assert "- ages: its part ['ann'] does not fit" in (wrong.message_to_user or "")
    assert "Done: 3" == done.message_to_user


async def test_a_value_that_was_given_is_corrected_while_another_is_asked_for(agency: Agency) -> None:
    """And is not taken for the one that is still missing, though any text would do for that."""
    async with talking(agency, model=False) as say:
        await say("/plan log in to the booking site")
        await say("user: joe")
        turn = await say("user = jim")

    assert turn.question is not None
    assert (["password"], {"user": "jim"}) == (turn.question.form["required"], turn.question.inputs)


async def test_a_model_corrects_a_value_as_well(agency: Agency) -> None:
    ask = a_plan(step("find_flight", destination="${user.destination}", day="${user.day}"))
    answers = [ask, {"destination": None, "day": "Friday"}, {"destination": None, "day": "Monday"}]
    async with talking(agency, *answers) as say:
        await say("/plan find a flight")
        await say("day: Friday")
        turn = await say("day = Monday")

    assert turn.question is not None
    assert (["destination"], {"day": "Monday"}) == (turn.question.form["required"], turn.question.inputs)
