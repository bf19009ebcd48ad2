"""No link, pipe or other trick makes a skill of what is elsewhere, or stops the reading."""

import os
from pathlib import Path

import pytest

import skills
from skills import InvalidSkill, SkillRegistry
from tests.support.skill_folders import STANDARD, skill, write_skill


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return write_skill(tmp_path / "outside")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_a_skill_file_that_is_a_link_out_of_its_folder_is_read_only_if_trusted(root: Path, outside: Path) -> None:
    (root / "pdf").mkdir()
    (root / "pdf" / "SKILL.md").symlink_to(outside / "SKILL.md")

    loaded = skills.load(root)

    assert loaded.ids() == []
    assert "link that leads out" in loaded.problems[0].message
    with pytest.raises(InvalidSkill, match="link that leads out"):
        SkillRegistry().load_file(root / "pdf")
    assert skills.load(root, trusted=True).ids() == ["pdf"]


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
