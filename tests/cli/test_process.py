"""The real command, in a process of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.embedded import ArchiveLease, DataDirectory
from tests.support.command_line import CommandLine, own_environment
from tests.support.openai_server import serve, text

ROOT = Path(__file__).parents[2]
HEAVY = {"goalgraph.application", "langchain_core", "langgraph", "matplotlib", "openai", "planner", "pydantic"}
GOALGRAPH = (sys.executable, "-m", "goalgraph")


def environment(**extra: str) -> dict[str, str]:
    return {**own_environment(), "PYTHONPATH": str(ROOT), **extra}


def run(*arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GOALGRAPH, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment(**extra),
    )


def test_help_imports_nothing_heavy() -> None:
    done = run("--help", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}

    assert done.returncode == 0
    assert "typer" in imported
    assert imported & HEAVY == set()


def test_help_lists_the_exit_codes() -> None:
    assert "an input is missing" in " ".join(run("--help").stdout.split())


def test_an_unknown_option_is_wrong_usage() -> None:
    assert run("run", "x", "--no-such-option").returncode == 2


def test_what_an_action_prints_does_not_reach_json(command: CommandLine) -> None:
    done = run("run", command.plan, "-c", command.catalog, "-i", "airport=OSL", "--json")

    assert json.loads(done.stdout)["ok"] is True
    assert "an action prints" in done.stderr


def test_what_a_child_process_of_an_action_prints_does_not_reach_json(command: CommandLine) -> None:
    actions = "import os\nfrom goalgraph import action\n@action\ndef shout() -> int:\n    return os.system('echo x')\n"
    plan = command.file("shout.json", json.dumps({"steps": [{"id": "a", "action": "shout"}]}))

    done = run("run", plan, "-c", command.file("shout.py", actions), "--json")

    assert json.loads(done.stdout)["ok"] is True
    assert "x\n" in done.stderr


def test_json_is_all_of_stdout_even_where_stderr_is_closed(command: CommandLine) -> None:
    actions = "import os\nfrom goalgraph import action\n@action\ndef shout() -> int:\n    return os.system('echo x')\n"
    plan = command.file("shout.json", json.dumps({"steps": [{"id": "a", "action": "shout"}]}))
    words = " ".join([*GOALGRAPH, "run", str(plan), "-c", str(command.file("shout.py", actions)), "--json"])

    done = subprocess.run(["sh", "-c", f"{words} 2>&-"], stdout=subprocess.PIPE, check=False, env=environment())

    assert json.loads(done.stdout)["ok"] is True


def test_what_an_action_prints_is_its_own_otherwise(command: CommandLine) -> None:
    done = run("run", command.plan, "-c", command.catalog, "-i", "airport=OSL")

    assert (done.returncode, done.stdout) == (0, "an action prints\n")


def test_nothing_moves_where_there_is_no_terminal(command: CommandLine) -> None:
    done = run("run", command.plan, "-c", command.catalog, "-i", "airport=OSL")

    assert "\x1b" not in done.stderr
    assert [line.split()[:2] for line in done.stderr.splitlines()[:2]] == [["✓", "city"], ["✓", "weather"]]


def test_json_is_written_in_any_locale(command: CommandLine) -> None:
    done = run(
        "run", command.plan, "-c", command.catalog, "-i", "airport=Ωλ", "--json", PYTHONIOENCODING="ascii:strict"
    )

    assert json.loads(done.stdout)["status"] == "failed"


def test_a_reader_that_has_gone_is_no_error(command: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    arguments = (*GOALGRAPH, "catalog", "ls", "-c", str(command.catalog), "--json")

    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(
            arguments, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment()
        )

    assert (done.returncode, "Error" in done.stderr) == (0, False)


def interrupted_once_started(
    make: Callable[[str], tuple[str, ...]],
    by: signal.Signals = signal.SIGINT,
    program: tuple[str, ...] = GOALGRAPH,
) -> tuple[int, str, str]:
    """Start a command that writes to a file when it is under way, press Ctrl-C then, and return how it ended."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        (*program, *make(f"/dev/fd/{writing}")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        pass_fds=(writing,),
    ) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as started:
            said = started.read(3)  # empty if the command ends before
        process.send_signal(by)
        stdout, stderr = process.communicate(timeout=60)
    assert said == b"now", stderr
    return process.returncode, stdout, stderr


STOPPED = pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


@STOPPED
def test_a_signal_stops_the_run_and_tells_what_was_completed(
    command: CommandLine, by: signal.Signals, code: int
) -> None:
    def make(started: str) -> tuple[str, ...]:
        steps = [
            {"id": "city", "action": "find_city", "inputs": {"airport": "OSL"}},
            {"id": "endless", "action": "hang", "inputs": {"started": started}, "after": ["city"]},
            {"id": "never", "action": "forecast_weather", "inputs": {"city": "Oslo"}, "after": ["endless"]},
        ]
        plan = command.file("endless.json", json.dumps({"steps": steps}))
        return ("run", str(plan), "-c", str(command.catalog), "--json")

    ended, stdout, stderr = interrupted_once_started(make, by)

    assert (ended, json.loads(stdout)["status"]) == (code, "cancelled")
    assert "completed: city" in stderr
    assert [one["status"] for one in command.json("runs", "ls")] == ["cancelled"]


