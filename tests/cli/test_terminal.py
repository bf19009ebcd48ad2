"""Text that others wrote is shown, and cannot act on the terminal."""

import asyncio
import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest

from goalgraph.cli.console import PeopleConsole, complain, visible
from goalgraph.live import RunProgress
from planner.events import ExecutionEvent, ExecutionPhase
from planner.plan import CandidatePlan
from tests.support.command_line import CommandLine
from tests.support.openai_server import serve, text

ROOT = Path(__file__).parents[2]
EVIL = "a\x1b[2Jb\x07c\u202ed\x9be\u2066f\rg\x7fh"
"""Clears the screen, rings, turns the line around, starts a sequence (C1), isolates, overwrites the line."""

PHASES: tuple[ExecutionPhase, ...] = ("step_start", "step_progress", "step_retry", "step_failure")


def dangerous(shown: str) -> set[str]:
    """The characters of `shown` that a terminal would act on."""
    return {one for one in shown if unicodedata.category(one) in ("Cc", "Cf") and one not in "\n\t"}


def test_signs_stand_where_control_characters_were() -> None:
    assert visible(EVIL) == "a\ufffd[2Jb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg\ufffdh"
    assert visible("of\tthree\nlines: żółć, 天気, 👩‍🚀") == "of\tthree\nlines: żółć, 天気, 👩‍🚀"


@pytest.mark.parametrize("name", ["check", "run", "draw"])
@pytest.mark.parametrize(
    "step",
    [{"action": EVIL}, {"action": "find_city", "inputs": {EVIL: EVIL}}, {"action": "find_city", "after": [EVIL]}],
)
def test_no_plan_reaches_the_terminal(name: str, step: dict[str, object], command: CommandLine) -> None:
    path = command.file("evil.json", json.dumps({"goal": EVIL, "steps": [{"id": f"x{EVIL}", **step}]}))

    result = command(name, path, "--catalog", command.catalog)

    drawn = command("draw", path, "--format", "mermaid")

    assert dangerous(result.stderr + result.stdout + drawn.stdout) == set()
    assert result.stderr + result.stdout != ""


def test_no_action_reaches_the_terminal(command: CommandLine) -> None:
    path = command.file(
        "evil.py",
        f"from goalgraph import action\nEVIL = {EVIL!r}\n"
        "@action(description=EVIL)\ndef say() -> str:\n    return EVIL\n"
        "@action\ndef fail() -> str:\n    raise ValueError(EVIL)\n",
    )
    plans = [
        command.file(
            f"{name}.json", json.dumps({"steps": [{"id": "one", "action": name}], "outputs": {"[b]o[/b]": "${one}"}})
        )
        for name in ("say", "fail")
    ]
    asked = [("run", plan) for plan in plans] + [("catalog", "ls"), ("catalog", "show", "say")]

    for arguments in asked:
        plain, told = command(*arguments, "-c", path), command(*arguments, "-c", path, "--json")
        assert dangerous(plain.stderr + plain.stdout + told.stdout) == set()
        assert "\ufffd[2Jb" in plain.stderr
        assert json.loads(told.stdout) is not None
    assert "[b]o[/b]" in command("run", plans[0], "-c", path).stderr
    assert json.loads(command("run", plans[0], "-c", path, "--json").stdout)["outputs"] == {"[b]o[/b]": EVIL}


def test_no_complaint_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    complain(EVIL)

    assert dangerous(capsys.readouterr().err) == set()


def test_a_live_table_moves_the_cursor_and_its_texts_do_not() -> None:
    file = io.StringIO()
    console = PeopleConsole(file=file, force_terminal=True, width=120, color_system=None)
    plan = CandidatePlan.from_dict({"steps": [{"id": "one", "action": EVIL}]})

    with RunProgress(plan, console) as progress:
        for phase in PHASES:
            progress(ExecutionEvent(phase=phase, step_id="one", message=EVIL))
    shown = file.getvalue()

    assert "\x1b[?25l" in shown
    assert [evil for evil in ("\x1b[2J", "\x07", "\u202e", "\x9b", "\u2066") if evil in shown] == []


async def test_no_model_reaches_the_terminal(command: CommandLine) -> None:
    async with serve() as server:
        server.replies.extend([text({"assumptions": [EVIL], "steps": EVIL, "outputs": [EVIL]})] * 3)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "goalgraph", "plan", EVIL.replace("\x00", ""), "-c", str(command.catalog)),
            *("--model", "m", "--base-url", server.url),
            stderr=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT), "GOALGRAPH_API_KEY": "made-up"},
        )
        _, stderr = await process.communicate()

    assert server.requests
    assert dangerous(stderr.decode()) == set()


async def test_no_log_reaches_the_terminal(command: CommandLine) -> None:
    logs = f"import logging\nfrom goalgraph import action\nlogging.getLogger('goalgraph').warning({EVIL!r})\n"
    catalog = command.file("logging_actions.py", f"{logs}@action\ndef say() -> str:\n    return ''\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "goalgraph", "catalog", "ls", "-c", str(catalog)),
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    _, stderr = await process.communicate()

    assert "\ufffd[2Jb" in stderr.decode()
    assert dangerous(stderr.decode()) == set()
