"""`goalgraph runs watch`: a run of one process, seen and decided upon from others."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, own_environment
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]
GOALGRAPH = (sys.executable, "-m", "goalgraph")

ACTIONS = """
import asyncio
from pathlib import Path
from goalgraph import action

@action
def begin(word: str) -> str:
    \"\"\"Begin.\"\"\"
    return word

@action
def until_told(word: str, pipe: str) -> str:
    \"\"\"Wait until somebody writes.\"\"\"
    return f"{word} {Path(pipe).read_text()}"

@action(approval=True)
def agree(word: str) -> str:
    \"\"\"Ask somebody.\"\"\"
    return f"{word}, agreed"

@action(idempotent="no", effect="external")
async def pay(started: str) -> str:
    \"\"\"Hang in the middle.\"\"\"
    Path(started).write_text("now")
    await asyncio.Event().wait()
    return "never"
"""


def environment(**extra: str) -> dict[str, str]:
    return {**own_environment(), "PYTHONPATH": str(ROOT), "COLUMNS": "120", **extra}


@asynccontextmanager
async def started(*arguments: str | Path, **extra: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command; it is gone in the end."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(*GOALGRAPH, *map(str, arguments)), stdout=pipe, stderr=pipe, env=environment(**extra)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(60):
        stdout, stderr = await process.communicate()
    return process.returncode, stdout.decode(), stderr.decode()


async def called(*arguments: str | Path, **extra: str) -> tuple[int | None, str, str]:
    async with started(*arguments, **extra) as process:
        return await ended(process)


async def line_with(process: asyncio.subprocess.Process, words: str) -> str:
    """Wait until a process writes a line to stdout that has `words` in it."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"it ended without {words!r}")


async def only_run(status: str, **extra: str) -> str:
    """Wait until there is one run, in a status, and return its id."""

    async def look() -> str:
        _, stdout, _ = await called("runs", "ls", "--status", status, "--json", **extra)
        found = json.loads(stdout)
        return found[0]["id"] if found else ""

    return await eventually(look, f"a run is {status}")


async def test_a_run_of_another_process_is_watched_answered_and_seen_to_its_end(command: CommandLine) -> None:
    pipe = command.folder / "pipe"
    os.mkfifo(pipe)
    catalog = command.file("waiting.py", ACTIONS)
    steps = [
        {"id": "first", "action": "begin", "inputs": {"word": "word"}},
        {"id": "long", "action": "until_told", "inputs": {"word": "${first}", "pipe": str(pipe)}},
        {"id": "last", "action": "agree", "inputs": {"word": "${long}"}},
    ]
    plan = command.file("long.json", json.dumps({"steps": steps}))

    async with started("run", plan, "-c", catalog) as running:
        run_id = await only_run("running")
        async with (
            started("runs", "watch", run_id[:20], "--json") as watching,
            started("runs", "watch", run_id) as seeing,
        ):
            await line_with(watching, '"step_id": "long"')
            await asyncio.to_thread(pipe.write_text, "done")
            waited, _, told = await ended(running)
            await line_with(watching, '"phase": "waiting"')
            assert (waited, f"goalgraph runs answer {run_id}" in " ".join(told.split())) == (1, True)

            answered, stdout, _ = await called("runs", "answer", run_id, "--yes", "-c", catalog, "--json")
            await line_with(watching, '"phase": "success"')
            ends = [await ended(watching), await ended(seeing)]

    assert (answered, json.loads(stdout)["outputs"]) == (0, {"result": "word done, agreed"})
    assert [end[0] for end in ends] == [0, 0]
    assert "last asks: May agree run?" in ends[1][2]
    assert "word done, agreed" in ends[1][2]


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_stops_the_watching_and_not_the_run(command: CommandLine, by: signal.Signals, code: int) -> None:
    catalog = command.file("waiting.py", ACTIONS)
    plan = command.file("ask.json", json.dumps({"steps": [{"id": "a", "action": "agree", "inputs": {"word": "x"}}]}))
    run_id = json.loads((await called("run", plan, "-c", catalog, "--json"))[1])["run_id"]

    async with started("runs", "watch", run_id, "--json") as watching:
        await line_with(watching, '"phase": "waiting"')
        watching.send_signal(by)
        ending, _, stderr = await ended(watching)

    assert (ending, "the run goes on" in stderr, "Traceback" in stderr) == (code, True, False)
    assert await only_run("waiting") == run_id


async def test_a_step_that_was_in_flight_is_decided(command: CommandLine) -> None:
    catalog = command.file("waiting.py", ACTIONS)
    step = {"id": "payment", "action": "pay", "inputs": {"started": str(command.folder / "started")}}
    plan = command.file("pay.json", json.dumps({"steps": [step]}))

    async with started("run", plan, "-c", catalog, GOALGRAPH_RUNS__LEASE="1") as running:

        async def is_there() -> bool:
            return (command.folder / "started").exists()

        await eventually(is_there, "the action works")
        running.send_signal(signal.SIGKILL)
        await ended(running)
    run_id = await only_run("running")
    resumed = await called("runs", "resume", run_id, "-c", catalog, "--json")
    asked = await called("runs", "show", run_id)
    said = ("payment", "succeeded", "--value", '"paid"')
    decided = json.loads((await called("runs", "decide", run_id, *said, "-c", catalog, "--json"))[1])

    assert json.loads(resumed[1])["status"] == "waiting"
    assert f"goalgraph runs decide {run_id} payment" in " ".join(asked[2].split())
    assert (decided["status"], decided["outputs"]) == ("succeeded", {"result": "paid"})


def test_a_run_that_has_ended_is_shown_at_once(command: CommandLine) -> None:
    run_id = command.json("run", command.plan, "-c", command.catalog, "-i", "airport=XXX")["run_id"]

    seen = command("runs", "watch", run_id)
    absent = command("runs", "watch", "nosuchrun", "--json")
    lines = command("runs", "watch", run_id, "--json", "--after", "3")

    assert (seen.exit_code, "KeyError" in seen.stderr) == (1, True)
    assert (absent.exit_code, json.loads(absent.stdout)["ok"]) == (2, False)
    assert json.loads(lines.stdout.splitlines()[0])["seq"] == 4


def test_help_answers_at_once() -> None:
    done = subprocess.run([*GOALGRAPH, "runs", "--help"], capture_output=True, text=True, check=True, env=environment())

    for name in ("ls", "show", "watch", "cancel", "answer", "decide", "resume", "retry", "events"):
        assert name in done.stdout
