"""The files of a skill are given when asked for, and never anything outside its folder."""

import os
from pathlib import Path
from typing import Any

import pytest

from skills import Skill, SkillFileRefused, SkillRegistry, files
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
        ("SKILL.md", "is the skill itself"),
        ("./skill.MD", "is the skill itself"),
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


def test_a_folder_that_took_the_place_of_the_skills_gives_nothing(pdf: Skill, folder: Path, tmp_path: Path) -> None:
    """Whoever may write to a project may replace a folder by a link to one that is not the project's."""
    folder.rename(folder.with_name("moved"))
    write_skill(tmp_path / "private", "references", "secret", "forms.md")
    folder.symlink_to(tmp_path / "private")

    assert pdf.files() == []
    with pytest.raises(SkillFileRefused, match="load the skill again"):
        pdf.read("references/forms.md")

    folder.unlink()
    folder.with_name("moved").rename(folder)
    assert pdf.read("references/forms.md") == "Forms.\n"


def test_a_folder_within_that_became_a_link_is_not_listed(
    pdf: Skill, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and the way into it."""
    opened = os.open

    def open_later(path: Any, *given: Any, **named: Any) -> int:
        if path == "references":
            (folder / path).rename(folder / ".old")
            (folder / path).symlink_to(tmp_path / "elsewhere")
        return opened(path, *given, **named)

    monkeypatch.setattr(os, "open", open_later)

    assert pdf.files() == ["picture.png", "scripts/fill.py"]


def test_listing_looks_at_a_bounded_number_of_folders(
    pdf: Skill, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (folder / f"empty{number}" / "empty").mkdir(parents=True)
    monkeypatch.setattr(files, "MOST_LOOKED_AT", 60)
    whole = pdf.files()
    monkeypatch.setattr(files, "MOST_LOOKED_AT", 30)

    assert whole == ["picture.png", "references/forms.md", "scripts/fill.py"]
    assert len(pdf.files()) < len(whole)
