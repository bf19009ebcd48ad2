"""Skills by id, and where they come from."""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from skills.errors import DuplicateSkill, InvalidSkill, UnknownSkill
from skills.files import Identity, identity_of
from skills.finding import skill_files
from skills.loading import NotMeant, read_skill
from skills.problems import Problem, quoted, shown
from skills.skill import Skill

MOST_MEMORY = 100_000_000
"""Bytes that the texts of one folder may take; one character outside of Latin makes a text up to four times as long."""

_KINDS: dict[str, type] = {
    **dict.fromkeys(("id", "title", "description"), str),
    **dict.fromkeys(("tags", "modes"), Collection),
    **dict.fromkeys(("config", "metadata", "sections"), Mapping),
}


class SkillRegistry:
    """Skills by id, in the order in which they came.

    Args:
        skills: The first of them.

    Attributes:
        problems: What was wrong with the files that were loaded, in order; of a file that was loaded again, what is
            wrong now.
        version: Counts changes; what is computed from the skills is kept as long as it stays the same.
    """

    def __init__(self, skills: Iterable[Skill] = ()) -> None:
        self.problems: list[Problem] = []
        self.version = 0
        self._skills: dict[str, Skill] = {}
        for skill in skills:
            self.register(skill)

    def register(self, skill: Skill, *, overwrite: bool = False) -> None:
        """Add a skill. One that is trusted takes the place of one that is not, which is noted.

        Raises:
            InvalidSkill: one of its fields is not of its type, or its id is empty or has a `/`.
            DuplicateSkill: its id is taken, and it is not to take the place of the other.
        """
        if (wrong := _wrong(skill)) is not None:
            raise InvalidSkill(Problem(message=wrong, path=skill.path, severity="error"))
        first = self._skills.get(skill.id)
        if first is not None and not overwrite:
            if not _outranks(skill, first):
                raise DuplicateSkill(skill.id)
            message = f"it takes the place of the skill {skill.id!r} {_origin(first)}, which is not trusted"
            self.problems.append(Problem(message=message, path=skill.path))
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
        self._forget(skill.path)
        self.problems += problems
        self.register(skill, overwrite=overwrite)
        return skill

    def load_path(
        self,
        root: str | Path,
        *,
        pattern: str = "*.md",
        recursive: bool = True,
        overwrite: bool = False,
        trusted: bool = False,
    ) -> list[Skill]:
        """Read every skill below a folder and return those that were added; nothing that is wrong stops the others.

        Args:
            root: Folders in it with a `SKILL.md` are skills, and other Markdown files with an `id` in front.
            pattern: Which file names count.
            recursive: Look up to 6 folders deep, instead of at `root` and the folders in it.
            overwrite: Take the place of skills with the same id. Otherwise the first one counts, unless this one is
                trusted and that one is not.
            trusted: Whether their text is instruction to a model, and not only data.
        """
        root = Path(root)
        within = None if trusted else identity_of(root)
        files, problems = skill_files(root, pattern=pattern, recursive=recursive, trusted=trusted)
        self._forget(root, *files, *(problem.path for problem in problems))
        self.problems += problems
        added: list[Skill] = []
        taken = 0
        for file in files:
            if taken > MOST_MEMORY:
                message = f"its texts take over {MOST_MEMORY:,} bytes; {shown(file)} and what comes after are skipped"
                self.problems.append(Problem(message=message, path=root))
                break
            skill = self._read(file, overwrite=overwrite, trusted=trusted, within=within)
            if skill is not None:
                self.register(skill, overwrite=overwrite)
                added.append(skill)
                taken += sys.getsizeof(skill.raw_markdown)
        return added

    def _forget(self, *paths: Path | None) -> None:
        """Drop what was noted of files and folders that are looked at again."""
        again = {path for path in paths if path is not None}
        self.problems[:] = [problem for problem in self.problems if problem.path not in again]

    def _read(self, file: Path, *, overwrite: bool, trusted: bool, within: Identity | None) -> Skill | None:
        """Read a file; `None`, with the reason among the problems, if it is not added."""
        try:
            skill, problems = read_skill(file, trusted=trusted, within=within)
        except NotMeant:
            return None
        except InvalidSkill as error:
            problem = error.problem
            self.problems.append(replace(problem, message=f"skipped: {problem.message}", severity="warning"))
            return None
        self.problems += problems
        first = self._skills.get(skill.id)
        if first is None or overwrite or _outranks(skill, first):
            return skill
        message = f"skipped: there is a skill {skill.id!r} already, {_origin(first)}; the first one counts"
        self.problems.append(Problem(message=message, path=file))
        return None

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

    def all(self) -> list[Skill]:
        """Return every skill."""
        return list(self._skills.values())

    def ids(self) -> list[str]:
        """Return every id, sorted."""
        return sorted(self._skills)

    def section(self, skill_id: str, section_key: str, default: str = "") -> str:
        """Return the text of a section; `default` if there is no such skill or section."""
        skill = self.get(skill_id)
        return default if skill is None else skill.section(section_key, default)

    def compile_prompt(
        self,
        skill_id: str,
        *section_keys: str,
        separator: str = "\n\n",
        fallback_keys: Iterable[str] | None = None,
    ) -> str:
        """Join sections of a skill to one text; see `Skill.compile_prompt`.

        Raises:
            UnknownSkill: there is none of this id.
        """
        skill = self.require(skill_id)
        return skill.compile_prompt(*section_keys, separator=separator, fallback_keys=fallback_keys)

    def find(
        self,
        *,
        tag: str | None = None,
        domain: str | None = None,
        mode: str | None = None,
        predicate: Callable[[Skill], object] | None = None,
    ) -> list[Skill]:
        """Return the skills for which all that is given holds.

        Args:
            tag: It is one of theirs.
            domain: It is theirs.
            mode: It is one of theirs; a skill without modes is not found by one.
            predicate: It returns something true.
        """
        return [
            skill
            for skill in self._skills.values()
            if (not tag or tag in skill.tags)
            and (not domain or skill.domain == domain)
            and (not mode or mode in skill.modes)
            and (predicate is None or predicate(skill))
        ]

    def describe(self) -> list[dict[str, Any]]:
        """Return what there is to know of each skill without its text, as plain values."""
        return [
            {
                "id": skill.id,
                "title": skill.title,
                "description": skill.description,
                "tags": list(skill.tags),
                "domain": skill.domain,
                "modes": list(skill.modes),
                "version": skill.version,
                "path": None if skill.path is None else str(skill.path),
                "sections": sorted(skill.sections),
                "trusted": skill.trusted,
                "flows": skill.flows,
            }
            for skill in self._skills.values()
        ]


def _outranks(skill: Skill, other: Skill) -> bool:
    return skill.trusted and not other.trusted


def _origin(skill: Skill) -> str:
    return "made in code" if skill.path is None else f"from {shown(skill.path)}"


def _wrong(skill: Skill) -> str | None:
    """Return what keeps a skill that was made in code from being used; types are not checked when it is made."""
    for name, kind in _KINDS.items():
        if not isinstance(value := getattr(skill, name), kind):
            return f"`{name}` of a skill cannot be {quoted(repr(value))}"
    if not skill.id.strip() or "/" in skill.id:
        return f"`id` of a skill has to be a text without /, not {quoted(skill.id)}"
    return None
