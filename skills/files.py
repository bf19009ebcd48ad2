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
MOST_LOOKED_AT = 5_000
"""Files and folders of one skill, for the list of its files."""
DEEPEST = 6
"""Folders below a folder of skills, or below a skill."""
IGNORED = frozenset({"node_modules", "__pycache__"})
"""Folders in which nobody keeps skills; nor do they in hidden ones."""
SKILL_FILES = ("SKILL.md", "skill.md")
"""The file that makes a folder a skill; the second is what some write, which the standard's validator takes too."""

Identity = tuple[int, int]
"""The device and inode of a folder: which one it is, wherever its path leads by now."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_REGULAR = "it is no regular file"


def hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is not for reading."""
    return name.startswith(".") or name in IGNORED


def identity_of(path: Path) -> Identity | None:
    """Return which folder or file a path leads to; `None` if to none."""
    try:
        return _identity(path.stat())
    except OSError:
        return None


def listed(folder: Path, identity: Identity | None = None) -> list[str]:
    """Return the files in a skill's folder, relative with `/`, sorted: no links, nothing hidden, at most 1,000.

    None where the folder is not there any more, or is not the one of `identity`.
    """
    try:
        with closing(OpenFolder(folder, identity)) as root:
            return sorted(islice((name for name in root.below() if not _is_the_skill(name)), MOST_FILES))
    except OSError:
        return []


def read_below(folder: Path, relative: str, identity: Identity | None = None) -> str:
    """Return the text of a file of a skill.

    The folder has to be the one of `identity`, each part of the way is opened from the one before, and no link is
    followed: nothing that changes meanwhile can lead elsewhere.

    Raises:
        SkillFileRefused: it is not there, not below the folder, hidden, a link, no regular file, too large, no text, or
            what the skill itself was read from.
    """
    parts = [part for part in relative.split("/") if part != "."]
    if relative.startswith("/") or ".." in parts or "\0" in relative:
        raise SkillFileRefused(
            f"{quoted(relative)} is not in the folder of the skill; give a path relative to it, without .."
        )
    if not parts or not all(parts) or any(map(hidden, parts)):
        raise SkillFileRefused(f"{quoted(relative)} is no file that a skill gives; `files()` lists them")
    if _is_the_skill("/".join(parts)):  # whole, it would also give what is only for other purposes, unchecked
        raise SkillFileRefused(f"{quoted(relative)} is the skill itself, not a file of it; ask for the skill")
    try:
        with closing(OpenFolder(folder, identity)) as way:
            for part in parts[:-1]:
                way.enter(part)
            return text_of(way.read(parts[-1]))
    except FileNotFoundError:
        raise SkillFileRefused(f"the skill has no file {quoted(relative)}; `files()` lists them") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SkillFileRefused(f"{quoted(relative)} is not given: {reason or error}") from None


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


class OpenFolder:
    """A folder that is open: what is reached from here stays the same, whatever its path is changed to meanwhile.

    Args:
        path: Its links are followed.
        identity: The folder that it has to be.

    Raises:
        OSError: there is none, or it is another.
    """

    def __init__(self, path: Path, identity: Identity | None = None) -> None:
        self._here = os.open(path, _FOLDER)
        self.identity = _identity(os.fstat(self._here))
        if identity not in {None, self.identity}:
            self.close()
            raise OSError(0, "another folder took the place of the one that was loaded; load the skill again")

    def enter(self, name: str) -> None:
        """Go on to a folder in it, which is no link."""
        there = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._here)
        os.close(self._here)
        self._here = there

    def read(self, name: str, *, links: bool = False) -> bytes:
        """Return what is in a file; a pipe does not block.

        Raises:
            OSError: it cannot be opened, is a link and `links` are not followed, or is no regular file.
            ValueError: it is too large.
        """
        mode = os.stat(name, dir_fd=self._here, follow_symlinks=links).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(0, "it is a link, and those are not followed")
        if not stat.S_ISREG(mode):  # opening a device may do something already
            raise OSError(0, _NOT_REGULAR)
        return _read(os.open(name, _FILE | (0 if links else os.O_NOFOLLOW), dir_fd=self._here))

    def is_below(self, root: Identity) -> bool:
        """Tell whether it is `root` or in it, by the parents that it has now and not by its path."""
        above, up = None, "."
        while (here := _identity(os.stat(up, dir_fd=self._here))) != root:
            if here == above:  # the parent of / is /
                return False
            above, up = here, f"{up}/.."
        return True

    def below(self) -> Iterator[str]:
        """Yield the files in it, relative with `/`: no links, nothing hidden; 5,000 files and folders are looked at."""
        return _below(self._here, "", 0, iter(range(MOST_LOOKED_AT)))

    def close(self) -> None:
        """Leave it."""
        os.close(self._here)


def _identity(about: os.stat_result) -> Identity:
    return about.st_dev, about.st_ino


def _is_the_skill(relative: str) -> bool:
    return relative.casefold() == "skill.md"  # a disk may not tell the cases apart


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, _NOT_REGULAR)
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
    return content


def _below(folder: int, prefix: str, depth: int, budget: Iterator[int]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted((entry for entry, _ in zip(entries, budget, strict=False)), key=lambda entry: entry.name)
    for entry in found:
        if hidden(entry.name) or not entry.name.isprintable():
            continue
        if entry.is_file(follow_symlinks=False):
            yield prefix + entry.name
        elif depth < DEEPEST and entry.is_dir(follow_symlinks=False):
            yield from _inside(folder, entry.name, prefix, depth, budget)


def _inside(folder: int, name: str, prefix: str, depth: int, budget: Iterator[int]) -> Iterator[str]:
    try:
        there = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:  # not readable, or something else by now
        return
    try:
        yield from _below(there, f"{prefix}{name}/", depth + 1, budget)
    finally:
        os.close(there)
