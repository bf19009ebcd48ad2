"""What a command was asked for: its options as one value, and what they say once files and environment are read."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langgraph.checkpoint.memory import InMemorySaver

from goalgraph.application import open_planner
from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.exits import CommandError
from goalgraph.cli.place import Place, read_settings, told
from goalgraph.cli.skills import skills_to_plan_by
from goalgraph.settings import Settings, StorageSettings
from planner.catalog import ActionCatalog
from planner.context import NodeContext, RequestIdentity
from planner.node_planner import NodePlanner
from skills import SkillRegistry

RESOURCES: Mapping[str, Any] = {"folder": Path("goalgraph-demo")}
"""What an action receives from the command line: those of the demo write where `goalgraph demo` does."""
IDENTITY = RequestIdentity()
"""Who runs plans here: the local user, who has no roles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of `plan`, `run`, `check` and `chat`."""

    subject: str
    """A goal, or a plan's file."""
    catalog: str | None = None
    given: tuple[str, ...] = ()
    inputs_file: Path | None = None
    wants: tuple[str, ...] = ()
    model: str | None = None
    base_url: str | None = None
    skills: Path | None = None
    candidates: int = 1
    place: Place = field(default_factory=Place)

    def load_catalog(self) -> ActionCatalog:
        """Return the catalog."""
        return load_catalog(self.catalog)

    def inputs(self) -> dict[str, Any]:
        """Return the user inputs; what `--input` says goes before what the file says."""
        values = {} if self.inputs_file is None else _read_object(self.inputs_file)
        for text in self.given:
            key, equals, value = text.partition("=")
            if not equals or not key.strip():
                raise CommandError(f"--input {text!r} has no key; write --input key=value")
            values[key.strip()] = read_value(value)
        return values

    def load_skills(self, settings: Settings) -> SkillRegistry:
        """Return the skills to plan by, and show what is wrong with them."""
        return skills_to_plan_by(settings, self.skills)

    def settings(self) -> Settings:
        """Return the settings of the environment, with what the options say in their place; wants need no model."""
        if self.wants and self.model:
            raise CommandError("--want plans by types and --model by words; give one of them")
        settings = self.place.within(read_settings(self.model, self.base_url))
        return without_model(settings) if self.wants else settings


def without_model(settings: Settings) -> Settings:
    """Return settings under which goals are planned by types."""
    return settings.model_copy(update={"model": None})


@asynccontextmanager
async def opened(
    catalog: ActionCatalog,
    settings: Settings,
    *,
    resources: Mapping[str, Any] = RESOURCES,
    runs: bool = True,
    skills: SkillRegistry | None = None,
    context: NodeContext | None = None,
) -> AsyncGenerator[NodePlanner]:
    """Open a planner; one that runs nothing needs no stores, and one that plans only what is known no skills.

    Raises:
        CommandError: the stores cannot be opened, or fail later.
    """
    saver = None
    if not runs:
        saver, settings = InMemorySaver(), settings.model_copy(update={"storage": StorageSettings()})
    opening = open_planner(
        catalog=catalog,
        settings=settings,
        resources=resources,
        checkpointer=saver,
        context=context,
        skills=SkillRegistry() if skills is None else skills,
    )
    async with told(opening, settings) as planner:
        yield planner


def read_value(text: str) -> Any:
    """Read what stands after `key=`: JSON if it is, else the text itself."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value: Any = json.loads(path.read_bytes(), parse_constant=_refuse)
    except OSError as error:
        raise CommandError(f"--inputs {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--inputs {path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CommandError(f'--inputs {path} holds no object; write {{"key": value, …}}')
    return cast("dict[str, Any]", value)
