"""`goalgraph skills ls`, `show` and `check`."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

import skills
from goalgraph.application import open_skills
from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.console import people, visible
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.place import read_settings
from goalgraph.live.words import cut, short
from goalgraph.settings import Settings
from planner.catalog import ActionCatalog
from planner.errors import closest
from planner.service import PlannerService
from skills import Problem, Skill, SkillFileRefused, SkillFolderMissing, SkillRegistry, library
from skills.sections import section_key

ABOUT_CHARS = 160
"""Of a description in a list; it may have 1,024."""
MOST_PROBLEMS = 5
"""Shown by a command that is not about them."""
START = "a skill is a folder with a SKILL.md (https://agentskills.io); goalgraph skills ls --all shows those that ship"


def ls(folders: Sequence[Path], everything: bool) -> Ending:  # noqa: FBT001 - by name
    """List the skills of some folders, or of the settings."""
    console, found = people(), _loaded(folders)
    rows = [(skill, "trusted" if skill.trusted else "data") for skill in found.all()]
    if everything:
        rows += [(skill, _standing(skill, found)) for skill in library().all()]
    if rows:
        console.print(skills_table(rows))
    else:
        where = ", ".join(str(folder) for folder in folders or _folders(read_settings()))
        console.print(f"no skills in {where or 'any folder'}; {START}", markup=False, soft_wrap=True)
    show_problems(found.problems, console)
    return Ending(
        document={
            "skills": [{**_summary(skill), "standing": standing} for skill, standing in rows],
            "problems": [problem_document(problem) for problem in found.problems],
        }
    )


def show(skill: str, section: str | None, file: str | None, folder: Path | None) -> Ending:
    """Show one skill, one of its sections, or one of its files."""
    if section is not None and file is not None:
        raise CommandError("--section and --file each show one text; give one of them")
    found = _named(skill, folder)
    if section is not None:
        key = _section_key(found, section)
        return _text(found.section(key), {"id": found.id, "section": key})
    if file is not None:
        return _text(_file(found, file), {"id": found.id, "file": file})
    people().print(_details(found))
    document = {
        **_summary(found),
        "config": found.config,
        "metadata": found.metadata,
        "license": found.license,
        "compatibility": found.compatibility,
        "allowed_tools": found.allowed_tools,
        "sections": dict(found.sections),
        "files": _files(found),
    }
    return Ending(document=document)


def check(folder: Path | None, catalog: str | None) -> Ending:
    """Check a folder of skills strictly, or one skill, or those of the settings."""
    console, settings = people(), read_settings()
    folders = [folder] if folder is not None else _there(_folders(settings))
    if not folders:
        where = ", ".join(str(one) for one in _folders(settings))
        raise CommandError(f"there is no folder of skills ({where}); say which to check: goalgraph skills check DIR")
    actions = None if catalog is None else load_catalog(catalog)
    if not all(one.exists() for one in folders):
        raise CommandError(f"there is no folder of skills at {folders[0]}")
    trusted = _there(settings.trusted_skills) if folder is None else []
    problems = [problem for one in folders for problem in skills.check(one, trusted=one in trusted)]
    if actions is not None:
        problems += _examples(folders, actions)
    errors = sum(problem.severity == "error" for problem in problems)
    show_problems(problems, console)
    console.print(_verdict(errors, len(problems) - errors))
    return Ending(
        code=Exit.FAILED if errors else Exit.OK,
        document={"ok": not errors, "problems": [problem_document(problem) for problem in problems]},
    )


def _examples(folders: Sequence[Path], actions: ActionCatalog) -> list[Problem]:
    """Return what is wrong with worked examples: each would be left out, so it is an error where one asks."""
    registry = _registry(folders)
    lenient = list(registry.problems)
    found = PlannerService(actions, skills=registry).skill_problems()
    return [replace(problem, severity="error") for problem in found if problem not in lenient]


def show_problems(problems: Iterable[Problem], console: Console) -> None:
    """Write each problem on a line that editors understand: file:line: what is wrong."""
    for problem in problems:
        mark = ("✗ ", "red") if problem.severity == "error" else ("! ", "yellow")
        console.print(Text.assemble(mark, str(problem)), soft_wrap=True)


def skills_to_plan_by(settings: Settings, folder: Path | None = None) -> SkillRegistry:
    """Return the skills of a folder, or those of the settings, and show what is wrong with them.

    Raises:
        CommandError: there is no such folder.
    """
    try:
        registry = open_skills(settings, folder)
    except SkillFolderMissing as error:
        raise CommandError(f"{error}; name another with --skills DIR") from None
    show_problems(registry.problems[:MOST_PROBLEMS], console := people())
    if (rest := len(registry.problems) - MOST_PROBLEMS) > 0:
        console.print(f"… and {rest:,} more problems with skills; see them: goalgraph skills ls")
    return registry


def problem_document(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON."""
    path = None if problem.path is None else str(problem.path)
    return {"message": problem.message, "path": path, "line": problem.line, "severity": problem.severity}


# ------------------------------------------------------------------------------------------------------------- reading


def _folders(settings: Settings) -> list[Path]:
    return [*settings.trusted_skills, *settings.skills]


