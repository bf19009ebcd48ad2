"""Skills by id, and where they come from."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from skills.errors import DuplicateSkill, UnknownSkill
from skills.loading import read_skill, skill_files
from skills.problems import Problem
from skills.skill import Skill


class SkillRegistry:
    """Skills by id, in the order in which they came.

    Args:
        skills: The first of them.

    Attributes:
        problems: What was wrong with the files that were loaded, in order.
        version: Counts changes; what is computed from the skills is kept as long as it stays the same.
    """

    def __init__(self, skills: Iterable[Skill] = ()) -> None:
        self.problems: list[Problem] = []
        self.version = 0
        self._skills: dict[str, Skill] = {}
        for skill in skills:
            self.register(skill)

    def register(self, skill: Skill, *, overwrite: bool = False) -> None:
        """Add a skill.

        Raises:
            DuplicateSkill: its id is taken, and it is not to take the place of the other.
        """
        if not overwrite and skill.id in self._skills:
            raise DuplicateSkill(skill.id)
        self._skills[skill.id] = skill
        self.version += 1

    def register_inline(  # noqa: PLR0913 - the seed's keywords
        self,
        *,
        id: str,  # noqa: A002 - the seed's name
        title: str,
        description: str = "",
        tags: list[str] | None = None,
        domain: str | None = None,
        modes: list[str] | None = None,
        version: str | None = None,
        config: dict[str, Any] | None = None,
        sections: dict[str, str] | None = None,
        overwrite: bool = False,
    ) -> Skill:
        """Make a skill in code, add it and return it; see `Skill` for the fields. Raises: as `register`."""
        skill = Skill(
            id=id,
            title=title,
            description=description,
            tags=list(tags or ()),
            domain=domain,
            modes=list(modes or ()),
            version=version,
            config=dict(config or {}),
            sections=dict(sections or {}),
        )
        self.register(skill, overwrite=overwrite)
        return skill

    def load_file(self, path: str | Path, *, overwrite: bool = False, trusted: bool = False) -> Skill:
        """Read one file, or the `SKILL.md` of a folder, add it and return it; what is not as it should be is noted.

        Args:
            path: The file or the folder.
            overwrite: Take the place of a skill with the same id.
            trusted: Whether its text is instruction to a model, and not only data.

        Raises:
            InvalidSkill: it cannot be used.
            DuplicateSkill: its id is taken.
        """
        skill, problems = read_skill(Path(path), trusted=trusted)
        self.problems += problems
        self.register(skill, overwrite=overwrite)
        return skill

    def __len__(self) -> int:
        return len(self._skills)

    def get(self, skill_id: str) -> Skill | None:
        """Return a skill, or `None`."""
        return self._skills.get(skill_id)

    def require(self, skill_id: str) -> Skill:
        """Return a skill.

        Raises:
            UnknownSkill: there is none of this id.
        """
        if skill_id not in self._skills:
            raise UnknownSkill(skill_id, self.ids())
        return self._skills[skill_id]

    def load_path(
        self,
        root: str | Path,
        *,
        pattern: str = "*.md",
        recursive: bool = True,
        overwrite: bool = False,
        trusted: bool = False,
    ) -> list[Skill]:
        """Read every skill below a folder and return those that were added; nothing that is wrong stops the others."""
        found: list[Skill] = []
        for file in skill_files(Path(root), pattern=pattern, recursive=recursive):
            found.append(self.load_file(file, overwrite=overwrite, trusted=trusted))
        return found

    def all(self) -> list[Skill]:
        """Return every skill."""
        return list(self._skills.values())

    def ids(self) -> list[str]:
        """Return every id, sorted."""
        return sorted(self._skills)
