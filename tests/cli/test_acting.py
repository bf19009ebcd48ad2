"""`goalgraph runs answer`, `cancel`, `decide`, `resume` and `retry`: each is a process of its own for the run."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from goalgraph import open_planner
from goalgraph.cli.answering import Given, ask, choose, fitting
from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.console import people
from goalgraph.cli.exits import CommandError, Exit
from planner.errors import InvalidAnswer
from planner.execution import PendingInterrupt
from planner.execution.people import APPROVAL_SCHEMA, unknown_schema
from tests.support.command_line import CommandLine

ASKING = """
from pathlib import Path
from pydantic import SecretStr
from goalgraph import ActionContext, action

@action(approval=True, effect="external")
def book(city: str) -> str:
    \"\"\"Book a room.\"\"\"
    return f"booked {city}"

@action
def choose(ctx: ActionContext) -> str:
    \"\"\"Ask for a colour.\"\"\"
    return ctx.ask("Which colour?", schema={"enum": ["red", "blue"]})

@action
def lucky(flag: str) -> str:
    \"\"\"Fail until the file is there.\"\"\"
    return Path(flag).read_text()

@action
def sign(key: SecretStr, text: str) -> str:
    \"\"\"Use a secret.\"\"\"
    return f"{text} signed with {len(key.get_secret_value())} letters"

def note(name):
    with Path(name).open("a") as file:
        file.write("once ")

@action
def unpay(flag: str) -> None:
    \"\"\"Fail until the file is there.\"\"\"
    note("unpaid")
    Path(flag).read_text()

@action(undo="unpay", effect="external")
def pay(flag: str) -> str:
    \"\"\"Pay, and note it.\"\"\"
    note("paid")
    return "paid"
