"""A plan's file can be anything; each thing that it is not gets one sentence and an exit code."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import PLAN, CommandLine


@pytest.mark.parametrize("name", ["check", "run"])
@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", 3, "is empty"),
        (b" \n\t", 3, "is empty"),
        (bytes(range(256)), 3, "binary"),
        (b"\x7fELF\x00\x00", 3, "binary"),
        (b"\xff\xfe\xfd", 3, "no plan"),
        (b"just words", 3, "no plan"),
        (b"[1, 2, 3]", 3, "no plan"),
        (b"{}", 3, "no plan"),
        (b'{"steps": 7}', 3, "no plan"),
        (b'{"steps": [{"id": "a"', 3, "ends before"),
        (b"[" * 100_000, 3, "nest"),
        (b"x" * 4_000_001, 3, "plan_bytes"),
        (b'{"steps": []}', 3, "no steps"),
    ],
)
def test_what_is_no_plan_is_refused_with_a_sentence(
    name: str, content: bytes, code: int, words: str, command: CommandLine
) -> None:
    path = command.file("odd.json", content)

    result = command(name, path, "--catalog", command.catalog)

    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there_is_named(command: CommandLine) -> None:
    result = command("run", "absent.json", "--catalog", command.catalog)

    assert (result.exit_code, "there is no file absent.json" in result.stderr) == (2, True)


def test_a_folder_is_no_plan(command: CommandLine, tmp_path: Path) -> None:
    result = command("run", tmp_path, "--catalog", command.catalog)

    assert (result.exit_code, "is a folder" in result.stderr) == (2, True)


def test_a_plan_is_read_from_stdin(command: CommandLine) -> None:
    result = command("check", "-", "--catalog", command.catalog, "-i", "airport=OSL", stdin=json.dumps(PLAN))

    assert result.exit_code == 0


def test_a_plan_in_prose_is_read_and_the_reading_is_told(command: CommandLine) -> None:
    path = command.file("prose.json", f"Here you are:\n```json\n{json.dumps(PLAN)[:-1]},}}\n```\n")

    result = command("check", path, "--catalog", command.catalog, "-i", "airport=OSL")

    assert result.exit_code == 0
    assert "~ " in result.stderr


@pytest.mark.parametrize("goal", ["x" * 5000, "a\x00b", "${user", "[bold]loud[/bold] [/]"])
def test_any_text_can_be_a_goal(goal: str, command: CommandLine) -> None:
    result = command("run", goal, "--catalog", command.catalog, "--want", "no_such_output")

    assert result.exit_code == 5
    assert result.exception is None or isinstance(result.exception, SystemExit)
