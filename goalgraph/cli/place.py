"""Where runs are kept, as options and settings say; what is wrong with it is said in one sentence."""

import re
import shlex
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from goalgraph.cli.exits import CommandError, Exit
from goalgraph.settings import Settings, StorageSettings
from storage.errors import StorageError, StorageRefused

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The options that say where runs are kept."""

    data_dir: Path | None = None
    redis: str | None = None
    archive: str | None = None

    def within(self, settings: Settings) -> Settings:
        """Return the settings with what the options say in their place.

        Raises:
            CommandError: an option says what a setting may not.
        """
        urls = {"redis_url": self.redis, "archive_url": self.archive}
        given = {name: url for name, url in urls.items() if url}
        try:
            StorageSettings.model_validate(given)
        except ValidationError as error:
            raise CommandError("\n".join(_said(one) for one in error.errors())) from None
        storage = settings.storage.model_copy(update=given)
        return settings.model_copy(update={"storage": storage, "data_dir": self.data_dir or settings.data_dir})

    @property
    def options(self) -> str:
        """How it is typed; a password is left out."""
        named = {"--data-dir": self.data_dir, "--redis": self.redis, "--archive": self.archive}
        given = [[name, "URL" if "@" in str(value) else str(value)] for name, value in named.items() if value]
        return "".join(f" {shlex.join(pair)}" for pair in given)


def read_settings(model: str | None = None, base_url: str | None = None) -> Settings:
    """Return the settings of the environment, with a model from the command line in their place.

    Raises:
        CommandError: they are wrong; one line for each.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [f"the setting {_name(one['loc'])} is wrong: {_said(one)}" for one in error.errors()]
        raise CommandError("\n".join(lines)) from None
    except SettingsError as error:  # what should be JSON is none; its message only names the field
        field = re.search(r'field "(\w+)"', str(error))
        name = _name([field[1]]) if field else "GOALGRAPH_…"
        raise CommandError(
            f"the setting {name} is wrong: it is no JSON object; write its parts one by one: {name}__NAME=VALUE"
        ) from None
    given = {"model": model, "base_url": base_url}
    return settings.model_copy(update={name: value for name, value in given.items() if value})


@asynccontextmanager
async def told(opening: AbstractAsyncContextManager[T], settings: Settings) -> AsyncGenerator[T]:
    """Open what has stores, and say in one sentence what these raise, then or later.

    Raises:
        CommandError: a store failed, or refused to be opened, which is wrong usage.
    """
    try:
        async with AsyncExitStack() as exits:
            try:
                opened = await exits.enter_async_context(opening)
            except StorageRefused as error:
                raise CommandError(f"{error}{_setting(error, settings.storage)}") from None
            yield opened
    except StorageError as error:
        raise CommandError(f"{error}{_setting(error, settings.storage)}", Exit.FAILED) from None


def program() -> str:
    """Return how to call this program again: by its path where it is not found by its name."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "goalgraph" or shutil.which("goalgraph") == str(called):
        return "goalgraph"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)


def _name(path: "tuple[int | str, ...] | list[str]") -> str:
    name = "__".join(str(part) for part in path).upper()
    return name if name.startswith(("GOALGRAPH_", "OPENAI_")) else f"GOALGRAPH_{name}"


def _said(error: ErrorDetails) -> str:
    if error["type"] == "time_delta_parsing":
        return "it is no duration; write P7D for seven days, or PT12H for twelve hours"
    return error["msg"].removeprefix("Value error, ")


def _setting(error: StorageError, storage: StorageSettings) -> str:
    """Name the setting that has the URL which `error` is about."""
    for name in ("redis_url", "archive_url"):
        url: str | None = getattr(storage, name)
        if url and re.split("://|@", url)[-1] in str(error):
            return f" (the setting GOALGRAPH_STORAGE__{name.upper()})"
    return ""
