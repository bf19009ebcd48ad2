"""Runs the command line in tests: inside the process, or as the real command."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from goalgraph.cli.app import app

ACTIONS = '''
"""A small catalog for the tests of the command line."""

from dataclasses import dataclass
from pathlib import Path
from threading import Event

from goalgraph import action


@dataclass
class City:
    city: str


@dataclass
class Forecast:
    forecast: str


@action
def find_city(airport: str) -> City:
    """Find the city of an airport."""
    print("an action prints")
    return City({"OSL": "Oslo", "SEA": "Seattle"}[airport])


@action(effect="external")
def forecast_weather(city: str) -> Forecast:
    """Forecast the weather of a city."""
    return Forecast(f"rain in {city}")


@action
def hang(started: str) -> str:
    """Say that it has started, and never end."""
    Path(started).write_text("now")
    Event().wait()
    return "never"
'''

PLAN = {
    "goal": "What is the weather where I land?",
    "steps": [
        {"id": "city", "action": "find_city", "inputs": {"airport": "${user.airport}"}},
        {"id": "weather", "action": "forecast_weather", "inputs": {"city": "${city.city}"}},
    ],
}


def own_environment() -> dict[str, str]:
    """The environment without what the person who runs the tests has set for goalgraph."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GOALGRAPH_", "OPENAI_"))}


class CommandLine:
    """The commands, called inside this process, with a catalog and a plan in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = self.file("actions.py", ACTIONS)
        self.plan = self.file("plan.json", json.dumps(PLAN))

    def __call__(self, *arguments: str | Path, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    def json(self, *arguments: str | Path) -> Any:
        """What a command writes to stdout with `--json`: JSON, and nothing else."""
        return json.loads(self(*arguments, "--json").stdout)

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    for name in set(os.environ) - set(own_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    yield CommandLine(tmp_path)
    own = str(tmp_path)
    for name in [name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(own)]:
        del sys.modules[name]
