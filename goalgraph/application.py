"""`open_planner`: the only place that knows which parts are put together."""

import logging
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.checkpoint.base import BaseCheckpointSaver

from goalgraph.settings import Settings
from goalgraph.stores import OpenStores, open_stores
from planner.catalog import ActionCatalog
from planner.context import NodeContext
from planner.drafting import LanguageModel, OpenAIModel
from planner.limits import Limits
from planner.node_planner import NodePlanner
from planner.runs import ExecutionEngine, OnComplete, RunPolicy, SecretProvider
from planner.service import PlannerService
from skills import Problem, SkillRegistry, load

logger = logging.getLogger("goalgraph")

MOST_LOGGED = 5
"""Problems with skills, each time that a planner is opened."""


class PlannerOpening(AbstractAsyncContextManager[NodePlanner], Awaitable[NodePlanner]):
    """A planner that is about to be opened: `async with opening as planner`, or `planner = await opening`."""

    def __init__(
        self, stores: Settings | None, build: Callable[[OpenStores | None], PlannerService], context: NodeContext
    ) -> None:
        """`stores` is given when there are stores to open for the service that `build` makes."""
        self._stores = stores
        self._build = build
        self._context = context
        self._planner: NodePlanner | None = None
        self.stores: OpenStores | None = None
        """Those of the planner, once it is open."""

    def __await__(self) -> Generator[Any, None, NodePlanner]:
        return self._open().__await__()

    async def __aenter__(self) -> NodePlanner:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._planner is not None:
            await self._planner.aclose()

    async def _open(self) -> NodePlanner:
        if self._planner is None:
            async with AsyncExitStack() as exits:
                stores = None if self._stores is None else await exits.enter_async_context(open_stores(self._stores))
                service = self._build(stores)
                self.stores = stores
                if stores is not None:
                    await service.run_service.open()
                service.exits.push_async_exit(exits.pop_all())
            self._planner = NodePlanner(service, self._context)
        return self._planner


def open_planner(  # noqa: PLR0913 - every part can be given, and none has to be
    *,
    actions: Iterable[object] = (),
    catalog: ActionCatalog | None = None,
    llm: LanguageModel | BaseChatModel | str | None = None,
    data_dir: Path | str | None = None,
    settings: Settings | None = None,
    resources: Mapping[str, Any] | None = None,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    context: NodeContext | None = None,
    limits: Limits | None = None,
    callbacks: Mapping[str, OnComplete] | None = None,
    secrets: SecretProvider | None = None,
    policy: RunPolicy | None = None,
    engine: ExecutionEngine | None = None,
    skills: SkillRegistry | Path | str | Iterable[Path | str] | None = None,
) -> PlannerOpening:
    """Put a planner together.

    Write `async with open_planner(…) as planner:`, or `planner = await open_planner(…)` and later
    `await planner.aclose()`.

    Args:
        actions: Functions, tools and graphs for a new catalog, or to add to `catalog`.
        catalog: What can be done.
        llm: A `LanguageModel`, a LangChain chat model, or a model's name for the OpenAI client; by default what the
            settings say, and without a model there goals are planned by types (`wants=`).
        data_dir: Where the embedded stores keep their data; `.goalgraph` in the current folder unless the settings say
            otherwise.
        settings: In place of what the environment says.
        resources: What parameters marked `Resource("name")` receive.
        checkpointer: Any LangGraph saver, in place of ours. Stores are then opened only when `data_dir` or an address
            of a server is given, and keep the records of the runs.
        context: Who calls; the local user by default.
        limits: Bounds of every plan and run, in place of those of the settings.
        callbacks: Functions by the names under which runs ask for them with `on_complete="name"`.
        secrets: Gives the secrets of runs that are taken up from another process: `(name, record)` → `SecretStr`.
        policy: How this process takes part in advancing runs, in place of what the settings say.
        engine: Who is woken up to advance a run in the background; by default this process.
        skills: What to plan by: a registry, or one folder or several whose skills are data to a model (see
            `skills.load`); by default those in the folders of the settings.

    Raises:
        RegistrationError: one of `actions` cannot become an action; the message says what to change.
    """
    settings = settings or Settings()
    asked = data_dir is not None or settings.storage.redis_url or settings.storage.archive_url
    if data_dir is not None:
        settings = settings.model_copy(update={"data_dir": Path(data_dir)})
    catalog = catalog or ActionCatalog()
    for item in actions:
        catalog.add(item)
    name = llm if isinstance(llm, str) else settings.model if llm is None else None
    opened = None if name is None else _openai(name, settings)

    registry = skills if isinstance(skills, SkillRegistry) else open_skills(settings, skills)
    if registry is not skills:
        _log(registry.problems)

    def build(stores: OpenStores | None) -> PlannerService:
        service = PlannerService(
            catalog,
            opened or (None if isinstance(llm, str) else llm),
            checkpointer=checkpointer or (stores and stores.checkpointer),
            limits=limits or settings.limits,
            blobs=stores and stores.blobs,
            stores=stores and stores.run_stores,
            resources=resources,
            approve=settings.approve,
            callbacks=callbacks,
            secrets=secrets,
            policy=policy or settings.runs,
            engine=engine,
            skills=registry,
            sessions=stores and stores.sessions,
        )
        if opened is not None:
            service.exits.push_async_callback(opened.aclose)
        return service

    return PlannerOpening(settings if checkpointer is None or asked else None, build, context or NodeContext())


def open_skills(settings: Settings, folders: Path | str | Iterable[Path | str] | None = None) -> SkillRegistry:
    """Return the skills of `folders`, or those of the settings' folders, trusted ones first; the first of an id counts.

    What is wrong with them is in `problems`.

    Raises:
        SkillFolderMissing: one of `folders` is not there.
    """
    if folders is not None:
        return load(folders) if isinstance(folders, str | Path) else load(*folders)
    registry = SkillRegistry()
    for name, named in (("trusted_skills", settings.trusted_skills), ("skills", settings.skills)):
        for folder in named:
            if folder.expanduser().is_dir():
                registry.load_path(folder.expanduser(), trusted=name == "trusted_skills")
            elif name in settings.model_fields_set:
                message = f"there is no such folder, which the setting GOALGRAPH_{name.upper()} names"
                registry.problems.append(Problem(message=message, path=folder))
    return registry


def _log(problems: Sequence[Problem]) -> None:
    """Say what is wrong with skills: of much that, how much it is."""
    for problem in problems[:MOST_LOGGED]:
        logger.warning("%s", problem)
    if (more := len(problems) - MOST_LOGGED) > 0:
        logger.warning("… and %d more problems with skills; see them: goalgraph skills ls", more)


def _openai(name: str, settings: Settings) -> OpenAIModel:
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    return OpenAIModel(name, base_url=settings.base_url, api_key=key, timeout=settings.model_timeout)
