"""From the options of a command to what does it. Nothing here imports the planner before a command needs it."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from goalgraph.cli.exits import CommandError, Ending, Exit


def do(module: str, command: str, /, *, json: bool | None = None, **arguments: Any) -> None:
    """Import what a command needs, do it, write what is for stdout, and end with the exit code.

    Args:
        module: In this package; it has a function with the name of the command, which returns an `Ending`.
        command: The command.
        json: Whether `--json` was given; `None` where a command has no such option.
        arguments: For the function.
    """
    from goalgraph.cli import console, stopping

    with stopping.termination() as terminated:
        try:
            with console.stdout_kept_clean(json is not False):
                function: Callable[..., Ending] = getattr(import_module(f"goalgraph.cli.{module}"), command)
                ending = function(**arguments)
        except CommandError as error:
            console.complain(str(error))
            ending = Ending(code=error.code, document={"ok": False, "error": str(error)})
        except KeyboardInterrupt:
            console.complain("stopped")
            ending = Ending(code=Exit.INTERRUPTED, document={"ok": False, "error": "stopped"})
    console.answer(console.to_json(ending.document) if json else ending.text)
    raise typer.Exit(int(terminated.code if ending.code is Exit.INTERRUPTED else ending.code))


def place_of(data_dir: Path | None, redis: str | None, archive: str | None) -> Any:
    """Return where runs are kept, as options say it."""
    from goalgraph.cli.place import Place

    return Place(data_dir=data_dir, redis=redis, archive=archive)


def where_of(
    data_dir: Path | None,
    redis: str | None,
    archive: str | None,
    user: str = "local",
    org: str = "local",
    roles: list[str] | None = None,
) -> Any:
    """Return which runs a command is about."""
    from goalgraph.cli.runs import Where

    return Where(place=place_of(data_dir, redis, archive), user=user, org=org, roles=tuple(roles or ()))
