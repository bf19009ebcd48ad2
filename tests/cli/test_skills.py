"""`goalgraph skills`, and skills given to the other commands."""

import json
import logging
from pathlib import Path

import pytest

from tests.cli.test_terminal import EVIL, dangerous
from tests.support.command_line import CommandLine

TRAVEL = """---
name: travel
description: Plans what one has to know before a flight. Use it for anything about airports.
license: MIT
metadata:
  planner.flows: air, rail
  planner.preferred-keys: airport
allowed-tools: Bash(git:*) Read
---
Find the city first.

## planning.examples

```json
{"goal": "the weather at an airport", "steps": [{"id": "a", "action": "find_city", "inputs": {"airport": "OSL"}}]}
```
"""
WRONG = TRAVEL.replace("find_city", "find_citty").replace("name: travel", "name: wrong")


@pytest.fixture
def folder(command: CommandLine) -> Path:
    """A project's skills, where they are looked for by default: one that is good, one without front matter."""
    root = command.folder / ".agents" / "skills"
    (root / "travel" / "references").mkdir(parents=True)
    (root / "travel" / "SKILL.md").write_text(TRAVEL)
    (root / "travel" / "references" / "airports.md").write_text("OSL is Oslo.\n")
    (root / "broken").mkdir()
    (root / "broken" / "SKILL.md").write_text("no front matter\n")
    return root


def test_skills_of_a_project_are_listed_as_data_and_what_is_wrong_with_its_place(
    command: CommandLine, folder: Path
) -> None:
    listed = command.json("skills", "ls")

    assert [(one["id"], one["standing"], one["flows"]) for one in listed["skills"]] == [
        ("travel", "data", ["air", "rail"])
    ]
    assert [(Path(one["path"]).parent.name, one["line"]) for one in listed["problems"]] == [("broken", 1)]
    assert "broken/SKILL.md:1: skipped" in command("skills", "ls").stderr


def test_skills_of_trusted_folders_are_instructions(
    command: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOALGRAPH_TRUSTED_SKILLS", str(folder))

    assert [one["standing"] for one in command.json("skills", "ls")["skills"]] == ["trusted"]
    assert "instruction (trusted)" in command("skills", "show", "travel").stderr


def test_what_ships_is_listed_with_what_took_its_place(
    command: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = folder / "planning-rules"
    own.mkdir()
    (own / "SKILL.md").write_text("---\nname: planning-rules\ndescription: Mine.\n---\nPlan little.\n")

    def standing() -> set[str]:
        found = command.json("skills", "ls", "--all")["skills"]
        return {one["standing"] for one in found if one["id"] == "planning-rules"}

    assert standing() == {"data", "shipped"}
    monkeypatch.setenv("GOALGRAPH_TRUSTED_SKILLS", str(folder))
    assert standing() == {"trusted", "shipped, replaced"}


def test_folders_can_be_named(command: CommandLine, folder: Path) -> None:
    assert [one["id"] for one in command.json("skills", "ls", folder)["skills"]] == ["travel"]
    missing = command("skills", "ls", "nowhere")
    assert (missing.exit_code, "no folder of skills at nowhere" in missing.stderr) == (2, True)


def test_where_there_are_none_it_says_how_to_begin(command: CommandLine) -> None:
    assert "a skill is a folder with a SKILL.md" in command("skills", "ls").stderr
    assert command("skills", "check").exit_code == 2


def test_a_skill_is_shown_with_sections_and_files(command: CommandLine, folder: Path) -> None:
    shown, told = command("skills", "show", "travel").stderr, command.json("skills", "show", "travel")

    for words in ("data to the model (not trusted)", "air, rail", "§ planning.examples", "▪ references/airports.md"):
        assert words in shown
    assert (told["files"], told["license"]) == (["references/airports.md"], "MIT")
    assert list(told["sections"]) == ["body", "planning.examples"]
    assert told["preferred_keys"] == ["airport"]


def test_a_section_and_a_file_are_given_when_asked(command: CommandLine, folder: Path) -> None:
    section = command("skills", "show", "travel", "--section", "body")
    file = command("skills", "show", "travel", "--file", "references/airports.md")

    assert section.stdout == "Find the city first.\n"
    assert file.stdout.startswith("OSL is Oslo.\n")
    assert command.json("skills", "show", "travel", "--section", "body")["text"] == "Find the city first."


def test_a_section_is_found_by_its_heading(command: CommandLine, folder: Path) -> None:
    (folder / "travel" / "SKILL.md").write_text(f"{TRAVEL}\n## Quick Start\n\nGo.\n")

    assert command("skills", "show", "travel", "--section", "Quick Start").stdout == "Go.\n"
    assert command.json("skills", "show", "travel", "--section", " Quick start")["section"] == "quick_start"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("travl",), "closest: travel"),
        (("zzzzz",), "--skills DIR names another folder"),
        (("travel", "--section", "bodi"), "it has body, planning.examples"),
        (("travel", "--file", "../broken/SKILL.md"), "is not in the folder of the skill"),
        (("travel", "--file", "/etc/passwd"), "is not in the folder of the skill"),
        (("travel", "--section", "body", "--file", "x"), "give one of them"),
        (("travel", "--skills", "nowhere"), "no folder of skills at nowhere"),
    ],
    ids=["id", "other id", "section", "above", "absolute", "both", "folder"],
)
def test_what_is_not_there_is_wrong_usage(
    command: CommandLine, folder: Path, asked: tuple[str, ...], said: str
) -> None:
    refused = command("skills", "show", *asked)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert said in refused.stderr


