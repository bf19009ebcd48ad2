"""The README is a program: its code runs, and what it says about commands, codes and folders is so."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from goalgraph.cli.app import app
from goalgraph.cli.exits import Exit
from tests.support.command_line import own_environment
from tests.support.openai_server import serve, text
from tests.support.plan_picture import PICTURE, draw

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODEL_ANSWER = {
    "assumptions": [],
    "steps": [
        {"id": "city", "action": "find_city", "inputs": {"airport": {"ref": "user.airport"}}, "control": None},
        {
            "id": "card",
            "action": "write_postcard",
            "inputs": {"city": {"ref": "city.result"}, "name": {"ref": "user.name"}},
            "control": None,
        },
    ],
    "outputs": [{"name": "card", "ref": "card.result"}],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


async def run(script: Path, **settings: str) -> str:
    """Run a script far from the checkout's own settings and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=script.parent,
        env={**own_environment(), "PYTHONPATH": str(ROOT), **settings},
    )
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    return stdout.decode()


async def test_all_python_of_the_readme_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    """One block after the other, in one program; a model that answers is behind the client's own settings."""
    script = tmp_path / "readme.py"
    code = "\n".join(blocks("python"))
    script.write_text(code, encoding="utf-8")
    promised = [line.strip().removeprefix("#> ") for line in code.splitlines() if line.strip().startswith("#> ")]

    async with serve() as server:
        server.replies.append(text(MODEL_ANSWER))
        printed = await run(script, OPENAI_BASE_URL=server.url, OPENAI_API_KEY="made-up")

    assert promised == printed.splitlines()
    assert len(server.requests) == 1


async def test_the_first_example_stands_alone(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(blocks("python")[0], encoding="utf-8")

    assert await run(script) != ""


async def test_the_picture_is_what_plan_draw_gives() -> None:
    """When the drawing changed: python -m tests.support.plan_picture."""
    assert "docs/plan.svg" in README
    assert PICTURE.read_text(encoding="utf-8") == await draw()


def test_the_exit_codes_are_those_of_the_program() -> None:
    table = dict(re.findall(r"^\| `?(\d+)`? \| (.+?) \|$", README, re.MULTILINE))

    assert sorted(map(int, table)) == sorted(code.value for code in Exit)


def test_every_folder_in_the_map_exists() -> None:
    folders = re.findall(r"^\| `(\w+)/` \|", README, re.MULTILINE)

    assert len(folders) >= 5
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("goalgraph ")]


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_the_readme_exists_with_its_options(line: str) -> None:
    words = line.partition("#")[0].split()[1:]
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}

    assert [word for word in words if re.match(r"--?[a-z]", word) and word not in known] == []
