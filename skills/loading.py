"""From files to skills: leniently, with everything that is wrong noted where it is."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from skills.errors import InvalidSkill
from skills.problems import Problem
from skills.skill import Skill


def read_skill(path: Path, *, trusted: bool = False) -> tuple[Skill, list[Problem]]:
    """Read one file, or the `SKILL.md` of a folder.

    Raises:
        InvalidSkill: it cannot be used.
    """
    file = path / "SKILL.md" if path.is_dir() else path
    text = file.read_text(encoding="utf-8")
    try:
        _, head, body = text.split("---", 2)
    except ValueError:
        raise InvalidSkill(f"{file}: there is no front matter") from None
    skill = Skill.from_dict(yaml.safe_load(head), {"body": body.strip()}, raw_markdown=text, path=file)
    skill.trusted = trusted
    return skill, []


def skill_files(root: Path, *, pattern: str, recursive: bool) -> Iterator[Path]:
    """Yield the files of a folder that are skills, in order."""
    yield from sorted(root.rglob(pattern) if recursive else root.glob(pattern))
