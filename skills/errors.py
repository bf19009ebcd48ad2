"""What is raised about skills. A folder is read leniently: what is wrong in it becomes a `Problem` instead.

SkillError
├── InvalidSkill (ValueError)             a file cannot be used as a skill, nor can a `Skill` with odd fields
├── DuplicateSkill (ValueError)           the id is taken
├── UnknownSkill (KeyError)               there is no skill of this id
├── SkillFileRefused (ValueError)         a file of a skill is outside its folder, not there, or too large
└── SkillFolderMissing (FileNotFoundError)  there is no such folder
"""

from collections.abc import Sequence
from difflib import get_close_matches
from heapq import nlargest
from itertools import pairwise

from skills.problems import Problem

MOST_COMPARED = 20
"""Ids; of more, those that share most pairs of letters with what was asked for."""
LONGEST_COMPARED = 64
"""Characters; the standard's longest name."""


class SkillError(Exception):
    """Root of everything that is raised here on purpose."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # a KeyError in the bases would show the repr


class InvalidSkill(SkillError, ValueError):
    """What cannot be used as a skill; the message begins with the file and the line, where there are any."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class DuplicateSkill(SkillError, ValueError):
    """Another skill has this id."""

    def __init__(self, skill_id: str) -> None:
        super().__init__(f"there is a skill {skill_id!r} already; give this one another id, or overwrite=True")
        self.skill_id = skill_id


class UnknownSkill(SkillError, KeyError):
    """No skill has this id."""

    def __init__(self, skill_id: str, known: Sequence[str]) -> None:
        close = ", ".join(_closest(skill_id, known)) or "nothing similar"
        super().__init__(f"there is no skill {skill_id!r}; closest: {close}")
        self.skill_id = skill_id


class SkillFileRefused(SkillError, ValueError):
    """A file of a skill is not given; the message says why."""


class SkillFolderMissing(SkillError, FileNotFoundError):
    """There is no folder of skills here."""


def _closest(skill_id: str, known: Sequence[str]) -> list[str]:
    """Return up to three ids that resemble one; a model may ask for many that are not there, among thousands."""
    skill_id = skill_id[:LONGEST_COMPARED]
    if len(known) > MOST_COMPARED:
        pairs = set(pairwise(skill_id))
        known = nlargest(MOST_COMPARED, known, key=lambda other: len(pairs.intersection(pairwise(other))))
    return get_close_matches(skill_id, known, n=3, cutoff=0.5)
