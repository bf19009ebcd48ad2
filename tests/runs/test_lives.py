"""Runs that survive their process: killed, poisoned, with a callback under way, with inputs that no record holds."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.told_stories import told_by

DRIVER = Path(__file__).with_name("life_driver.py")
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the lives of each story saw; see the driver."""
    return told_by(DRIVER, tmp_path_factory.mktemp("lives"))


def test_a_run_whose_process_is_killed_goes_on_where_it_was(stories: dict[str, Any]) -> None:
    """What was finished does not run again, what was in flight does; its events and its usage count on."""
    story = stories["killed"]
    then = story["then"]

    assert (KILLED, True, "succeeded", {"result": "c"}) == (story["died"], then["ok"], then["status"], then["outputs"])
    assert ["run a", "run b", "run b", "run c"] == then["journal"]
    assert list(range(1, len(then["events"]) + 1)) == [seq for seq, _, _ in then["events"]]
    told = Counter((phase, step) for _, phase, step in then["events"])
    assert {("step_success", step): 1 for step in "abc"} == {key: told[key] for key in told if key[0] == "step_success"}
    assert (True, 1) == (told["start", None] in (1, 2), told["success", None])
    assert {"a", "b", "c"} == set(then["steps"])
    assert 2 <= then["attempts"] <= 4  # what was counted in the last moment before the kill is lost
    assert 3 * then["attempts"] == then["cost"]


def test_a_run_that_ends_three_processes_is_parked_and_can_be_retried(stories: dict[str, Any]) -> None:
    """The fourth process lives, and says why; once what was wrong is mended, the run goes on."""
    story = stories["poisoned"]
    parked, again = story["then"]["parked"], story["then"]["again"]

    assert [1, 1, 1] == story["died"]
    assert ("failed", "poisoned", []) == (parked["status"], parked["reason"], parked["steps"])
    assert "Poisoned: 3 processes" in parked["errors"][0]
    assert ["explode"] * 3 == story["then"]["journal"]
    assert ("succeeded", None, {"result": 1}, []) == (
        again["status"], again["reason"], again["outputs"], again["errors"],
    )  # fmt: skip


def test_a_callback_whose_process_dies_while_it_is_delivered_is_delivered_by_another(stories: dict[str, Any]) -> None:
    story = stories["called_back"]

    assert KILLED == story["died"]
    assert ["call r succeeded", "call r succeeded", "heard"] == story["then"][3:]


def test_a_run_with_a_secret_waits_until_it_is_given_again(stories: dict[str, Any]) -> None:
    """It is in no file of the data directory, and whoever lacks it is told its name."""
    story = stories["secret"]
    then = story["then"]

    assert (KILLED, False, True) == (story["died"], story["stored"], story["size"] > 10_000)
    assert ("running", "succeeded", {"result": "right"}) == (
        then["before"], then["report"]["status"], then["report"]["outputs"],
    )  # fmt: skip
    assert 2 == sum("was given key, which its record does not hold" in told for told in then["told"])


def test_a_run_with_a_secret_asks_whoever_knows_it(stories: dict[str, Any]) -> None:
    story = stories["provided"]

    assert ({"result": "right"}, ["run k", "asked key of r"]) == (
        story["then"]["outputs"], story["then"]["journal"][:2],
    )  # fmt: skip


def test_inputs_that_a_record_cannot_hold_get_to_another_process(stories: dict[str, Any]) -> None:
    """One is too large, and one is no plain data but has a codec."""
    story = stories["inputs"]

    assert (KILLED, {"result": [5000, 7]}) == (story["died"], story["then"]["outputs"])