def test_check_fails_on_errors_and_names_the_line(command: CommandLine, folder: Path) -> None:
    both, good = command("skills", "check"), command("skills", "check", folder / "travel")

    assert (both.exit_code, good.exit_code) == (1, 0)
    assert "broken/SKILL.md:1: " in both.stderr
    assert "nothing is wrong" in good.stderr
    told = json.loads(command("skills", "check", "--json").stdout)
    assert (told["ok"], [one["severity"] for one in told["problems"]]) == (False, ["error"])


def test_check_follows_links_only_in_trusted_folders(
    command: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "broken" / "SKILL.md").unlink()
    (folder / "broken" / "SKILL.md").symlink_to(command.file("other.md", TRAVEL.replace("travel", "broken")))

    assert "it is a link" in command("skills", "check").stderr
    assert command("skills", "check").exit_code == 1
    monkeypatch.setenv("GOALGRAPH_TRUSTED_SKILLS", str(folder))
    monkeypatch.setenv("GOALGRAPH_SKILLS", "")
    assert command("skills", "check").exit_code == 0


def test_check_holds_worked_examples_against_a_catalog(
    command: CommandLine, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "wrong").mkdir()
    (folder / "wrong" / "SKILL.md").write_text(WRONG)

    good = command("skills", "check", folder / "travel", "-c", command.catalog)
    with caplog.at_level(logging.WARNING):
        wrong = command("skills", "check", folder / "wrong", "-c", command.catalog)

    assert (good.exit_code, command("skills", "check", folder / "wrong").exit_code) == (0, 0)
    assert (wrong.exit_code, wrong.stderr.count("unknown action 'find_citty'")) == (1, 1)
    assert "closest: find_city" in wrong.stderr
    assert caplog.text == ""


def test_other_commands_take_a_folder_and_show_what_is_wrong_there(command: CommandLine, folder: Path) -> None:
    named = command("plan", "find the city of an airport", "-c", command.catalog, "--skills", folder)
    missing = command("plan", "find the city", "-c", command.catalog, "--skills", "nowhere")

    assert "broken/SKILL.md:1: skipped" in named.stderr
    assert (missing.exit_code, "no folder of skills at" in missing.stderr) == (2, True)


def test_many_problems_are_counted_by_commands_that_are_about_something_else(
    command: CommandLine, folder: Path
) -> None:
    for number in range(9):
        (folder / f"broken{number}").mkdir()
        (folder / f"broken{number}" / "SKILL.md").write_text("no front matter\n")

    said = command("run", command.plan, "-c", command.catalog, "-i", "airport=OSL").stderr

    assert said.count("skipped") == 5
    assert "and 5 more problems with skills" in said


def test_no_skill_reaches_the_terminal(command: CommandLine, folder: Path) -> None:
    evil = folder / "evil"
    evil.mkdir()
    text = EVIL.replace("\r", "")
    (evil / "SKILL.md").write_text(f'---\nname: evil\ndescription: "{text}"\nx: "{text}"\n---\n{text}\n')
    (folder / "evil2").mkdir()
    (folder / "evil2" / "SKILL.md").write_text(f"---\nname: [{text}\n---\n")

    asked = [("ls",), ("check",), ("show", "evil"), ("show", text), ("show", "evil", "--section", text)]
    shown = [command("skills", *one) for one in asked] + [command("plan", "x", "-c", command.catalog)]
    told = [command("skills", *one, "--json") for one in asked[:2]]

    assert dangerous("".join(one.stderr for one in shown) + "".join(one.stdout for one in told)) == set()
    assert all(json.loads(one.stdout) for one in told)
