"""The commands about skills, and their options."""

from pathlib import Path
from typing import Annotated

import typer

from goalgraph.cli import options
from goalgraph.cli.dispatch import do

CHECKED = "Exit codes: 0 nothing is against the standard (there may be warnings) · 1 there are errors · 2 wrong usage."

skills_app = typer.Typer(name="skills", help="See and check what plans are made by.", no_args_is_help=True)


@skills_app.command("ls")
def skills_ls(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]…", help="Folders of skills; those of the settings without any."),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that ship.")] = False,
    json: options.Json = False,
) -> None:
    """List the skills, and what is wrong with their files."""
    do("skills", "ls", folders=tuple(folders or ()), everything=everything, json=json)


@skills_app.command("show")
def skills_show(
    skill: Annotated[str, typer.Argument(metavar="SKILL", help="A skill's id.")],
    *,
    section: Annotated[
        str | None,
        typer.Option("--section", metavar="KEY", help="Only the text of a section (its key or heading), on stdout."),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="Only one of the skill's files, on stdout.")
    ] = None,
    skills: options.Skills = None,
    json: options.Json = False,
) -> None:
    """Show a skill: what stands before its text, its sections, and its files."""
    do("skills", "show", skill=skill, section=section, file=file, folder=skills, json=json)


@skills_app.command("check", epilog=CHECKED)
def skills_check(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="A folder of skills, or one skill; those of the settings without it."),
    ] = None,
    *,
    catalog: Annotated[
        str | None,
        typer.Option("--catalog", "-c", metavar="WHERE", help="Also hold the worked examples against these actions."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Say everything that is wrong with skills by the open standard, and where."""
    do("skills", "check", folder=folder, catalog=catalog, json=json)