def _there(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders if (path := folder.expanduser()).is_dir()]


def _loaded(folders: Sequence[Path]) -> SkillRegistry:
    return _registry(folders) if folders else open_skills(read_settings())


def _registry(folders: Iterable[Path]) -> SkillRegistry:
    """Load some folders; what stands in them is data, and the first of an id counts."""
    registry = SkillRegistry()
    for folder in folders:
        root = folder.expanduser()
        if not root.exists():
            raise CommandError(f"there is no folder of skills at {root}")
        registry.load_path(root)
    return registry


def _named(skill_id: str, folder: Path | None) -> Skill:
    """Find a skill among those of a folder or of the settings, then among those that ship."""
    own = _loaded([] if folder is None else [folder])
    found = own.get(skill_id) or library().get(skill_id)
    if found is not None:
        return found
    known = sorted({*own.ids(), *library().ids()})
    shown = "goalgraph skills ls --all shows what there is, and --skills DIR names another folder to look into"
    raise CommandError(f"there is no skill {skill_id!r}; closest: {closest(skill_id, known)}; {shown}")


def _section_key(skill: Skill, given: str) -> str:
    """Return the key of a section, of which the heading may be given, too."""
    found = next((key for key in (given, section_key(given.strip())) if skill.has_section(key)), None)
    if found is None:
        known = ", ".join(skill.sections) or "none"
        raise CommandError(f"{skill.id} has no section {given!r}; it has {known}")
    return found


def _file(skill: Skill, path: str) -> str:
    try:
        return skill.read(path)
    except SkillFileRefused as error:
        raise CommandError(str(error)) from None


def _files(skill: Skill) -> list[str]:
    return [str(path) for path in skill.files()]


# ------------------------------------------------------------------------------------------------------------- showing


def _text(text: str, about: dict[str, Any]) -> Ending:
    """Give a text to stdout: as it is to a program, and to a terminal so that it cannot act on it."""
    return Ending(text=visible(text) if sys.stdout.isatty() else text, document={**about, "text": text})


def _standing(shipped: Skill, own: SkillRegistry) -> str:
    replaced = own.get(shipped.id)
    return "shipped, replaced" if replaced is not None and replaced.trusted else "shipped"


def skills_table(rows: Iterable[tuple[Skill, str]]) -> RenderableType:
    """List skills, each with what its text is to a model."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("Skill", "Standing", "For", "About", "From"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("Skill", "Standing"))
    for skill, standing in rows:
        table.add_row(
            Text(skill.id, style="bold cyan"),
            Text(standing, style="" if standing == "trusted" else "dim"),
            Text(", ".join(skill.flows) or "all"),
            Text(cut(" ".join(skill.description.split()), ABOUT_CHARS)),
            Text(_from(skill), style="dim"),
        )
    return table


def _details(skill: Skill) -> RenderableType:
    facts = {
        "title": skill.title if skill.title != skill.id else "",
        "from": _from(skill),
        "text is": "instruction (trusted)" if skill.trusted else "data to the model (not trusted)",
        "version": skill.version or "",
        "for": ", ".join(skill.flows) or "all actions",
        "prefers": ", ".join(skill.preferred_keys),
        "tags": ", ".join(skill.tags),
        "domain": skill.domain or "",
        "modes": ", ".join(skill.modes),
        "license": skill.license or "",
        "compatibility": skill.compatibility or "",
        "tools": f"{', '.join(skill.allowed_tools)} (only shown)" if skill.allowed_tools else "",
        **{name: short(value) for name, value in {**skill.metadata, **skill.config}.items()},
    }
    head = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts.items():
        if value:
            head.add_row(Text(name, style="dim"), Text(value))
    parts: list[RenderableType] = [Text(skill.id, style="bold cyan"), Text(skill.description), head]
    for key, text in skill.sections.items():
        parts.append(Text.assemble(("§ ", "dim"), (key, "bold"), (f"  {len(text):,} characters", "dim")))
    parts += [Text.assemble(("▪ ", "dim"), path) for path in _files(skill)]
    return Group(*parts)


def _verdict(errors: int, warnings: int) -> Text:
    if not errors and not warnings:
        return Text.assemble(("✓ ", "green"), "nothing is wrong")
    counts = [f"{count} {name}{'s' * (count != 1)}" for count, name in ((errors, "error"), (warnings, "warning"))]
    mark = ("✗ ", "red") if errors else ("✓ ", "green")
    return Text.assemble(mark, ", ".join(counts))


def _from(skill: Skill) -> str:
    if skill.path is None:
        return "code"
    if library().get(skill.id) is skill:
        return "ships"
    path = os.path.relpath(skill.path)
    return str(skill.path) if path.startswith("..") else path


def _summary(skill: Skill) -> dict[str, Any]:
    return {
        "id": skill.id,
        "title": skill.title,
        "description": skill.description,
        "trusted": skill.trusted,
        "flows": skill.flows,
        "preferred_keys": skill.preferred_keys,
        "tags": skill.tags,
        "domain": skill.domain,
        "modes": skill.modes,
        "version": skill.version,
        "path": None if skill.path is None else str(skill.path),
    }
