"""`goalgraph chat`: over lines of a pipe, inside the process; at a terminal: test_chat_terminal.py."""

import asyncio
import json

import pytest

from tests.cli.test_terminal import EVIL, dangerous
from tests.support.command_line import CommandLine
from tests.support.openai_server import serve, text
from tests.support.talking import A_GOAL, WEATHER, Talk

FORECAST = "forecast the weather of a city"
OTHER = """
from goalgraph import action

@action
def wash_car(car: str) -> str:
    \"\"\"Wash a car.\"\"\"
    return car
"""


@pytest.fixture
def talk(command: CommandLine) -> Talk:
    return Talk(command)


def test_each_line_is_a_message_and_each_turn_a_document(talk: Talk) -> None:
    asked, shown, ran = talk.lines(FORECAST, "Oslo", "yes")

    assert (asked["question"]["kind"], list(asked["question"]["form"]["properties"])) == ("inputs", ["city"])
    assert (shown["question"]["kind"], shown["question"]["draft"]) == ("plan", True)
    assert [step["action"] for step in shown["plan"]["steps"]] == ["forecast_weather"]
    assert (ran["execution"]["status"], ran["execution"]["outputs"]) == ("succeeded", {"result": "rain in Oslo"})
    assert ran["execution"]["run_id"] == asked["question"]["run_id"] == shown["question"]["run_id"]
    assert ran["question"] is None


def test_what_actions_print_is_not_among_the_documents(talk: Talk) -> None:
    assert talk.lines("find the city of an airport", "OSL", "yes")[-1]["execution"]["ok"] is True


def test_a_plan_is_changed_and_the_difference_told(talk: Talk) -> None:
    *_, changed, ran = talk.lines(FORECAST, "Oslo", "city = Rome", "yes")

    assert changed["changes"] != []
    assert "Rome" in changed["message"]
    assert ran["execution"]["outputs"] == {"result": "rain in Rome"}


def test_a_plan_is_dropped(talk: Talk) -> None:
    *_, dropped, nothing = talk.lines(FORECAST, "Oslo", "/drop", "yes")

    assert (dropped["question"], nothing["execution"]) == (None, None)
    assert talk.command.json("runs", "ls") == []


def test_a_conversation_is_taken_up_by_another_process(talk: Talk) -> None:
    (asked,) = talk.lines(FORECAST)
    shown, history = talk.lines("Oslo", "/history")
    (ran,) = talk.lines("yes")

    assert asked["question"]["run_id"] == shown["question"]["run_id"] == ran["execution"]["run_id"]
    assert len({asked["question"]["id"], shown["question"]["id"]}) == 2, "an answer names its question"
    assert f"user: {FORECAST}" in history["message"]


def test_what_was_said_and_what_is_open_is_told_at_the_beginning(talk: Talk) -> None:
    talk.lines(FORECAST)

    told = talk.command("chat", "-c", talk.catalog, stdin="").stderr

    assert (FORECAST in told, told.count("To go on I need: city")) == (True, 1)


def test_conversations_have_names_and_owners(talk: Talk) -> None:
    talk.lines(FORECAST, options=("--session", "trip"))

    (other,) = talk.lines("Oslo", options=("--session", "other"))
    (refused,) = talk.lines("Oslo", options=("--session", "trip", "--user", "eve"), code=2)
    (tenant,) = talk.lines("Oslo", options=("--session", "trip", "--org", "elsewhere"), code=2)

    assert other["question"] is None
    assert refused["ok"] is tenant["ok"] is False
    assert "there is no session 'trip' for this user" in refused["error"]


def test_each_user_has_a_conversation_without_naming_one(talk: Talk) -> None:
    talk.lines(FORECAST)

    (hers,) = talk.lines("/history", options=("--user", "eve"))

    assert FORECAST not in hers["message"]


def test_commands_tell_runs_actions_and_skills(talk: Talk) -> None:
    talk.lines(FORECAST, "Oslo", "yes")

    runs, actions, some, skills, unknown = talk.lines("/runs", "/actions", "/actions letter", "/skills", "/rusn")

    assert ("succeeded" in runs["message"], "collect_report" in actions["message"]) == (True, True)
    assert ("send_letter" in some["message"], "find_city" in some["message"]) == (True, False)
    assert "no skills here" in skills["message"]
    assert "there is /runs" in unknown["message"]


