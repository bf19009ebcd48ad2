"""What `run` refuses, `check` says before."""

import json

import pytest

from goalgraph.cli.exits import Exit
from tests.support.command_line import CommandLine

GUARDED = """
from goalgraph import action

@action(roles=["admin"])
def restricted() -> str:
    return "done"

@action(approval=True)
def careful() -> str:
    return "done"
"""


def of(action: str, command: CommandLine) -> tuple[str, str, str]:
    """The plan of one step, with its catalog."""
    plan = command.file("one.json", json.dumps({"steps": [{"id": "only", "action": action}]}))
    return str(plan), "--catalog", str(command.file("guarded.py", GUARDED))


@pytest.mark.parametrize("name", ["check", "run"])
def test_an_action_for_a_role_that_nobody_has_here_makes_a_plan_invalid(name: str, command: CommandLine) -> None:
    result = command(name, *of("restricted", command))

    assert (result.exit_code, "✗ only" in result.stderr) == (Exit.INVALID_PLAN, True)


def test_a_plan_that_needs_approval_is_valid_and_said_to_need_it(command: CommandLine) -> None:
    plan = of("careful", command)
    checked, ran = command("check", *plan), command("run", *plan)

    assert (checked.exit_code, "only needs approval" in checked.stderr) == (Exit.OK, True)
    assert command.json("check", *plan)["approvals"] == ["only"]
    assert (ran.exit_code, "only asks: May careful run?" in ran.stderr) == (Exit.FAILED, True)
    assert "goalgraph runs answer" in ran.stderr


@pytest.mark.parametrize(
    ("action", "code"), [("restricted", Exit.INVALID_PLAN), ("careful", Exit.FAILED)], ids=["invalid", "approval"]
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry"])
def test_what_is_refused_only_when_it_runs_ends_with_the_same_code(
    action: str, code: Exit, more: tuple[str, ...], command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goalgraph.cli.running.IDENTITY", None)  # as if `run` knew less than the planner
    result = command("run", *of(action, command), *more)

    assert result.exit_code == (Exit.OK if action == "careful" and more else code)
