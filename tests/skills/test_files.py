"""The files of a skill are given when asked for, and never anything outside its folder."""

import os
from pathlib import Path

import pytest

from skills import Skill, SkillFileRefused, SkillRegistry
from tests.support.skill_folders import SINGLE, write_skill


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_skill(tmp_path / "root")
    write_skill(folder, "references", "Forms.\r\n", "forms.md")
    write_skill(folder, "scripts", "print()\n", "fill.py")
    write_skill(folder, ".git", "secret", "config")
    write_skill(folder, "", b"\xff\xfe\0", "picture.png")
    (tmp_path / "secret.txt").write_text("secret")
    write_skill(tmp_path, "elsewhere", "secret", "secret.txt")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "away").symlink_to(tmp_path / "elsewhere")
    (folder / "in.txt").symlink_to(folder / "scripts" / "fill.py")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture
def pdf(folder: Path) -> Skill:
    return SkillRegistry().load_file(folder)


def test_files_are_listed_by_their_paths_below_the_folder(pdf: Skill) -> None:
    assert pdf.files() == ["picture.png", "references/forms.md", "scripts/fill.py"]


def test_the_list_has_a_bound(pdf: Skill, folder: Path) -> None:
    for number in range(1_010):
        (folder / "references" / f"{number}.md").touch()

    assert len(pdf.files()) == 1_000


def test_a_file_is_read_as_text(pdf: Skill) -> None:
    assert pdf.read("references/forms.md") == "Forms.\n"
    assert pdf.read("./scripts/fill.py") == "print()\n"


@pytest.mark.parametrize(
    ("relative", "reason"),
    [
        ("../../secret.txt", r"without \.\."),
        ("references/../../../secret.txt", r"without \.\."),
        ("/etc/passwd", "relative to it"),
        pytest.param("references/\0forms.md", "not in the folder", id="nul"),
        ("out.txt", "is a link"),
        ("in.txt", "is a link"),
        ("away/secret.txt", "not given"),
        ("pipe", "no regular file"),
        ("references", "no regular file"),
        ("references/", "no file that a skill gives"),
        ("scripts/fill.py/more", "not given"),
        (".git/config", "no file that a skill gives"),
        ("", "no file that a skill gives"),
        (".", "no file that a skill gives"),
        ("missing.md", r"has no file 'missing\.md'"),
        ("picture.png", "not text"),
        pytest.param("a" * 5_000, "not given", id="long"),
        pytest.param("\ud800.md", "not given", id="half a character"),
    ],
)
def test_what_is_not_the_skills_to_give_is_refused(pdf: Skill, relative: str, reason: str) -> None:
    with pytest.raises(SkillFileRefused, match=reason):
        pdf.read(relative)


def test_a_large_file_is_refused(pdf: Skill, folder: Path) -> None:
    (folder / "large.txt").write_bytes(b"x" * 1_000_001)
    (folder / "whole.txt").write_bytes(b"x" * 1_000_000)

    assert len(pdf.read("whole.txt")) == 1_000_000
    with pytest.raises(SkillFileRefused, match="larger than 1 MB"):
        pdf.read("large.txt")


def test_a_skill_without_a_folder_has_no_files(tmp_path: Path) -> None:
    single = SkillRegistry().load_file(write_skill(tmp_path, "", SINGLE, "mail.md") / "mail.md")

    for skill in (single, Skill(id="inline", title="Inline")):
        assert skill.files() == []
        with pytest.raises(SkillFileRefused, match="has no folder"):
            skill.read("mail.md")


def test_a_skill_whose_folder_is_gone_has_no_files(pdf: Skill, folder: Path) -> None:
    folder.rename(folder.with_name("moved"))

    assert pdf.files() == []
    with pytest.raises(SkillFileRefused):
        pdf.read("references/forms.md")
