"""From files to skills: leniently, with everything that is wrong noted where it is."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from skills import standard
from skills.errors import InvalidSkill
from skills.files import SKILL_FILES, Identity, OpenFolder, text_of
from skills.finding import skill_file
from skills.front_matter import BadFrontMatter, FrontMatter, Node, Scalar, parse, plain, split
from skills.problems import Problem, quoted
from skills.sections import MOST_PARSED, Sections
from skills.skill import EXAMPLES, NAMED, PREFIX, Skill, words
from skills.text import clean

LIBRARY = Path(__file__).with_name("library")
LONGEST_ID = 256
LINK = "it is a link, which is followed only where skills are trusted"
UNREAD_LINK = f"it cannot be read: {LINK}"
EXAMPLE_FORM = """\
```json {"goal": "…", "steps": [{"id": "a", "action": "…", "inputs": {}}]} ``` (on lines of their own)"""
MOST_PROBLEMS = 50
"""Of one file."""

_TOOL = re.compile(r"[^\s,(]+(?:\([^)]{0,200}\))?")  # `Bash(git add:*)` is one, in spite of its space


class NotMeant(InvalidSkill):
    """A Markdown file that does not look like a skill, so nobody needs to hear of it."""


@lru_cache(maxsize=1)
def shipped_files() -> Mapping[str, Path]:
    """Return the files of the skills that ship, by id, sorted."""
    return {file.parent.name: file for file in sorted(LIBRARY.glob("*/SKILL.md"))}


def read_skill(path: Path, *, trusted: bool = False, within: Identity | None = None) -> tuple[Skill, list[Problem]]:
    """Read one file, or the `SKILL.md` of a folder.

    A `SKILL.md` is of the standard's form, unless it has an `id` and no `name`; other files are of aethergraph's.

    Args:
        path: The file or the folder.
        trusted: Whether its text is instruction to a model; only then may it be a link.
        within: The folder in or below which its folder has to be, when it is opened.

    Raises:
        InvalidSkill: it cannot be used.
    """
    file = (skill_file(path) or path / SKILL_FILES[0]) if path.is_dir() else path
    text, folder = _opened(file, trusted=trusted, within=within)
    try:
        head, body, body_line = split(text)
        front = parse(head)
    except BadFrontMatter as error:
        kind = InvalidSkill if file.name in SKILL_FILES or text.startswith("---") else NotMeant
        raise kind(Problem(message=str(error), path=file, line=error.line, severity="error")) from None
    reading = _Reading(file, front)
    for note in front.notes:
        if note.lenient:
            reading.note(note.message, note.line)
    skill = reading.standard() if _standard(file, front) else reading.single()
    skill.sections = Sections(text, body_line, len(text) - len(body))
    reading.look_for_examples(skill.sections)
    skill.raw_markdown = text
    skill.path = file
    skill.folder_identity = folder
    skill.trusted = trusted
    if not trusted and skill.id in shipped_files():
        reading.note(f"it does not replace our {skill.id!r}, because what is in this folder is not trusted", None)
    return skill, reading.problems


def _standard(file: Path, front: FrontMatter) -> bool:
    return file.name in SKILL_FILES and ("name" in front.fields or "id" not in front.fields)


def _opened(file: Path, *, trusted: bool, within: Identity | None) -> tuple[str, Identity]:
    """Return the text of a file, and which folder it was in; all that is asked is asked of what is open already."""
    reason: object = "its folder is outside of the folder of skills"
    try:
        with closing(OpenFolder(file.parent)) as folder:
            if within is None or folder.is_below(within):
                return text_of(folder.read(file.name, links=trusted)), folder.identity
    except OSError as error:
        reason = LINK if not trusted and file.is_symlink() else error.strerror or error
    except ValueError as error:
        reason = error
    raise InvalidSkill(Problem(message=f"it cannot be read: {reason}", path=file, severity="error"))


@dataclass(slots=True)
class _Reading:
    """One file's front matter on its way to a skill."""

    file: Path
    front: FrontMatter
    problems: list[Problem] = field(default_factory=list[Problem])

    def note(self, message: str, line: int | None) -> None:
        if len(self.problems) == MOST_PROBLEMS:
            message, line = "there is more that is wrong, which is not listed", None
        problem = Problem(message=message, path=self.file, line=line)
        if len(self.problems) <= MOST_PROBLEMS and problem not in self.problems:
            self.problems.append(problem)

    def look_for_examples(self, sections: Sections) -> None:
        """Note where worked examples stand so that they are not read."""
        if EXAMPLES not in sections.markdown or EXAMPLES not in sections:
            return
        found, heading = sections.blocks(EXAMPLES), sections.line(EXAMPLES)
        if (size := len(sections[EXAMPLES])) > MOST_PARSED:
            message = f"the section {EXAMPLES} has {size:,} characters; no example behind {MOST_PARSED:,} is read"
            self.note(message, heading)
        if not any(one.mark == "json" for one in found):
            what = "no block that is marked as json" if not found else "blocks, but none that is marked as json"
            message = f"the section {EXAMPLES} has {what}; a worked example is written {EXAMPLE_FORM}"
            self.note(message, found[0].line - 1 if found else heading)

    def standard(self) -> Skill:
        """Read the standard's form.

        Raises:
            InvalidSkill: there is no description, by which a model could choose it, or nothing that could be its id.
        """
        folder = self.file.absolute().parent.name
        if not (description := self._text("description", silent=True)):
            message = "it has no `description`, so it cannot be chosen; say what it does and when to use it"
            raise self._invalid(message, "description")
        for message, line in standard.violations(self.front, folder):
            self.note(message, line)
        own = self._metadata()
        hints = {key: value for key, value in own.items() if key.startswith(PREFIX)}
        name = self._id("name") or folder
        if not (name and name.isprintable()):
            raise self._invalid("neither `name` nor the folder's name can be an id", "name")
        return Skill(
            id=name,
            title=hints.get(PREFIX + "title") or self._text("title") or name,
            description=description,
            tags=words(hints.get(PREFIX + "tags")) or self._texts("tags"),
            domain=hints.get(PREFIX + "domain") or self._text("domain"),
            modes=words(hints.get(PREFIX + "modes")) or self._texts("modes"),
            version=own.get("version") or hints.get(PREFIX + "version") or self._text("version"),
            config=self._config(standard.FIELDS | (NAMED - {"id"})),
            license=self._text("license"),
            compatibility=self._text("compatibility", silent=True),
            metadata=own,
            allowed_tools=self._tools(),
        )

    def single(self) -> Skill:
        """Read aethergraph's form.

        Raises:
            InvalidSkill: it has no id that could be used.
        """
        if "id" not in self.front.fields:
            raise self._invalid("it has no `id`, and it is no SKILL.md in a folder of its own", "id")
        skill_id = self._id("id")
        if skill_id is None:
            message = f"`id` has to be a text on one line of at most {LONGEST_ID} characters, without /"
            raise self._invalid(message, "id")
        title = self._text("title")
        description = self._text("description")
        if title is None:
            self.note("it has no `title`, so its id takes the place", None)
        if description is None:
            self.note("it has no `description`, so its title stands in the list of skills", None)
        return Skill(
            id=skill_id,
            title=title or skill_id,
            description=description or "",
            tags=self._texts("tags"),
            domain=self._text("domain"),
            modes=self._texts("modes"),
            version=self._text("version"),
            config=self._config(NAMED),
        )

    def _id(self, key: str) -> str | None:
        node = self.front.fields.get(key)
        text = node.text.strip() if isinstance(node, Scalar) else ""
        # Files are asked for as `id/path`, so an id with / could stand for a file of another skill.
        return text if 0 < len(text) <= LONGEST_ID and text.isprintable() and "/" not in text else None

    def _text(self, key: str, *, silent: bool = False) -> str | None:
        match self.front.fields.get(key):
            case Scalar() as node:
                return None if node.value is None else clean(node.text) or None
            case None:
                return None
            case _:
                if not silent:
                    self._wrong(key, "has to be text")
                return None

    def _texts(self, key: str) -> list[str]:
        match self.front.fields.get(key):
            case Scalar() as node:
                return [] if node.value is None else words(clean(node.text))
            case list() as nodes if all(isinstance(node, Scalar) for node in nodes):
                return words([clean(node.text) for node in _scalars(nodes)])
            case None:
                return []
            case _:
                self._wrong(key, "has to be a list of words")
                return []

    def _metadata(self) -> dict[str, str]:
        node = self.front.fields.get("metadata", {})
        if not isinstance(node, dict):
            if not (isinstance(node, Scalar) and node.value is None):
                self._wrong("metadata", "has to be lines `key: text`")
            return {}
        found: dict[str, str] = {}
        for key, value in node.items():
            match value:
                case Scalar(text=text):
                    found[key] = clean(text)
                case list() if all(isinstance(one, Scalar) for one in value):
                    found[key] = ", ".join(clean(one.text) for one in _scalars(value))
                    self._wrong(key, "has to be text, so its parts are joined with commas", "metadata")
                case _:
                    self._wrong(key, "has to be text, so it is left out", "metadata")
        return found

    def _tools(self) -> list[str]:
        match self.front.fields.get("allowed-tools"):
            case Scalar(text=text):
                return _TOOL.findall(clean(text))
            case None:
                return []
            case _:
                self._wrong("allowed-tools", "has to be one text with spaces between the tools")
                return self._texts("allowed-tools")

    def _config(self, known: frozenset[str]) -> dict[str, Any]:
        return {key: plain(node) for key, node in self.front.fields.items() if key not in known}

    def _wrong(self, key: str, what: str, *above: str) -> None:
        self.note(f"{quoted('.'.join((*above, key)))} {what}", self.front.lines.get((*above, key)))

    def _invalid(self, message: str, key: str) -> InvalidSkill:
        line = self.front.lines.get((key,))
        return InvalidSkill(Problem(message=message, path=self.file, line=line, severity="error"))


def _scalars(nodes: Sequence[Node]) -> list[Scalar]:
    return [node for node in nodes if isinstance(node, Scalar)]