def test_cancel_asks_before_it_stops_a_run(talk: Talk) -> None:
    talk.lines("send a letter", "hello", "yes")
    ((run_id, _),) = runs(talk).items()

    asked, done = talk.lines("/cancel", "yes")

    assert (asked["question"]["kind"], "It is cancelled: “send a letter”" in done["message"]) == ("confirm", True)
    assert f"Stop “send a letter” (run {run_id})?" in asked["message"]
    assert runs(talk) == {run_id: "cancelled"}


def test_cancel_stops_the_one_run_that_was_named_in_its_question(talk: Talk) -> None:
    """Ids that were made on one day begin alike."""
    talk.lines("send a letter", "hello", "yes", options=("--session", "one"))
    talk.lines("send a letter", "hello", "yes", options=("--session", "two"))
    first, second = runs(talk)

    unclear, one, _ = talk.lines("/cancel 0", f"/cancel {first}", "no", options=("--session", "two"))

    assert (unclear["question"]["kind"], "Which one?" in unclear["message"]) == ("run", True)
    assert (first in unclear["message"], second in unclear["message"]) == (True, True)
    assert (first in one["message"], second in one["question"]["text"]) == (True, False)
    assert set(runs(talk).values()) == {"waiting"}

    asked, stopped = talk.lines(f"/cancel {first}", "yes", options=("--session", "one"))

    assert f"(run {first})?" in asked["message"]
    assert f"It is cancelled: “send a letter” (run {first})" in stopped["message"]
    assert runs(talk) == {first: "cancelled", second: "waiting"}


def test_where_nothing_runs_cancel_says_so_without_asking(talk: Talk) -> None:
    bare, named = talk.lines("/cancel", "/cancel 0198")

    assert bare["question"] is named["question"] is None
    assert "No run of this conversation goes on" in bare["message"]
    assert "No run whose id begins with 0198 goes on" in named["message"]


def runs(talk: Talk) -> dict[str, str]:
    """Where each run is."""
    return {run["id"]: run["status"] for run in talk.command.json("runs", "ls")}


def test_what_a_run_asks_is_answered_in_the_conversation(talk: Talk) -> None:
    *_, asked = talk.lines("send a letter", "hello", "yes")
    (ran,) = talk.lines("yes")

    assert (asked["question"]["kind"], asked["execution"]["status"]) == ("run", "waiting")
    assert ran["execution"]["outputs"] == {"result": "sent hello"}


def test_plans_that_only_read_need_not_be_shown_but_drafts_are(talk: Talk) -> None:
    """Without a model every plan is guessed."""
    *_, shown = talk.lines(FORECAST, "Oslo", options=("--review", "never"))

    assert shown["question"]["kind"] == "plan"


@pytest.mark.parametrize(
    "said",
    ["", "   ", "x" * 200_000, EVIL, "погода в городе"],
    ids=["empty", "blank", "long", "control characters", "another language"],
)
def test_any_line_has_an_answer(talk: Talk, said: str) -> None:
    line, after = talk.lines(said.replace("\n", " ").replace("\r", " "), "/history")

    assert line["message"]
    assert after["ok"] is True


def test_bytes_that_are_no_text_are_read_as_far_as_they_are(talk: Talk) -> None:
    done = talk.command("chat", "-c", talk.catalog, "--json", stdin=b"\xff\xfe /history\n/history\n")

    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 2)


def test_nothing_that_is_said_reaches_the_terminal(talk: Talk) -> None:
    evil = EVIL.replace("\r", "")
    said = f"{FORECAST} {evil}\n{evil}\nyes\n/history\n/actions {evil}\n"

    plain = talk.command("chat", "-c", talk.catalog, stdin=said)
    told = talk.command("chat", "-c", talk.catalog, "--json", stdin=said)

    assert dangerous(plain.stderr + told.stdout) == set()
    assert [json.loads(line)["ok"] for line in told.stdout.splitlines()] == [True] * 5


@pytest.mark.parametrize("said", ["/quit", "/quit now", "/EXIT"])
def test_quit_ends_it(talk: Talk, said: str) -> None:
    assert talk.lines(said, FORECAST) == []


