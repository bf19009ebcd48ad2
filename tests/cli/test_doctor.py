"""`goalgraph doctor`: what is well, what is not, and what to do about it."""

import asyncio
from typing import Any

import pytest

from goalgraph.cli.exits import Exit
from goalgraph.settings import Settings
from goalgraph.stores import open_stores
from tests.support.command_line import CommandLine


def checks(command: CommandLine, *arguments: str) -> dict[str, dict[str, Any]]:
    """What was found, by check."""
    document = command.json("doctor", *arguments)
    found = {one["check"]: one for one in document["checks"]}
    assert document["ok"] is all(one["health"] != "fail" for one in found.values())
    return found


def give_up_a_callback() -> str:
    """Leave a callback behind that could not be delivered, and return its id."""

    async def leave() -> str:
        async with open_stores(Settings()) as stores:
            assert stores.runs is not None
            await stores.runs.add("some-run", "https://example.org/hook")
            (call,) = await stores.runs.claim(10, 60)
            await stores.runs.settle(call, error="ConnectError: nobody there", dead=True)
            return call.id

    return asyncio.run(leave())


def test_a_healthy_place_is_told_line_by_line_and_left_as_it_was(command: CommandLine) -> None:
    result = command("doctor")
    found = checks(command, "--no-run")

    assert result.exit_code == Exit.OK, result.stderr
    assert "read back and erased" in result.stderr
    assert {one["health"] for one in found.values()} == {"ok"}
    assert {"python", "packages", "redis", "redis disk", "archive", "runs", "callbacks"} <= found.keys()
    assert "test run" not in found
    assert command.json("runs", "sql", "SELECT count() FROM gg_entries")["rows"] == [[0]]


def test_a_dead_redis_is_named_with_what_to_do(command: CommandLine) -> None:
    result = command("doctor", "--redis", "redis://127.0.0.1:1")

    assert (result.exit_code, "Traceback" in result.stderr) == (Exit.FAILED, False)
    assert "✗ fail  stores" in result.stderr
    assert "redis://127.0.0.1:1 does not answer" in result.stderr
    assert "→ " in result.stderr


def test_a_dead_archive_is_named_and_redis_is_well(command: CommandLine) -> None:
    found = checks(command, "--archive", "clickhouse://127.0.0.1:1/x", "--no-run")

    assert (found["redis"]["health"], found["archive"]["health"]) == ("ok", "fail")
    assert "does not answer" in found["archive"]["told"]
    assert "what is written waits in Redis" in found["archive"]["advice"]


def test_callbacks_that_were_given_up_are_listed_and_replayed(command: CommandLine) -> None:
    call_id = give_up_a_callback()

    listed = checks(command, "--no-run")["callbacks"]
    replayed = command("doctor", "--replay", call_id)
    unknown = command("doctor", "--replay", call_id)

    assert (listed["health"], call_id in listed["told"], "nobody there" in listed["told"]) == ("warn", True, True)
    assert "--replay ID" in listed["advice"]
    assert (replayed.exit_code, unknown.exit_code) == (Exit.OK, Exit.USAGE)
    assert "no callback" in unknown.stderr


def test_runs_that_nobody_takes_up_are_a_warning(command: CommandLine) -> None:
    catalog = command.file(
        "asking.py",
        "from goalgraph import action\n@action(approval=True)\ndef agree() -> int:\n    '''Ask.'''\n    return 1\n",
    )
    plan = command.file("ask.json", '{"steps": [{"id": "a", "action": "agree"}]}')
    run_id = command.json("run", plan, "-c", str(catalog))["run_id"]
    assert checks(command, "--no-run")["runs"]["health"] == "ok"
    command("runs", "answer", run_id, "--yes")

    found = checks(command, "--no-run")["runs"]

    assert (found["health"], run_id in found["advice"]) == ("warn", True)
    assert "goalgraph worker" in found["advice"]


def test_a_wrong_setting_is_one_sentence(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOALGRAPH_RUNS__LEASE", "soon")

    result = command("doctor")

    assert (result.exit_code, "GOALGRAPH_RUNS__LEASE" in result.stderr) == (Exit.USAGE, True)
