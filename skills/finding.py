"""Which files of a folder are skills, without leaving it."""

import os
from itertools import islice
from pathlib import Path, PurePath

from skills.files import DEEPEST, SKILL_FILES, hidden
from skills.problems import Problem

MOST_SKILLS = 10_000
"""Files; more are not looked at."""
MOST_ENTRIES = 100_000
"""Files and folders; more are not looked at."""
PARTS = ("scripts", "references")
"""Folders that skills have."""
MOST_NOTED = 1_000
"""Links and the like that are named."""


def skill_files(
    root: Path, *, pattern: str = "*.md", recursive: bool = True, trusted: bool = False
) -> tuple[list[Path], list[Problem]]:
    """Return the files of a folder that may be skills, sorted, and why others were not looked at.

    A folder with a `SKILL.md` is one skill: nothing else in it is looked at. Hidden folders are left out, each folder
    is visited once, and no link leads out of `root`, unless it is trusted.

    Args:
        root: Where to begin.
        pattern: Which names count, for `SKILL.md` too.
        recursive: Look up to 6 folders deep, instead of at `root` and the skills that are folders in it.
        trusted: Follow links that lead out.
    """
    walk = _Walk(root, pattern, deepest=DEEPEST if recursive else 0, trusted=trusted)
    walk.visit(root, 0)
    return sorted(walk.found), walk.problems


def skill_file(folder: Path) -> Path | None:
    """Return the file that makes a folder a skill; `None` if it is none."""
    return next((folder / name for name in SKILL_FILES if os.path.lexists(folder / name)), None)


def leads_out(path: Path, folder: Path) -> bool:
    """Tell whether `path`, after its links, is not below `folder`, after its links."""
    # Not `Path.resolve`, which raises where a link leads to itself.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


class _Walk:
    def __init__(self, root: Path, pattern: str, *, deepest: int, trusted: bool) -> None:
        self.found: list[Path] = []
        self.problems: list[Problem] = []
        self._root = root
        self._pattern = pattern.removeprefix("**/")
        self._deepest = deepest
        self._trusted = trusted
        self._visited: set[tuple[int, int]] = set()
        self._left = MOST_ENTRIES

    def visit(self, folder: Path, depth: int) -> None:
        """Look at a folder; up to `deepest` at all of it, below that only for its `SKILL.md`."""
        if self._left == 0 or self._is_known(folder):
            return
        try:
            with os.scandir(folder) as entries:
                inside = {entry.name: entry for entry in islice(entries, self._left)}
        except OSError as error:
            self._note(f"it cannot be read: {error.strerror or error}", folder)
            return
        self._left -= len(inside)
        if self._left == 0:
            self._note(f"it has {MOST_ENTRIES:,} files and folders up to here; no more are looked at", folder)
        own = next((name for name in SKILL_FILES if name in inside), None)
        if own is not None:
            self._add(folder / own)
        elif depth <= self._deepest:
            before = len(self.found)
            self._look(folder, inside, depth)
            like = [name for name in PARTS if name in inside and _is_folder(inside[name])]
            if like and depth > 0 and not any(file.name in SKILL_FILES for file in self.found[before:]):
                self._note(f"it has {like[0]}/ as a skill has, but no SKILL.md, so it is none", folder)

    def _is_known(self, folder: Path) -> bool:
        try:
            about = folder.stat()
        except OSError:  # reading it will say why
            return False
        known = (about.st_dev, about.st_ino) in self._visited
        self._visited.add((about.st_dev, about.st_ino))
        return known

    def _look(self, folder: Path, inside: "dict[str, os.DirEntry[str]]", depth: int) -> None:
        # Links last: what can be reached by its own name is.
        for name in sorted(inside, key=lambda name: (inside[name].is_symlink(), name)):
            if hidden(name):
                continue
            if not _is_folder(inside[name]):
                self._add(folder / name)
            elif inside[name].is_symlink() and not self._trusted and leads_out(folder / name, self._root):
                self._note("it is a link that leads out of the folder of skills, so it is not followed", folder / name)
            else:
                self.visit(folder / name, depth + 1)

    def _add(self, file: Path) -> None:
        if len(self.found) == MOST_SKILLS or not PurePath(file.relative_to(self._root)).match(self._pattern):
            return
        self.found.append(file)
        if len(self.found) == MOST_SKILLS:
            self._left = 0
            self._note(f"there are {MOST_SKILLS:,} files up to here; no more are looked at", file)

    def _note(self, message: str, path: Path) -> None:
        if len(self.problems) < MOST_NOTED:
            self.problems.append(Problem(message=message, path=path))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
