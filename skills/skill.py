"""One skill: what it is for, its text by sections, its files, and what it says about planning."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from skills.errors import SkillFileRefused
from skills.files import SKILL_FILES, Identity, listed, read_below
from skills.sections import BODY, Sections, blocks
from skills.text import clean

INSTRUCTION = "planning.instruction"
EXAMPLES = "planning.examples"
PREFIX = "planner."
"""Of the standard's free `metadata`, what is meant for us: `planner.flows: travel, mail`."""
NAMED = frozenset({"id", "name", "title", "description", "tags", "domain", "modes", "version"})
LONGEST_SUMMARY = 1_024
"""Characters; the standard's longest description."""


@dataclass(frozen=True, slots=True)
class ExampleText:
    """One worked example as it is written."""

    text: str
    """JSON, if its author did as he should."""
    line: int | None = None
    """In the file, from 1, where `text` begins."""


@dataclass
class Skill:
    """A reusable instruction; the fields up to `path` are aethergraph's, those after it the standard's and ours."""

    id: str
    """The standard's `name`."""
    title: str
    description: str = ""
    """What it does, and when to use it."""
    tags: list[str] = field(default_factory=list[str])
    domain: str | None = None
    modes: list[str] = field(default_factory=list[str])
    """Where it may be used, such as `planning` or `chat`; none says everywhere."""
    version: str | None = None
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    """What else stands in the front matter."""
    sections: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Key → text, in the order of the file: `body`, then each level-2 heading."""
    raw_markdown: str | None = field(default=None, repr=False)
    path: Path | None = None
    """Its file."""
    license: str | None = None
    compatibility: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    allowed_tools: list[str] = field(default_factory=list[str])
    """The standard's `allowed-tools`. It is shown and nothing else: what may be called is up to the caller's roles."""
    trusted: bool = True
    """Whether its text is instruction to a model; else it is data, and it replaces nothing of ours."""
    folder_identity: Identity | None = field(default=None, repr=False, compare=False)
    """Its folder when it was loaded; its files are given from no other."""

    def section(self, key: str, default: str = "") -> str:
        """Return the text of a section."""
        return self.sections.get(key, default)

    def has_section(self, key: str) -> bool:
        """Tell whether there is such a section."""
        return key in self.sections

    def compile_prompt(
        self, *section_keys: str, separator: str = "\n\n", fallback_keys: Iterable[str] | None = None
    ) -> str:
        """Join sections to one text.

        Args:
            section_keys: In this order; those that are not there are left out.
            separator: Between two sections.
            fallback_keys: In place of `section_keys` when none are given; without any, `body` comes first and then all
                others by name.
        """
        keys = list(section_keys) or list(fallback_keys or ())
        if not keys:
            keys = sorted(self.sections, key=lambda key: (key != BODY, key))
        return separator.join(text for key in keys if (text := self.section(key))).strip()

    @classmethod
    def from_dict(
        cls,
        meta: Mapping[str, Any],
        sections: Mapping[str, str],
        *,
        raw_markdown: str | None = None,
        path: Path | None = None,
    ) -> "Skill":
        """Make a skill of front matter and sections; keys that are not known become `config`.

        Raises:
            ValueError: there is no id.
        """
        skill_id = str(meta.get("id") or meta.get("name") or "").strip()
        if not skill_id:
            raise ValueError("a skill needs an id: give `id`, or `name`")
        version: Any = meta.get("version")
        return cls(
            id=skill_id,
            title=str(meta.get("title") or skill_id).strip(),
            description=str(meta.get("description") or "").strip(),
            tags=words(meta.get("tags")),
            domain=None if meta.get("domain") is None else str(meta["domain"]),
            modes=words(meta.get("modes")),
            version=None if version is None else str(version),
            config={str(key): value for key, value in meta.items() if key not in NAMED},
            sections=sections,
            raw_markdown=raw_markdown,
            path=path,
        )

    # ------------------------------------------------------------------------------------------------- about planning

    @property
    def flows(self) -> list[str]:
        """The groups of actions that it is for: `flows`, or `planner.flows` in the metadata; none says all."""
        return self._listed("flows")

    @property
    def preferred_keys(self) -> list[str]:
        """The user's keys that a plan should rather bind: `preferred_keys`, or `planner.preferred-keys`."""
        return self._listed("preferred_keys", "preferred-keys")

    @property
    def summary(self) -> str:
        """What stands beside the id in a list of skills: the description, or the title; one line, of bounded length."""
        return " ".join(clean(self.description or self.title).split())[:LONGEST_SUMMARY]

    @property
    def instruction(self) -> str:
        """What a planner is told: the section `planning.instruction`, or all there is but the worked examples."""
        if self.has_section(INSTRUCTION):
            return self.section(INSTRUCTION)
        if isinstance(self.sections, Sections):
            return self.sections.without(EXAMPLES)  # with the headings, which its author may refer to
        rest = [key for key in self.sections if key != EXAMPLES]
        return self.compile_prompt(*rest) if rest else ""

    @property
    def examples(self) -> list[ExampleText]:
        """The blocks marked as `json` in the section `planning.examples`, not looked into; of its first 100 kB."""
        if isinstance(self.sections, Sections):
            return [ExampleText(one.text, one.line) for one in self.sections.blocks(EXAMPLES) if one.mark == "json"]
        return [ExampleText(one.text) for one in blocks(self.section(EXAMPLES)) if one.mark == "json"]

    # ------------------------------------------------------------------------------------------------------ its files

    @property
    def folder(self) -> Path | None:
        """The folder that is the skill; `None` for one that is a single file, or was made in code."""
        return self.path.parent if self.path is not None and self.path.name in SKILL_FILES else None

    def files(self) -> list[str]:
        """Return what else is in its folder, as relative paths with `/`, sorted.

        No links, nothing hidden, nothing more than 6 folders deep, and 1,000 at most.
        """
        return [] if self.folder is None else listed(self.folder, self.folder_identity)

    def read(self, relative: str) -> str:
        """Return the text of one of its files, of 1 MB at most.

        Args:
            relative: Its path below the folder of the skill, as in `files()`.

        Raises:
            SkillFileRefused: there is none that may be read, or the skill has no folder.
        """
        if self.folder is None:
            raise SkillFileRefused(f"the skill {self.id!r} has no folder, so it has no files")
        return read_below(self.folder, relative, self.folder_identity)

    # ---------------------------------------------------------------------------------------------------------- parts

    def _listed(self, *names: str) -> list[str]:
        found = [self.config[name] for name in names if name in self.config]
        found += [self.metadata[PREFIX + name] for name in names if PREFIX + name in self.metadata]
        return words(found[0]) if found else []


def words(value: Any) -> list[str]:
    """Read a list of words, also from one text with commas between them, or else spaces."""
    if value is None:
        return []
    if isinstance(value, str):
        value = value.split(",") if "," in value else value.split()
    several = cast("Iterable[Any]", value if isinstance(value, list | tuple | set) else [value])
    return [str(one).strip() for one in several if str(one).strip()]