def test_help_lists_the_commands_of_a_chat(talk: Talk) -> None:
    told, alone, said = talk.lines("/help", "/say", "/say /history")

    for command in ("/plan", "/drop", "/yes", "/no", "/help", "/cancel", "/say", "/quit"):
        assert command in told["message"]
    assert "/say the second one" in alone["message"]
    assert "user: /help" in said["message"]


def test_a_plan_is_told_in_words_with_its_values(talk: Talk) -> None:
    shown = talk.command("chat", "-c", talk.catalog, stdin=f"{FORECAST}\nOslo\n").stderr

    asked, _, told = shown.partition("To go on I need: city")
    assert "1. Forecast the weather of a city" in asked
    assert told.count("1. Forecast the weather of a city") == 1
    assert "Oslo" in told
    assert "${" not in shown


def test_new_begins_a_conversation_and_list_names_those_of_the_user(talk: Talk) -> None:
    talk.lines(FORECAST)
    begun = talk.command("chat", "-c", talk.catalog, "--new", stdin="/history\n").stderr
    talk.lines("/history", options=("--user", "eve"))

    listed = talk.command.json("chat", "--list")

    new = listed[0]["session"]
    assert f"--session {new}" in begun
    assert FORECAST not in begun
    assert [(one["session"], "To go on I need: city" in one["said"]) for one in listed] == [
        (new, False),
        ("chat", True),
    ]
    assert [one["session"] for one in talk.command.json("chat", "--list", "--user", "eve")] == ["chat-local-eve"]
    assert new in talk.command("chat", "--list").stderr
    assert talk.lines("/history", options=("--new", "--session", "x"), code=2) == []


def test_where_there_are_no_conversations_it_is_said(talk: Talk) -> None:
    done = talk.command("chat", "--list")

    assert (done.exit_code, "no conversations of local here" in done.stderr) == (0, True)
    assert not (talk.folder / ".goalgraph").exists()


def test_a_plan_survives_a_chat_over_another_catalog(talk: Talk) -> None:
    """A typing error in --catalog is no reason to lose it."""
    talk.lines(FORECAST, "Oslo")
    done = talk.command("chat", "-c", talk.command.file("b.py", OTHER), "--json", stdin="yes\n")
    (elsewhere,) = [json.loads(line) for line in done.stdout.splitlines()]
    (ran,) = talk.lines("yes")

    assert "does not have: forecast_weather" in elsewhere["message"]
    assert (elsewhere["execution"], elsewhere["question"]["kind"]) == (None, "plan")
    assert ran["execution"]["outputs"] == {"result": "rain in Oslo"}


def test_a_secret_from_a_pipe_is_stored_nowhere(talk: Talk) -> None:
    secret = "tr0ub4dor-und-3"
    *_, asked, shown, ran = talk.lines("open the account of an owner", "owner: ann", f"password: {secret}", "yes")

    assert asked["question"]["form"]["properties"].keys() == {"password"}
    assert ran["execution"]["outputs"] == {"result": f"opened for ann with {len(secret)} letters"}
    assert secret not in json.dumps([asked, shown, ran])
    assert holding(talk, secret) == []


async def test_with_a_model_a_plan_that_only_reads_need_not_be_shown(talk: Talk) -> None:
    async with serve() as server:
        server.replies.extend([text(A_GOAL), text(WEATHER), text({"airport": "SEA"})])
        options = ("--review", "effects", "--model", "m", "--base-url", server.url)
        goal = "What is the weather where I land?"
        asked, ran = await asyncio.to_thread(talk.lines, goal, "in Seattle, I think", options=options)

    assert asked["question"]["kind"] == "inputs"
    assert (asked["usage"]["calls"], ran["usage"]["calls"]) == (2, 1)
    assert ran["execution"]["outputs"] == {"answer": "rain in Seattle"}


def test_a_model_that_cannot_be_reached_is_said_and_the_conversation_goes_on(talk: Talk) -> None:
    options = ("--model", "m", "--base-url", "http://127.0.0.1:1/v1")

    away, after = talk.lines("/plan forecast the weather", "/actions city", options=options)

    assert "The language model does not answer" in away["message"]
    assert "find_city" in after["message"]


def holding(talk: Talk, secret: str) -> list[str]:
    """The files of the data directory that have a text."""
    files = [path for path in (talk.folder / ".goalgraph").rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if secret.encode() in path.read_bytes()]
