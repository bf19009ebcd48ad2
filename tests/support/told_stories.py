"""Stories of processes that die: a driver tells all of them at once, and a test reads what each saw."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 110


def tell_all(stories: Mapping[str, Callable[[Path], dict[str, Any]]], base: Path) -> None:
    """Tell all stories at once, each in a process and a folder of its own, and print what they saw, by name."""
    children: list[int] = []
    for name, story in stories.items():
        folder = base / name
        folder.mkdir()
        child = os.fork()
        if child == 0:
            (folder / "report").write_text(json.dumps(story(folder)))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    reports = {name: base / name / "report" for name in stories}
    print(json.dumps({name: json.loads(path.read_text()) for name, path in reports.items() if path.exists()}))


def told_by(driver: Path, base: Path) -> dict[str, Any]:
    """Run a driver, which calls `tell_all`, and return what it printed."""
    command = [sys.executable, str(driver), str(base)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)
