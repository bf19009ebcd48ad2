"""From what `--catalog` says to a catalog: `module:name`, or a Python file."""

import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from goalgraph.cli.exits import CommandError
from planner.catalog import ActionCatalog, is_action
from planner.errors import PlannerError

OURS = ("checkpointer", "planner", "skills", "storage")


def load_catalog(where: str | None) -> ActionCatalog:
    """Load the catalog that `--catalog` names.

    Raises:
        CommandError: there is none; the message says what was looked for and what to write.
    """
    if not where:
        raise CommandError(
            "no catalog: say where the actions are with --catalog module:name or --catalog path/to/file.py "
            "(goalgraph.demo has some to try)"
        )
    source, name = _split(where)
    module = _module(source)
    found: Any = module
    if name:
        try:
            found = attrgetter(name)(module)
        except AttributeError:
            known = ", ".join(_candidates(module)) or "nothing that is a catalog or an action"
            raise CommandError(f"{source} has no {name!r}; it has {known}") from None
    try:
        return _as_catalog(found, where)
    except PlannerError as error:
        raise CommandError(f"{where}: {error}") from None


def _split(where: str) -> tuple[str, str]:
    """Separate the module or file from the name in it."""
    if where.endswith(".py"):
        return where, ""
    source, _, name = where.rpartition(":")
    return (source, name) if source else (where, "")


def _module(source: str) -> ModuleType:
    for package in OURS:
        import_module(package)  # now, so that no file in the user's folder is taken for ours
    if source.endswith(".py") or "/" in source:
        return _from_file(Path(source))
    if not all(part.isidentifier() for part in source.split(".")):
        raise CommandError(f"{source!r} is neither a module nor a Python file; write module:name or path/to/file.py")
    _import_from(Path.cwd())
    try:
        return import_module(source)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{source}.".startswith(f"{error.name}."):
            raise CommandError(
                f"there is no module {error.name!r} here or in the environment; name one that is, or a file: "
                "--catalog path/to/file.py"
            ) from None
        raise CommandError(_broken(source, error)) from error
    except (Exception, SystemExit) as error:  # a user's code may raise anything while it is imported
        raise CommandError(_broken(source, error)) from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise CommandError(f"{path} {kind}; --catalog takes a Python file or a module")
    name = f"goalgraph_catalog_{path.stem}"
    spec = spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise CommandError(f"{path} is no Python file; --catalog takes one that ends in .py, or a module")
    _import_from(path.resolve().parent)
    module = module_from_spec(spec)
    sys.modules[name] = module  # pydantic and dataclasses look up annotations there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's code may raise anything while it is imported
        raise CommandError(_broken(str(path), error)) from error
    return module


def _import_from(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _broken(source: str, error: BaseException) -> str:
    """Say what a module raised, and at which of the user's lines."""
    if isinstance(error, SystemExit):
        return f"{source} ended the program when it was imported; put what it runs under if __name__ == '__main__':"
    if isinstance(error, SyntaxError):
        return f"{source} cannot be imported: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    at = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{source} cannot be imported: {type(error).__name__}: {error}{at}"


def _is_users(filename: str) -> bool:
    home = Path(__file__).parents[2]
    ours = any(Path(filename).is_relative_to(home / package) for package in (*OURS, "goalgraph"))
    return not ours and "site-packages" not in filename and not filename.startswith("<frozen")


def _as_catalog(found: Any, where: str) -> ActionCatalog:
    match found:
        case ActionCatalog():
            return found
        case ModuleType():
            return _from_module(found, where)
        case list() | tuple() | set() | frozenset():
            items = list(cast("Iterable[object]", found))
        case _ if _is_action(found):
            items = [found]
        case _:
            kind = type(found).__name__
            raise CommandError(f"{where} is a {kind}; name an ActionCatalog, a list of actions or an @action function")
    if not items:
        raise CommandError(f"{where} is an empty list; put actions into it")
    return ActionCatalog(items)


def _from_module(module: ModuleType, where: str) -> ActionCatalog:
    """Take the one catalog of a module, or all its decorated functions."""
    catalogs = {id(value): name for name, value in vars(module).items() if _is(value, ActionCatalog)}
    if len(catalogs) > 1:
        names = ", ".join(f"{where}:{name}" for name in catalogs.values())
        raise CommandError(f"{where} has {len(catalogs)} catalogs; choose one: {names}")
    if catalogs:
        return cast("ActionCatalog", getattr(module, next(iter(catalogs.values()))))
    functions = {id(value): value for value in vars(module).values() if _is_action(value)}
    if not functions:
        raise CommandError(f"{where} has no ActionCatalog and no function with @action; add one, or name another place")
    return ActionCatalog(functions.values())


def _candidates(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if _is(value, ActionCatalog) or _is_action(value)]


def _is_action(value: object) -> bool:
    try:
        return is_action(value)
    except Exception:  # noqa: BLE001 - whatever an object of the user's module does when it is looked at, it is no action
        return False


def _is(value: object, kind: type) -> bool:
    return issubclass(type(value), kind)  # isinstance asks the object as well, which may raise