@STOPPED
def test_a_signal_while_a_catalog_is_imported_leaves_no_traceback(
    command: CommandLine, by: signal.Signals, code: int
) -> None:
    def make(started: str) -> tuple[str, ...]:
        lines = (
            "import pathlib, threading",
            f"pathlib.Path({started!r}).write_text('now')",
            "threading.Event().wait()",
        )
        return ("catalog", "ls", "-c", str(command.file("slow.py", "\n".join(lines))))

    ended, _, stderr = interrupted_once_started(make, by)

    assert (ended, "Traceback" in stderr) == (code, False)


ENDLESS = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
import asyncio
import goalgraph.cli.runs as runs
from goalgraph.cli import main
from goalgraph.stores import OpenStores

class Archive:
    threads = ThreadPoolExecutor(1)

    async def query(self, sql, parameters=None):
        await asyncio.get_running_loop().run_in_executor(self.threads, self.hang, sql)

    def hang(self, started):
        with open(started, "w") as file:
            file.write("now")
        threading.Event().wait()

@asynccontextmanager
async def open_stores(settings):
    try:
        yield OpenStores(records=None, checkpointer=None, blobs=None, archive=Archive())
    finally:  # as the archive is closed
        await asyncio.to_thread(Archive.threads.shutdown)

runs.open_stores = open_stores
main()
"""


@STOPPED
def test_a_signal_ends_a_query_that_cannot_be_stopped(command: CommandLine, by: signal.Signals, code: int) -> None:
    program = (sys.executable, str(command.file("endless.py", ENDLESS)))
    command.file(".goalgraph/format", "")

    ended, _, stderr = interrupted_once_started(lambda started: ("runs", "sql", started), by, program)

    assert (ended, stderr) == (code, "error: stopped\n")


@pytest.mark.parametrize("way", ["run", "demo"])
def test_a_store_that_fails_is_one_sentence(command: CommandLine, way: str) -> None:
    """The first opening finds Redis empty, and has to ask an archive that is not there."""
    arguments = ("run", command.plan, "-c", command.catalog, "-i", "airport=OSL") if way == "run" else ("demo",)

    done = run(*arguments, "--json", "--archive", "clickhouse://127.0.0.1:1/x")

    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(said), "Traceback" in done.stderr) == (1, 1, False)
    assert "archive clickhouse://127.0.0.1:1/x does not answer" in said[0]
    assert json.loads(done.stdout)["ok"] is False


def test_runs_are_read_while_another_process_holds_the_archive(command: CommandLine) -> None:
    run_id = command.json("run", command.plan, "-c", command.catalog, "-i", "airport=OSL")["run_id"]
    command("runs", "sql", "SELECT 1")  # the archive is there, and what is asked for might be in it
    lease = ArchiveLease(DataDirectory(command.folder / ".goalgraph"))
    assert lease.acquire()
    try:
        answers = [run("runs", *asked, "--json") for asked in (["ls"], ["show", run_id[:13]], ["events", run_id[:13]])]
        absent = run("runs", "show", "nosuchrun")
    finally:
        lease.release()

    assert [done.returncode for done in answers] == [0, 0, 0], [done.stderr for done in answers]
    assert json.loads(answers[0].stdout)[0]["id"] == json.loads(answers[1].stdout)["id"] == run_id
    assert (absent.returncode, "there is no run" in absent.stderr) == (2, True)


async def test_a_goal_in_words_is_planned_by_a_model_and_run(command: CommandLine) -> None:
    plan = {
        "assumptions": [],
        "steps": [
            {"id": "c", "action": "find_city", "inputs": {"airport": {"ref": "user.airport"}}, "control": None},
            {"id": "w", "action": "forecast_weather", "inputs": {"city": {"ref": "c.city"}}, "control": None},
        ],
        "outputs": [{"name": "answer", "ref": "w.forecast"}],
    }
    async with serve() as server:
        server.replies.append(text(plan))
        process = await asyncio.create_subprocess_exec(
            *(*GOALGRAPH, "run", "the weather where I land", "-c", str(command.catalog), "-i", "airport=SEA"),
            *("--model", "m", "--base-url", server.url, "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(GOALGRAPH_API_KEY="made-up"),
        )
        stdout, stderr = await process.communicate()

    assert process.returncode == 0, stderr.decode()
    assert json.loads(stdout)["outputs"] == {"answer": "rain in Seattle"}