"""


@pytest.fixture
def asking(command: CommandLine) -> Path:
    return command.file("asking.py", ASKING)


def start(command: CommandLine, catalog: Path, *steps: dict[str, Any], given: Sequence[str] = ()) -> dict[str, Any]:
    """Run a plan as far as it goes, and return what became of it."""
    plan = command.file("asked.json", json.dumps({"steps": steps}))
    return command.json("run", plan, "-c", catalog, *given)


def booking(command: CommandLine, catalog: Path) -> str:
    started = start(command, catalog, {"id": "room", "action": "book", "inputs": {"city": "Oslo"}})
    assert started["status"] == "waiting"
    return started["run_id"]


def test_a_run_that_waits_says_how_it_is_answered(command: CommandLine, asking: Path) -> None:
    run_id = booking(command, asking)

    shown = command("runs", "show", run_id)
    listed = command("runs", "ls", "--status", "waiting")

    assert f"goalgraph runs answer {run_id} " in " ".join(shown.stderr.split())
    assert run_id[:13] in listed.stderr


def test_an_approval_is_given_and_the_run_goes_on_here(command: CommandLine, asking: Path) -> None:
    run_id = booking(command, asking)

    done = command("runs", "answer", run_id[:20], "--yes", "-c", asking, "--json")

    assert (done.exit_code, json.loads(done.stdout)["outputs"]) == (Exit.OK, {"result": "booked Oslo"})
    ended = command("runs", "answer", run_id, "--yes")
    assert (ended.exit_code, "has ended (succeeded)" in ended.stderr) == (Exit.USAGE, True)


def test_an_answer_without_a_catalog_is_left_for_whoever_has_it(command: CommandLine, asking: Path) -> None:
    run_id = booking(command, asking)

    answered = command("runs", "answer", run_id, "--no", "--reason", "too dear")
    again = command("runs", "answer", run_id, "--yes")
    resumed = command("runs", "resume", run_id, "-c", asking)

    assert (answered.exit_code, "a worker or an open planner" in answered.stderr) == (Exit.OK, True)
    assert (again.exit_code, "Traceback" in again.stderr) == (Exit.USAGE, False)
    assert (resumed.exit_code, "too dear" in resumed.stderr) == (Exit.FAILED, True)


def test_answers_that_do_not_fit_are_refused_and_the_run_waits_on(command: CommandLine, asking: Path) -> None:
    run_id = start(command, asking, {"id": "colour", "action": "choose"})["run_id"]

    refusals = [
        command("runs", "answer", run_id, *words)
        for words in (["green"], [], ["nothing", "red"], ["red", "--yes"], ["red", "--value-file", "absent"])
    ]
    done = command.json("runs", "answer", run_id, "colour", "red", "-c", asking)

    assert [result.exit_code for result in refusals] == [Exit.USAGE] * 5
    assert "does not fit" in refusals[0].stderr
    assert done["outputs"] == {"result": "red"}


def test_what_is_asked_of_the_wrong_run_is_one_sentence(command: CommandLine, asking: Path) -> None:
    run_id = booking(command, asking)
    asked: list[tuple[list[str], str]] = [
        (["answer", "nosuchrun", "--yes"], "there is no run"),
        (["answer", run_id, "--yes", "--user", "eve"], "there is no run"),
        (["cancel", run_id, "--org", "other"], "there is no run"),
        (["retry", run_id], "has not ended (waiting)"),
        (["resume", run_id], "--catalog"),
        (["resume", run_id, "-c", str(asking)], "waits for"),
        (["decide", run_id, "room", "retry"], "answered, not decided"),
        (["cancel", run_id, "-c", str(command.catalog)], "the catalog has not all actions"),
    ]

    for arguments, words in asked:
        result = command("runs", *arguments)
        said = " ".join(result.stderr.split())
        assert (result.exit_code, words in said, "Traceback" in said) == (Exit.USAGE, True, False), (arguments, said)


def test_a_run_is_cancelled_and_retried(command: CommandLine, asking: Path) -> None:
    run_id = booking(command, asking)

    cancelled = command.json("runs", "cancel", run_id, "-c", asking)
    retried = command.json("runs", "retry", run_id, "-c", asking)

    assert (cancelled["status"], retried["status"]) == ("cancelled", "waiting")
    assert command.json("runs", "show", run_id)["attempt"] == 2


def test_a_failed_run_is_retried_with_what_still_holds(command: CommandLine, asking: Path) -> None:
    flag = command.folder / "flag"
    step = {"id": "one", "action": "lucky", "inputs": {"flag": str(flag)}}
    failed = start(command, asking, step)
    flag.write_text("now")

    left = command("runs", "retry", failed["run_id"])
    done = command.json("runs", "resume", failed["run_id"], "-c", asking)

    assert (failed["status"], left.exit_code) == ("failed", Exit.OK)
    assert (done["status"], done["outputs"]) == ("succeeded", {"result": "now"})


def test_what_is_to_be_typed_next_is_said_and_works(command: CommandLine, asking: Path) -> None:
    """Without a catalog a retry or an answer is only recorded; somebody has to go on with the run."""
    place = ["--data-dir", "kept here"]
    flag = command.folder / "flag"
    failed = start(command, asking, {"id": "one", "action": "lucky", "inputs": {"flag": str(flag)}}, given=place)
    asked = start(command, asking, {"id": "room", "action": "book", "inputs": {"city": "Oslo"}}, given=place)
    flag.write_text("now")

    for run_id, words in ((failed["run_id"], ["retry"]), (asked["run_id"], ["answer", "--yes"])):
        typed = ["runs", words[0], run_id, *words[1:], *place]
        said = [command(*typed), command(*typed), command(*typed, "-c", asking)]
        next_one = f"goalgraph runs resume {run_id} --data-dir 'kept here' --catalog WHERE"

        assert [result.exit_code for result in said] == [Exit.OK, Exit.USAGE, Exit.USAGE]
        assert [next_one in " ".join(result.stderr.split()) for result in said] == [True] * 3
        assert command.json("runs", "resume", run_id, *place, "-c", asking)["status"] == "succeeded"


@pytest.mark.parametrize(
    "words",
    [
        ["failed", "--value", "1"],
        ["retry", "--value", "null"],
        ["retry", "--error", "late"],
        ["succeeded", "--error", "late"],
    ],
    ids="-".join,
)
def test_what_does_not_go_with_a_decision_is_wrong_usage(
    command: CommandLine, asking: Path, words: Sequence[str]
) -> None:
    """Nothing is looked up, so nothing is recorded: a run that is not there is not missed."""
    refused = command("runs", "decide", "nosuchrun", "room", *words)

    assert (refused.exit_code, f"does not go with {words[0]}" in refused.stderr) == (Exit.USAGE, True)


def test_a_run_that_waits_is_answered_and_not_resumed(command: CommandLine, asking: Path) -> None:
    run_id = booking(command, asking)

    for words in (["resume"], ["retry"]):
        said = " ".join(command("runs", *words, run_id, "-c", asking).stderr.split())
        assert "waits for a person: room: goalgraph runs answer " + run_id in said


def test_a_live_run_says_how_to_go_on_with_it(command: CommandLine, asking: Path) -> None:
    failed = start(command, asking, {"id": "one", "action": "lucky", "inputs": {"flag": "absent"}})
    before = command("runs", "show", failed["run_id"])
    assert command("runs", "retry", failed["run_id"]).exit_code == Exit.OK

    said = " ".join(command("runs", "show", failed["run_id"]).stderr.split())

    assert "last heard of" not in before.stderr
    assert "last heard of" in said
    assert f"goalgraph runs resume {failed['run_id']} --catalog WHERE" in said


def test_a_secret_that_no_record_holds_is_given_to_resume(command: CommandLine, asking: Path) -> None:
    """The run was started by a program, which is gone."""
    steps = [
        {"id": "room", "action": "book", "inputs": {"city": "Oslo"}},
        {"id": "end", "action": "sign", "inputs": {"key": "${user.key}", "text": "${room}"}},
    ]

    async def begin() -> None:
        async with open_planner(catalog=load_catalog(str(asking))) as planner:
            given = {"key": SecretStr("swordfish")}
            handle = await planner.execute_background({"steps": steps}, user_inputs=given, exec_id="signed")
            assert (await handle.wait()).status == "waiting"

    asyncio.run(begin())
    assert command("runs", "answer", "signed", "--yes").exit_code == Exit.OK

    shown = command("runs", "show", "signed")
    lacking = command("runs", "resume", "signed", "-c", asking)
    done = command("runs", "resume", "signed", "-c", asking, "--input", "key=swordfish", "--json")

    told = " ".join(shown.stderr.split())
    assert "its record does not hold key" in told
    assert "goalgraph runs resume signed --catalog WHERE --input key=…" in told
    assert (lacking.exit_code, "--input key=" in lacking.stderr) == (Exit.MISSING_INPUT, True)
    assert json.loads(done.stdout)["outputs"] == {"result": "booked Oslo signed with 9 letters"}
    assert "swordfish" not in done.stderr + command("runs", "show", "signed", "--json").stdout


def test_only_the_undos_that_failed_are_called_again(command: CommandLine, asking: Path) -> None:
    flag = command.folder / "flag"
    steps: list[dict[str, Any]] = [
        {"id": "paying", "action": "pay", "inputs": {"flag": str(flag)}},
        {"id": "one", "action": "lucky", "inputs": {"flag": str(flag)}, "after": ["paying"]},
    ]
    run_id = start(command, asking, *steps)["run_id"]
    before = command("runs", "show", run_id)
    failed = command.json("runs", "show", run_id)["compensation"]["paying"]
    flag.write_text("now")

    done = command.json("runs", "retry", run_id, "--undo", "-c", asking)
    after = command("runs", "show", run_id)

    assert (failed["status"], failed["error_type"]) == ("failed", "FileNotFoundError")
    assert "paying was not undone: FileNotFoundError" in before.stderr
    assert (done["status"], "paying was undone" in after.stderr) == ("failed", True)
    assert command.json("runs", "show", run_id)["compensation"]["paying"]["status"] == "undone"
    assert [(command.folder / name).read_text() for name in ("paid", "unpaid")] == ["once ", "once once "]


def question(kind: Any = "question", schema: Any = None, step: str = "one", own: str = "abc") -> PendingInterrupt:
    return PendingInterrupt(id=own, step_id=step, value={}, kind=kind, message="What?", schema=schema)


def test_an_answer_is_json_or_the_text_itself_as_the_schema_wants() -> None:
    assert fitting(question(schema={"type": "integer"}), "12") == 12
    assert fitting(question(schema={"type": "string"}), "00123") == "00123"
    assert fitting(question(), '{"a": 1}') == {"a": 1}
    assert fitting(question("approval", APPROVAL_SCHEMA), "yes") == {"approve": True, "reason": ""}
    with pytest.raises(InvalidAnswer):
        fitting(question(schema={"type": "integer"}), "twelve")


def test_a_question_is_named_by_its_step_or_the_beginning_of_its_id() -> None:
    several = [question(), question(step="two", own="abd"), question(step="two", own="xyz")]

    assert choose(several, Given(said=("one", "5"))) == (several[0], "5")
    assert choose(several, Given(said=("x",), yes=True)) == (several[2], None)
    assert choose(several[:1], Given(said=("5",))) == (several[0], "5")
    for given in (Given(said=("5",)), Given(said=("two", "5")), Given(said=("ab", "5"))):
        with pytest.raises(CommandError, match="name one by its step"):
            choose(several, given)


@pytest.mark.parametrize(
    ("asked", "typed", "answer"),
    [
        (
            question("approval", APPROVAL_SCHEMA),
            ["maybe", "", "n", "no money"],
            {"approve": False, "reason": "no money"},
        ),
        (question(schema={"enum": ["red", 2]}), ["green", "2"], 2),
        (
            question(
                schema={
                    "type": "object",
                    "properties": {"n": {"type": "integer"}, "note": {"type": "string"}},
                    "required": ["n"],
                }
            ),
            ["x", "", "3", ""],
            {"n": 3},
        ),
        (question("unknown", unknown_schema(None)), ["succeeded", "7"], {"decision": "succeeded", "value": 7}),
        (question("unknown", unknown_schema(None)), ["failed", "late"], {"decision": "failed", "error": "late"}),
    ],
    ids=["approval", "choice", "object", "succeeded", "failed"],
)
def test_somebody_at_the_terminal_is_asked_until_it_fits(
    asked: PendingInterrupt, typed: list[str], answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(typed)
    monkeypatch.setattr("builtins.input", lambda *_: next(lines))

    assert ask(asked, people()) == answer
    assert list(lines) == []
