"""Agent Skills: folders with a `SKILL.md`, read, checked and offered to the planner."""

from pathlib import Path

from skills.checking import check
from skills.errors import DuplicateSkill, InvalidSkill, SkillError, SkillFileRefused, SkillFolderMissing, UnknownSkill
from skills.problems import Problem
from skills.registry import SkillRegistry
from skills.shipped import instruction, library
from skills.skill import ExampleText, Skill

__all__ = [
    "DuplicateSkill",
    "ExampleText",
    "InvalidSkill",
    "Problem",
    "Skill",
    "SkillError",
    "SkillFileRefused",
    "SkillFolderMissing",
    "SkillRegistry",
    "UnknownSkill",
    "check",
    "instruction",
    "library",
    "load",
]


def load(*folders: Path | str, trusted: bool = False) -> SkillRegistry:
    """Return the skills of some folders; what is wrong there is in `problems`, and stops nothing.

    Args:
        folders: Skills are folders in them with a `SKILL.md`, and aethergraph's single files. Of an id that is there
            twice, the first counts.
        trusted: Whether their text is instruction to a model. Otherwise it is data, and they replace nothing of ours.

    Raises:
        SkillFolderMissing: one of them is not there.
    """
    registry = SkillRegistry()
    for folder in folders:
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise SkillFolderMissing(f"there is no folder of skills at {root}")
        registry.load_path(root, trusted=trusted)
    return registry
