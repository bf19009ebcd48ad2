"""Each command: what it shows, what it writes with `--json`, and how it ends."""

import json
import shlex
from pathlib import Path

import pytest

from goalgraph.cli.exits import Exit
from tests.support.command_line import PLAN, CommandLine


def test_a_valid_plan_passes(command: CommandLine) -> None:
    result = command("check", command.plan, "-c", command.catalog, "-i", "airport=OSL")

    assert (result.exit_code, result.stdout) == (Exit.OK, "")
    assert "the plan is valid" in result.stderr


def test_every_fault_of_a_plan_is_told_with_its_place_and_what_would_mend_it(command: CommandLine) -> None:
    steps = [{**PLAN["steps"][0], "action": "find_cty"}, {**PLAN["steps"][1], "inputs": {"city": "${nowhere.city}"}}]
    path = command.file("bad.json", json.dumps({"steps": steps}))

    found = command.json("check", path, "-c", command.catalog)

    assert (found["ok"], {issue["kind"] for issue in found["issues"]}) == (False, {"unknown_action", "unknown_step"})
    assert ["steps", 0, "action"] in [patch["path"] for patch in found["patches"]]
    assert command("check", path, "-c", command.catalog).exit_code == Exit.INVALID_PLAN


def test_a_missing_input_is_told_with_how_to_give_it(command: CommandLine) -> None:
    result = command("check", command.plan, "-c", command.catalog)

    assert result.exit_code == Exit.MISSING_INPUT
    assert "--input airport=" in result.stderr


def test_a_plan_is_run(command: CommandLine) -> None:
    result = command("run", command.plan, "-c", command.catalog, "--input", "airport=OSL")

    assert (result.exit_code, result.exception) == (Exit.OK, None)
    assert "rain in Oslo" in result.stderr


def test_json_is_all_that_a_run_writes_to_stdout(command: CommandLine) -> None:
    ran = command.json("run", command.plan, "-c", command.catalog, "--input", "airport=OSL")

    assert (ran["ok"], ran["outputs"]) == (True, {"forecast": "rain in Oslo"})
    assert {step: facts["status"] for step, facts in ran["steps"].items()} == {
        "city": "succeeded",
        "weather": "succeeded",
    }


def test_a_failed_run_says_what_failed(command: CommandLine) -> None:
    result = command("run", command.plan, "-c", command.catalog, "--input", "airport=XXX")

    assert result.exit_code == Exit.FAILED
    assert "KeyError: 'XXX'" in result.stderr


def test_a_plan_that_lacks_an_input_is_not_run(command: CommandLine) -> None:
    result = command("run", command.plan, "-c", command.catalog)

    assert result.exit_code == Exit.MISSING_INPUT
    assert "an action prints" not in result.stdout


def test_an_invalid_plan_is_not_run(command: CommandLine) -> None:
    path = command.file("bad.json", json.dumps({"steps": [*PLAN["steps"], {"id": "x", "action": "absent"}]}))

    result = command("run", path, "-c", command.catalog, "-i", "airport=OSL")

    assert result.exit_code == Exit.INVALID_PLAN
    assert "an action prints" not in result.stdout


def test_a_dry_run_calls_nothing(command: CommandLine) -> None:
    ran = command.json("run", command.plan, "-c", command.catalog, "-i", "airport=OSL", "--dry-run")

    assert ran["preview"]["order"] == ["city", "weather"]
    assert ran["preview"]["bindings"]["city"] == {"airport": "OSL"}
    assert ran["steps"] == {}


def test_a_typed_goal_is_planned_and_run_without_a_model(command: CommandLine) -> None:
    ran = command.json("run", "the weather", "-c", command.catalog, "-i", "airport=SEA", "--want", "forecast")

    assert ran["outputs"] == {"forecast": "rain in Seattle"}


