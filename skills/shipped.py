"""The planner's own instructions, which ship as skills and can be replaced by those of a user."""

from functools import lru_cache

from skills.loading import read_skill, shipped_files
from skills.registry import SkillRegistry
from skills.skill import Skill


def library() -> SkillRegistry:
    """Return the skills that ship, in a registry of their own."""
    return SkillRegistry(_shipped())


def instruction(registry: SkillRegistry, skill_id: str) -> str:
    """Return what a model is told under one of our ids: by `registry`, if a skill there is trusted, else as it ships.

    Raises:
        UnknownSkill: nothing ships under this id, and nobody gave it.
    """
    own = registry.get(skill_id)
    if own is not None and own.trusted:
        return own.instruction
    return library().require(skill_id).instruction


@lru_cache(maxsize=1)
def _shipped() -> tuple[Skill, ...]:
    return tuple(read_skill(file, trusted=True)[0] for file in shipped_files().values())
