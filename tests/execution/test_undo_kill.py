"""A run that is killed with SIGKILL at every point of its compensation, and of a replan, and resumed by another."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("undo_kill_driver.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver saw: for each policy one undisturbed run, then one for each line of its journal."""
    command = [sys.executable, str(DRIVER), str(tmp_path_factory.mktemp("kill"))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=110, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_every_point_of_both_was_a_place_to_die(story: dict[str, Any]) -> None:
    """Inside each undo, after each, and around the question for another plan."""
    dying = {policy: {report["point"] for report in story[policy]["reports"]} for policy in story}

    assert {f"undo {name} r:{name}:undo" for name in "abcd"} | {f"undone {name}" for name in "abcd"} <= dying[
        "compensate"
    ]
    assert {"compensation_start", "done end"} <= dying["compensate"]
    assert {"asked for revision 1", "replan", "run e", "run mend", "done end"} <= dying["replan"]
    for policy in story:
        assert {-signal.SIGKILL} == {report["killed"] for report in story[policy]["reports"]}


def test_the_resumed_run_ends_as_an_undisturbed_one(story: dict[str, Any]) -> None:
    """With the same error, and all that can be undone undone."""
    assert {"a": "undone", "b": "undone", "c": "undone", "d": "undone"} == story["compensate"]["result"]["undone"]
    assert ("succeeded", {"result": "mended"}) == (
        story["replan"]["result"]["status"],
        story["replan"]["result"]["outputs"],
    )
    for policy in story:
        for report in story[policy]["reports"]:
            assert (0, story[policy]["result"]) == (report["resumed"], report["result"]), report


def test_only_what_was_not_finished_runs_again(story: dict[str, Any]) -> None:
    """Neither a step nor an undo whose end was told."""
    for policy in story:
        for report in story[policy]["reports"]:
            finished = {line.removeprefix("done ") for line in report["before"] if line.startswith("done ")}
            undone = {line.removeprefix("undone ") for line in report["before"] if line.startswith("undone ")}
            again = {line.split()[1] for line in report["after"] if line.startswith("run ")} - {"fail", "mend"}
            undone_again = {line.split()[1] for line in report["after"] if line.startswith("undo ")}

            assert set() == finished & again, report
            assert set() == undone & undone_again, report
            calls = [line for line in report["after"] if line.startswith(("run ", "undo ", "asked "))]
            assert len(set(calls)) == len(calls), report
            assert "replan" not in report["before"] or not any("asked" in line for line in report["after"]), report


def test_no_step_is_undone_before_what_used_it(story: dict[str, Any]) -> None:
    """Over both lives."""
    for report in story["compensate"]["reports"]:
        lines = report["before"] + report["after"]
        first = {name: lines.index(f"undo {name} r:{name}:undo") for name in "abcd"}

        assert first["c"] < first["b"] < first["a"] > first["d"], report
