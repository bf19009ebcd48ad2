"""Conversations with `goalgraph chat` in tests: a catalog to talk about, lines from a pipe, and a real terminal."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.command_line import CommandLine, own_environment
from tests.support.terminal import Terminal, at_terminal

ROOT = Path(__file__).parents[2]
CATALOG = '''
from pathlib import Path
from threading import Event

from pydantic import SecretStr

from goalgraph import action


@action
def find_city(airport: str) -> str:
    """Find the city of an airport."""
    print("an action prints")
    return {"OSL": "Oslo", "SEA": "Seattle"}[airport]


@action
def forecast_weather(city: str) -> str:
    """Forecast the weather of a city."""
    return f"rain in {city}"


@action
def open_account(owner: str, password: SecretStr) -> str:
    """Open the account of an owner."""
    return f"opened for {owner} with {len(password.get_secret_value())} letters"


@action(effect="external", approval=True)
def send_letter(letter: str) -> str:
    """Send a letter."""
    return f"sent {letter}"


@action
def collect_report(topic: str) -> str:
    """Collect a report, which never ends when it is done for the first time."""
    begun = Path("begun")
    if not begun.exists():
        begun.write_text("now")
        Event().wait()
    return f"all about {topic}"


@action
def unlock_vault(name: str, password: SecretStr) -> str:
    """Unlock a vault, which never ends when it is done for the first time."""
    collect_report(name)
    return f"unlocked with {len(password.get_secret_value())} letters"
'''


def wired(goal_step: dict[str, Any], *steps: dict[str, Any], output: str) -> dict[str, Any]:
    """A plan as a model writes it."""
    made = [{"control": None, **step} for step in (goal_step, *steps)]
    return {"assumptions": [], "steps": made, "outputs": [{"name": "answer", "ref": output}]}


WEATHER = wired(
    {"id": "c", "action": "find_city", "inputs": {"airport": {"ref": "user.airport"}}},
    {"id": "w", "action": "forecast_weather", "inputs": {"city": {"ref": "c"}}},
    output="w",
)
A_GOAL = {"intent": "goal", "quick_action": None, "argument": None, "goal": None}
"""What a model says of a message that is one."""


class Talk:
    """Conversations in a folder of their own."""

    def __init__(self, command: CommandLine) -> None:
        self.command = command
        self.folder = command.folder
        self.catalog = command.file("talked_about.py", CATALOG)

    def lines(self, *messages: str, options: tuple[str, ...] = (), code: int = 0) -> list[dict[str, Any]]:
        """Say one message after the other through a pipe, and return the turns."""
        said = "".join(f"{message}\n" for message in messages)
        done = self.command("chat", "-c", self.catalog, "--json", *options, stdin=said)
        assert done.exit_code == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def arguments(self, *options: str) -> list[str]:
        """The command, for a process of its own."""
        return [sys.executable, "-m", "goalgraph", "chat", "-c", str(self.catalog), *options]

    def environment(self, **more: str) -> dict[str, str]:
        """For a process of its own."""
        own = {**own_environment(), "PYTHONPATH": str(ROOT), "GOALGRAPH_API_KEY": "made-up", **more}
        own.pop("COLUMNS", None)
        return own

    @asynccontextmanager
    async def terminal(self, *options: str, **environment: str) -> AsyncIterator[Terminal]:
        """Talk at a terminal."""
        own = self.environment(**environment)
        async with at_terminal(self.arguments(*options), environment=own, folder=self.folder) as terminal:
            yield terminal

    @asynccontextmanager
    async def pipe(self, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Callable[..., None]]]:
        """Talk through pipes to a process; the second value says lines to it."""
        process = await asyncio.create_subprocess_exec(
            *self.arguments(*options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment(),
            cwd=self.folder,
        )
        stdin = process.stdin
        assert stdin is not None
        try:
            yield process, lambda *said: stdin.write("".join(f"{one}\n" for one in said).encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
