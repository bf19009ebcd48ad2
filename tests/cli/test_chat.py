"""`goalgraph chat`: over lines of a pipe, inside the process; at a terminal: test_chat_terminal.py."""

import json

import pytest

from tests.cli.test_terminal import EVIL, dangerous
from tests.support.command_line import CommandLine
from tests.support.talking import Talk

FORECAST = "forecast the weather of a city"


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

    asked, done = talk.lines("/cancel", "yes")

    assert (asked["question"]["kind"], "It is cancelled: send a letter" in done["message"]) == ("confirm", True)
    assert [run["status"] for run in talk.command.json("runs", "ls")] == ["cancelled"]


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


def test_quit_ends_it(talk: Talk) -> None:
    assert talk.lines("/quit", FORECAST) == []


def test_a_secret_from_a_pipe_is_stored_nowhere(talk: Talk) -> None:
    secret = "tr0ub4dor-und-3"
    *_, asked, shown, ran = talk.lines("open the account of an owner", "owner: ann", f"password: {secret}", "yes")

    assert asked["question"]["form"]["properties"].keys() == {"password"}
    assert ran["execution"]["outputs"] == {"result": f"opened for ann with {len(secret)} letters"}
    assert secret not in json.dumps([asked, shown, ran])
    assert holding(talk, secret) == []


def holding(talk: Talk, secret: str) -> list[str]:
    """The files of the data directory that have a text."""
    files = [path for path in (talk.folder / ".goalgraph").rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if secret.encode() in path.read_bytes()]
