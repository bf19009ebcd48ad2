"""The strict check: what the standard's own validator refuses is an error, what else is wrong a warning."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from os.path import lexists
from pathlib import Path
from urllib.parse import unquote

from skills import standard
from skills.errors import InvalidSkill
from skills.files import SKILL_FILES, OpenFolder, text_of
from skills.finding import skill_file, skill_files
from skills.front_matter import NO_BEGIN, NO_END, BadFrontMatter, parse, split
from skills.loading import LINK, UNREAD_LINK, NotMeant, read_skill
from skills.problems import Problem, quoted, shown
from skills.sections import Sections
from skills.skill import PREFIX, Skill

HINTS = frozenset({"domain", "flows", "modes", "preferred-keys", "preferred_keys", "tags", "title", "version"})
MOST_REFERENCES = 200
"""Of one skill; more are not looked for."""

_BOM = b"\xef\xbb\xbf"
_REFERENCE = re.compile(
    r"\]\((?P<link>[^)\s#?]+)|(?<![\w./-])(?P<path>(?:references|scripts|assets)/[\w./-]*\w)", re.ASCII
)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|/|<", re.IGNORECASE)


def check(path: Path | str, *, trusted: bool = False) -> list[Problem]:
    """Return what is wrong with a skill, or with each skill of a folder; nothing if all is well.

    A problem is an error exactly where `skills-ref` 0.1.1 finds the skill invalid, and for these:

    - what is not loaded: a file that is a link, is larger than 1 MB or has a NUL, front matter beyond our bounds or
      with its end `---` within a line, half a surrogate pair, a description that is `~`, `null` or made of control
      characters;
    - the keys `<<` and `=`, which mean something else to one YAML reader than to another.

    An aethergraph file (`id`, `title`) is against no standard, so its problems are warnings unless it cannot be used.

    Args:
        path: The folder of a skill, a folder of skills, a `SKILL.md`, or a file of aethergraph's form.
        trusted: Follow links, as loading does where skills are trusted.
    """
    given = Path(path)
    folder = given.parent if given.name in SKILL_FILES and given.is_file() else given
    if folder.is_file():
        problems = _single(folder, trusted=trusted)[1]
    elif not folder.is_dir():
        problems = [_error("there is no such file or folder", folder)]
    elif skill_file(folder) is not None:
        problems = _in_folder(folder, trusted=trusted)[1]
    else:
        problems = _several(folder, trusted=trusted)
    return list(dict.fromkeys(problems))


def _several(folder: Path, *, trusted: bool) -> list[Problem]:
    files, problems = skill_files(folder, trusted=trusted)
    first: dict[str, Path] = {}
    meant = False
    for file in files:
        try:
            if file.name in SKILL_FILES:
                skill, found = _in_folder(file.parent, trusted=trusted)
            else:
                skill, found = _single(file, trusted=trusted, among_others=True)
        except NotMeant:
            continue
        meant = True
        problems += found
        if skill is not None and first.setdefault(skill.id, file) != file:
            problems.append(
                Problem(message=f"{shown(first[skill.id])} has the id {skill.id!r} too, and counts", path=file)
            )
    return problems if meant else [*problems, _error("there is no SKILL.md in it", folder)]


def _single(file: Path, *, trusted: bool, among_others: bool = False) -> tuple[Skill | None, list[Problem]]:
    if not trusted and file.is_symlink():
        return None, [Problem(message=UNREAD_LINK, path=file, severity="warning" if among_others else "error")]
    try:
        skill, problems = read_skill(file, trusted=True)
    except NotMeant as error:
        if among_others:
            raise
        return None, [error.problem]
    except InvalidSkill as error:
        return None, [error.problem]
    return skill, [*problems, *_advice(skill)]


def _in_folder(folder: Path, *, trusted: bool) -> tuple[Skill | None, list[Problem]]:
    """Check one skill of the standard's form."""
    file = skill_file(folder) or folder / SKILL_FILES[0]
    try:
        with closing(OpenFolder(folder)) as here:
            content = here.read(file.name, links=trusted)
        text = text_of(content)
    except (OSError, ValueError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        unread_link = not trusted and file.is_symlink()
        return None, [_error(UNREAD_LINK if unread_link else f"it cannot be read: {reason}", file)]
    errors = [_error(message, file, line) for message, line in _against(content, text, folder)]
    try:
        skill, lenient = read_skill(file, trusted=True)
    except InvalidSkill as error:
        return None, errors or [error.problem]
    said = {error.message for error in errors}
    warnings = [problem for problem in lenient if problem.message not in said]
    if file.is_symlink():
        warnings.append(Problem(message=LINK, path=file))
    return skill, [*errors, *warnings, *_advice(skill)]


def _against(content: bytes, text: str, folder: Path) -> Iterator[standard.Finding]:
    """Yield what the standard's validator refuses."""
    if content.startswith(_BOM):
        yield "the file begins with a byte order mark; save it as UTF-8 without one", 1
        return
    parts = text.split("---", 2)  # as the validator does: also within a line
    if parts[0] or len(parts) < 3:
        yield NO_BEGIN if parts[0] or not text else NO_END, 1
        return
    try:
        front = parse(parts[1], 1, strict=True)
    except BadFrontMatter as error:
        yield str(error), error.line
        return
    yield from ((note.message, note.line) for note in front.notes)
    yield from standard.violations(front, (folder.resolve() if folder.name in {"", ".."} else folder).name)


# --------------------------------------------------------------------------------------------------------------- advice


def _advice(skill: Skill) -> list[Problem]:
    """Return what the validator does not look at."""
    found = [*_about_front_matter(skill), *_about_body(skill), *_about_examples(skill)]
    return [Problem(message=message, path=skill.path, line=line) for message, line in found]


def _about_front_matter(skill: Skill) -> Iterator[standard.Finding]:
    head = split(skill.raw_markdown or "")[0]
    lines = parse(head).lines
    for number, line in enumerate(head.split("\n"), start=2):
        if "---" in line:
            yield "--- within a line ends the front matter for the standard's validator", number
    for key, value in skill.metadata.items():
        hint = key.removeprefix(PREFIX)
        if hint == key:
            continue
        line = lines.get(("metadata", key))
        if hint not in HINTS:
            yield f"{quoted(key)} is no hint that the planner knows; they are: {', '.join(sorted(HINTS))}", line
        elif not value:
            yield f"{quoted(key)} says nothing", line


def _about_body(skill: Skill) -> Iterator[standard.Finding]:
    if not isinstance(skill.sections, Sections):
        return
    body, begin = skill.sections.markdown, skill.sections.first_line
    if (lines := body.strip().count("\n") + 1) > standard.MOST_LINES:
        yield f"the body has {lines} lines; beyond {standard.MOST_LINES}, move parts into files of their own", None
    if skill.folder is None:
        return
    for found in islice(_REFERENCE.finditer(body), MOST_REFERENCES):
        target = unquote(found["link"] or found["path"])
        if not _ELSEWHERE.match(target) and (".." in target or not lexists(skill.folder / target)):
            line = begin + body.count("\n", 0, found.start())
            yield f"the text refers to {quoted(target)}, which is not in the skill's folder", line


def _about_examples(skill: Skill) -> Iterator[standard.Finding]:
    for example in skill.examples:
        try:
            json.loads(example.text)
        except json.JSONDecodeError as error:
            line = None if example.line is None else example.line + error.lineno - 1
            yield f"the example is not JSON: {error.msg}", line
        except RecursionError:
            yield "the example is nested too deeply", example.line


def _error(message: str, path: Path, line: int | None = None) -> Problem:
    return Problem(message=message, path=path, line=line, severity="error")
