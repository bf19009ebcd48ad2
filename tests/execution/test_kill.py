"""A run that is killed with SIGKILL at every point of its life, and resumed by another process."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("kill_driver.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver saw: one undisturbed run, then one for each line of its journal, killed right after that line."""
    command = [sys.executable, str(DRIVER), str(tmp_path_factory.mktemp("kill"))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=110, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_every_boundary_and_every_step_was_a_place_to_die(story: dict[str, Any]) -> None:
    """The journal has a line inside each step, item and node, and one after each acknowledged step."""
    assert 0 == story["ends"]["undisturbed"]
    assert story["ends"]["result"]["ok"]
    dying = {report["point"] for report in story["reports"]}
    steps = {"a", "b", "c", "ab", "bc", "join", "list", "each", "sum", "flow", "last", "side"}

    assert {f"done {step}" for step in steps} <= dying
    assert {
        "run flow:double",
        "run flow:bump",
        "run each:8",
        "run each:9",
        "run each:10",
        "run join",
        "run last",
    } <= dying
    assert all(report["point"] in report["before"] for report in story["reports"])
    assert {-signal.SIGKILL} == {report["killed"] for report in story["reports"]}


def test_the_resumed_run_gives_what_an_undisturbed_one_gives(story: dict[str, Any]) -> None:
    """Nothing is lost, and no result is swapped with another's."""
    for report in story["reports"]:
        assert (0, story["ends"]["result"]) == (report["resumed"], report["result"]), report


def test_no_finished_step_runs_again(story: dict[str, Any]) -> None:
    """A step is finished when its success was told, which is after its write was acknowledged."""
    for report in story["reports"]:
        finished = {line.removeprefix("done ") for line in report["before"] if line.startswith("done ")}
        again = {line.removeprefix("run ").partition(":")[0] for line in report["after"] if line.startswith("run ")}

        assert set() == finished & again, report


def test_at_most_what_was_in_flight_runs_twice(story: dict[str, Any]) -> None:
    """Each step, item and node runs at most twice: once before the kill and once after."""
    for report in story["reports"]:
        lines = [line for line in report["before"] + report["after"] if line.startswith("run ")]

        assert all(lines.count(line) <= 2 for line in lines), report
        assert all(report["after"].count(line) <= 1 for line in report["after"]), report
