"""The files of a skill: read whole, small, regular, and never outside its folder."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from skills.errors import SkillFileRefused
from skills.problems import quoted

MOST_BYTES = 1_000_000
"""Of one file."""
MOST_FILES = 1_000
"""Of one skill; more are not listed."""
MOST_ENTRIES = 10_000
"""Of one folder; more are not looked at."""
NOT_REGULAR = "it is no regular file"
DEEPEST = 6
"""Folders below a folder of skills, or below a skill."""
IGNORED = frozenset({"node_modules", "__pycache__"})
"""Folders in which nobody keeps skills; nor do they in hidden ones."""
SKILL_FILES = ("SKILL.md", "skill.md")
"""The file that makes a folder a skill; the second is what some write, which the standard's validator takes too."""


def hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is not for reading."""
    return name.startswith(".") or name in IGNORED


def listed(folder: Path) -> list[str]:
    """Return the files in a skill's folder, relative with `/`, sorted: no links, nothing hidden, at most 1,000."""
    others = (relative for relative in _below(folder, "", 0) if relative not in SKILL_FILES)
    return sorted(islice(others, MOST_FILES))


def read_below(folder: Path, relative: str) -> str:
    """Return the text of a file of a skill.

    Each part of the way is opened from the one before and no link is followed, so nothing that changes meanwhile can
    lead elsewhere.

    Raises:
        SkillFileRefused: it is not there, not below the folder, hidden, a link, no regular file, too large or no text.
    """
    parts = [part for part in relative.split("/") if part != "."]
    if relative.startswith("/") or ".." in parts or "\0" in relative:
        raise SkillFileRefused(
            f"{quoted(relative)} is not in the folder of the skill; give a path relative to it, without .."
        )
    if not parts or not all(parts) or any(map(hidden, parts)):
        raise SkillFileRefused(f"{quoted(relative)} is no file that a skill gives; `files()` lists them")
    try:
        with closing(_Way(folder)) as way:
            for part in parts[:-1]:
                way.enter(part)
            return text_of(_read(way.open(parts[-1])))
    except FileNotFoundError:
        raise SkillFileRefused(f"the skill has no file {quoted(relative)}; `files()` lists them") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SkillFileRefused(f"{quoted(relative)} is not given: {reason or error}") from None


def contents(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        OSError: it cannot be opened, or is no regular file; a pipe does not block.
        ValueError: it is too large.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # opening a device may do something already
        raise OSError(0, NOT_REGULAR)
    return _read(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))


def text_of(content: bytes) -> str:
    """Return UTF-8 as text, with line feeds only and without a byte order mark.

    Raises:
        ValueError: it is not UTF-8, or has a NUL, which no text has.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"it is not text in UTF-8 (line {line})") from None
    if "\0" in text:
        raise ValueError("it is not text: it has a NUL character")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Way:
    """Folders that are opened one from the other."""

    def __init__(self, folder: Path) -> None:
        self._here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def enter(self, name: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        there = os.open(name, flags, dir_fd=self._here)
        os.close(self._here)
        self._here = there

    def open(self, name: str) -> int:
        mode = os.stat(name, dir_fd=self._here, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(0, "it is a link, and those are not followed")
        if not stat.S_ISREG(mode):
            raise OSError(0, NOT_REGULAR)
        return os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._here)

    def close(self) -> None:
        os.close(self._here)


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, NOT_REGULAR)
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
    return content


def _below(folder: Path, prefix: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(islice(entries, MOST_ENTRIES), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if hidden(entry.name) or not entry.name.isprintable():
            continue
        if entry.is_file(follow_symlinks=False):
            yield prefix + entry.name
        elif depth < DEEPEST and entry.is_dir(follow_symlinks=False):
            yield from _below(folder / entry.name, f"{prefix}{entry.name}/", depth + 1)
