"""No link, pipe or other trick makes a skill of what is elsewhere, or stops the reading."""

import os
from pathlib import Path
from typing import Any

import pytest

import skills
from skills import InvalidSkill, Problem, SkillRegistry, registry
from skills.files import identity_of
from skills.finding import skill_files
from skills.loading import read_skill
from tests.support.skill_folders import STANDARD, skill, write_skill


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return write_skill(tmp_path / "outside")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.mark.parametrize("target", ["../../outside/pdf/SKILL.md", "real.md"])
def test_a_skill_file_that_is_a_link_is_read_only_if_trusted(root: Path, outside: Path, target: str) -> None:
    """Also within its folder: what a link leads to can change between a look at it and the reading."""
    write_skill(root, "pdf", STANDARD, "real.md")
    (root / "pdf" / "SKILL.md").symlink_to(target)

    loaded = skills.load(root)

    assert loaded.ids() == []
    assert "followed only where skills are trusted" in loaded.problems[0].message
    with pytest.raises(InvalidSkill, match="it is a link"):
        SkillRegistry().load_file(root / "pdf")
    assert skills.load(root, trusted=True).ids() == ["pdf"]


def test_a_folder_that_became_a_link_while_others_were_read_is_not_followed(root: Path, outside: Path) -> None:
    within = identity_of(root)
    (root / "pdf").symlink_to(outside)
    write_skill(root, "own", skill("name: own"))

    with pytest.raises(InvalidSkill, match="outside of the folder of skills"):
        read_skill(root / "pdf" / "SKILL.md", within=within)
    assert read_skill(root / "own" / "SKILL.md", within=within)[0].id == "own"


def test_a_folder_of_skills_that_changes_while_it_is_loaded_gives_nothing_of_others(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_skill(root)

    def found_and_replaced(*given: Any, **named: Any) -> tuple[list[Path], list[Problem]]:
        found = skill_files(*given, **named)
        folder.rename(root / ".old")
        folder.symlink_to(outside)
        return found

    monkeypatch.setattr(registry, "skill_files", found_and_replaced)

    assert skills.load(root).ids() == []


def test_a_folder_that_is_a_link_out_is_followed_only_if_trusted(root: Path, outside: Path) -> None:
    (root / "pdf").symlink_to(outside)

    loaded = skills.load(root)

    assert loaded.ids() == []
    assert "not followed" in loaded.problems[0].message
    assert skills.load(root, trusted=True).ids() == ["pdf"]


def test_links_within_the_folder_are_followed_once(root: Path) -> None:
    write_skill(root / "z", content=STANDARD)
    (root / "a").symlink_to(root / "z")
    (root / "z" / "round").symlink_to(root)
    (root / "self.md").symlink_to(root / "self.md")

    loaded = skills.load(root)

    assert [skill.path for skill in loaded.all()] == [root / "z" / "pdf" / "SKILL.md"]
    assert [problem.path for problem in loaded.problems] == [root / "self.md"]


def test_a_folder_of_skills_may_itself_be_a_link(root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside.parent)

    assert skills.load(root / "link").ids() == ["pdf"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "broken link", "not readable"])
def test_a_skill_file_that_is_no_file_is_skipped(root: Path, kind: str) -> None:
    write_skill(root, "good", skill("name: good"))
    file = root / "bad" / "SKILL.md"
    file.parent.mkdir()
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "broken link":
            file.symlink_to(root / "nothing")
        case _:
            file.symlink_to("/proc/self/mem")

    loaded = skills.load(root)

    assert loaded.ids() == ["good"]
    assert len(loaded.problems) == 1