def test_a_plan_that_was_saved_can_be_run(command: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "new" / "plan.json"

    command("plan", "the weather", "-c", command.catalog, "-i", "airport=SEA", "--want", "forecast", "--out", out)
    ran = command.json("run", out, "-c", command.catalog, "-i", "airport=SEA")

    assert ran["outputs"] == {"forecast": "rain in Seattle"}


def test_the_line_that_runs_a_saved_plan_can_be_pasted(command: CommandLine, tmp_path: Path) -> None:
    out, file = tmp_path / "my plan.json", command.file("the inputs.json", '{"x": 1}')
    given = ("--inputs", str(file), "-i", "airport=SEA TAC")

    result = command("plan", "w", "-c", command.catalog, *given, "--want", "forecast", "--out", out)
    line = result.stderr.partition("run it with: ")[2].splitlines()[0]

    assert shlex.split(line) == [
        *("goalgraph", "run", str(out), "--catalog", str(command.catalog)),
        *("--inputs", str(file), "--input", "airport=SEA TAC"),
    ]


def test_a_draft_that_is_only_planned_is_no_failure(command: CommandLine) -> None:
    result = command("plan", "forecast the weather of a city", "-c", command.catalog, "-i", "city=Oslo")

    assert (result.exit_code, "only a draft" in result.stderr) == (Exit.OK, True)


def test_what_plan_writes_run_reads(command: CommandLine) -> None:
    planned = command("plan", "w", "-c", command.catalog, "-i", "airport=SEA", "--want", "forecast", "--json")

    result = command("run", "-", "-c", command.catalog, "-i", "airport=SEA", stdin=planned.stdout)

    assert result.exit_code == Exit.OK


def test_a_plan_without_the_users_input_says_what_to_give(command: CommandLine) -> None:
    result = command("plan", "the weather", "-c", command.catalog, "--want", "forecast")

    assert result.exit_code == Exit.MISSING_INPUT
    assert "--input" in result.stderr


def test_a_want_that_nothing_gives_is_named(command: CommandLine) -> None:
    result = command("plan", "gold", "-c", command.catalog, "--want", "gold")

    assert result.exit_code == Exit.NO_PLAN
    assert "gold" in result.stderr


def test_without_a_model_words_give_a_draft_that_is_not_run(command: CommandLine) -> None:
    words = ("run", "forecast the weather of the city of an airport", "-c", command.catalog, "-i", "airport=OSL")

    result = command(*words)

    assert result.exit_code == Exit.NO_PLAN
    assert "only a draft" in result.stderr
    assert "--run-drafts" in result.stderr
    assert "an action prints" not in result.stdout


def test_a_draft_runs_when_it_is_asked_for(command: CommandLine) -> None:
    ran = command.json(
        "run", "forecast the weather of a city", "-c", command.catalog, "-i", "city=Oslo", "--run-drafts"
    )

    assert (ran["ok"], ran["draft"]) == (True, True)


@pytest.mark.parametrize(("form", "begins"), [("svg", "<svg"), ("mermaid", "flowchart")])
def test_a_plan_is_drawn_to_stdout_or_a_file(form: str, begins: str, command: CommandLine, tmp_path: Path) -> None:
    shown = command("draw", command.plan, "--format", form)
    command("draw", command.plan, "--format", form, "--out", tmp_path / "picture")

    assert begins in shown.stdout[:200]
    assert (tmp_path / "picture").read_text(encoding="utf-8").strip() == shown.stdout.strip()


def test_a_file_that_cannot_be_written_is_named(command: CommandLine) -> None:
    result = command("draw", command.plan, "--out", command.plan / "below-a-file")

    assert (result.exit_code, "cannot be written" in result.stderr) == (Exit.USAGE, True)


def test_the_catalog_is_listed(command: CommandLine) -> None:
    listed = command.json("catalog", "ls", "-c", command.catalog)

    assert [action["name"] for action in listed] == ["find_city", "forecast_weather", "hang"]
    assert "Find the city of an airport." in command("catalog", "ls", "-c", command.catalog).stderr


@pytest.mark.parametrize("name", ["forecast_weather", "action:forecast_weather@0.1.0"])
def test_an_action_is_shown(name: str, command: CommandLine) -> None:
    shown = command.json("catalog", "show", name, "-c", command.catalog)

    assert shown["inputs"] == [{"name": "city", "required": True, "schema": {"type": "string"}}]
    assert shown["rules"]["effect"] == "external"


def test_an_action_that_is_not_there_is_named_with_what_resembles_it(command: CommandLine) -> None:
    result = command("catalog", "show", "find_cities", "-c", command.catalog)

    assert (result.exit_code, "closest: find_city" in result.stderr) == (Exit.USAGE, True)


def test_of_an_action_the_versions_that_there_are_are_named(command: CommandLine) -> None:
    result = command("catalog", "show", "action:find_city@9", "-c", command.catalog)

    assert (result.exit_code, "there is action:find_city@0.1.0" in result.stderr) == (Exit.USAGE, True)


def test_the_catalog_is_searched(command: CommandLine) -> None:
    hits = command.json("catalog", "search", "forecast the weather", "-c", command.catalog)

    assert hits[0]["action"] == "action:forecast_weather@0.1.0"


def test_a_search_that_finds_nothing_says_so(command: CommandLine) -> None:
    result = command("catalog", "search", "zzz qqq", "-c", command.catalog)

    assert (result.exit_code, "nothing here fits" in result.stderr) == (Exit.OK, True)


def test_an_error_is_json_too_when_json_is_asked_for(command: CommandLine) -> None:
    assert command.json("run", "absent.json", "-c", command.catalog)["ok"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input", "airport"], "has no key"),
        (["--input", "=OSL"], "has no key"),
        (["--inputs", "absent.json"], "cannot be read"),
        (["--inputs", "words.txt"], "is not JSON"),
        (["--inputs", "list.json"], "holds no object"),
        (["--inputs", "nan.json"], "NaN is no JSON"),
    ],
)
def test_inputs_that_cannot_be_read_are_refused(arguments: list[str], words: str, command: CommandLine) -> None:
    command.file("words.txt", "words")
    command.file("list.json", "[1]")
    command.file("nan.json", '{"airport": NaN}')

    result = command("check", command.plan, "-c", command.catalog, *arguments)

    assert (result.exit_code, words in result.stderr) == (Exit.USAGE, True)


def test_an_input_on_the_command_line_goes_before_the_file(command: CommandLine) -> None:
    path = command.file("inputs.json", '{"airport": "SEA"}')

    ran = command.json("run", command.plan, "-c", command.catalog, "--inputs", path, "-i", "airport=OSL")

    assert ran["outputs"] == {"forecast": "rain in Oslo"}


def test_a_wrong_setting_is_named(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOALGRAPH_LIMITS__CONCURRENCY", "many")

    result = command("plan", "x", "-c", command.catalog, "--want", "forecast")

    assert (result.exit_code, "GOALGRAPH_LIMITS__CONCURRENCY" in result.stderr) == (Exit.USAGE, True)
