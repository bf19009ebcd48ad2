"""The catalog: every action that a plan may name, with the indexes that make finding one cheap."""

import dataclasses
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool
from langgraph.types import RetryPolicy
from packaging.version import InvalidVersion, Version

from planner.catalog.decorator import DEFAULT_VERSION, make_policy, spec_from_function
from planner.catalog.importers import is_graph, spec_from_graph, spec_from_tool
from planner.catalog.producers import Producer, ProducerIndex
from planner.catalog.search import ActionSearch, SearchHit
from planner.catalog.slot import Slot
from planner.catalog.spec import (
    UNDO_WORDS,
    ActionKind,
    ActionSpec,
    Approval,
    Cost,
    Effect,
    Idempotency,
    Rate,
    make_ref,
    parse_ref,
)
from planner.catalog.values import Codec, Codecs
from planner.context import RequestIdentity
from planner.errors import DuplicateAction, RegistrationError, UnknownAction

if TYPE_CHECKING:
    from planner.catalog.explanation import Explanation

NAME = re.compile(r"\w[\w.-]*\Z")
KINDS: tuple[ActionKind, ...] = ("action", "flow")


class CatalogView:
    """The newest version of every action, at one moment, with what is computed from them once."""

    def __init__(self, specs: Iterable[ActionSpec]) -> None:
        self.specs = sorted(specs, key=lambda spec: (spec.flow_id or "", spec.name, spec.version))
        self.by_name = {spec.name: spec for spec in self.specs}

    @cached_property
    def producers(self) -> ProducerIndex:
        """Outputs by what they mean and what they are called."""
        return ProducerIndex(self.specs)

    @cached_property
    def search(self) -> ActionSearch:
        """The words of every action."""
        return ActionSearch(self.specs, self.producers)


class ActionCatalog:
    """Actions and flows by name, version and group.

    Every registered version stays resolvable by reference; only the newest is listed and offered to the planner.

    Args:
        actions: What `add` takes: decorated or plain functions, LangChain tools, LangGraph graphs, `ActionSpec`s.
    """

    def __init__(self, actions: Iterable[object] = ()) -> None:
        self.codecs = Codecs()
        self.callbacks: dict[str, Callable[..., Any]] = {}
        """Functions that a run may name as its durable callback; they travel with the catalog to every worker."""
        self.version = 0
        """Counts changes; what is computed from the catalog is kept as long as this stays the same."""
        self._specs: dict[str, ActionSpec] = {}
        self._newest: dict[str, ActionSpec] = {}
        self._view: CatalogView | None = None
        self._lock = threading.Lock()
        for item in actions:
            self.add(item)

    def add(self, item: object, *, replace: bool = False) -> ActionSpec:
        """Register an action and return its spec.

        Args:
            item: A function (decorated with `@action` or not), a LangChain tool, a LangGraph graph, or an `ActionSpec`.
            replace: Put it in the place of an action with the same reference, as when a notebook cell runs again.

        Raises:
            RegistrationError: it cannot become an action; the message says what to change.
            DuplicateAction: the reference is taken, or the name belongs to another kind.
        """
        match item:
            case ActionSpec():
                return self._register(item, replace=replace)
            case BaseTool():
                return self._register(spec_from_tool(item), replace=replace)
            case _ if is_graph(item):
                return self._register(
                    spec_from_graph(item, name=str(getattr(item, "name", None) or "flow")), replace=replace
                )
            case _ if callable(item):
                return self._register(spec_from_function(item, self.codecs), replace=replace)
            case _:
                kind = type(item).__name__
                raise RegistrationError(
                    f"a {kind} cannot be an action; give a function, a tool, a graph or an ActionSpec"
                )

    def add_flow(  # noqa: PLR0913 -- the options of @action, for a graph
        self,
        graph: object,
        *,
        name: str,
        version: str = DEFAULT_VERSION,
        description: str = "",
        tags: Sequence[str] = (),
        flow_id: str | None = None,
        retry: RetryPolicy | int | None = None,
        timeout: float | timedelta | None = None,
        undo: Callable[..., Any] | str | None = None,
        effect: Effect = "read",
        idempotent: Idempotency = "yes",
        approval: bool | Approval = False,
        roles: Sequence[str] = (),
        cost: Cost | float | None = None,
        max_concurrency: int | None = None,
        rate: Rate | float | None = None,
        compensates_unknown: bool = False,
        replace: bool = False,
    ) -> ActionSpec:
        """Register a LangGraph graph as a flow that runs as one step; the options are those of `@action`.

        Raises:
            RegistrationError: it is no graph, or was compiled with `checkpointer=False`.
            DuplicateAction: the reference is taken, or the name belongs to an action.
        """
        policy = make_policy(retry, timeout, undo, effect, idempotent, approval, roles, cost, max_concurrency, rate)
        policy = dataclasses.replace(policy, compensates_unknown=compensates_unknown)
        spec = spec_from_graph(
            graph, name=name, version=version, description=description, tags=tuple(tags), flow_id=flow_id, policy=policy
        )
        return self._register(spec, replace=replace)

    def add_codec(self, type: type, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> None:  # noqa: A002 -- the name of DESIGN section 2
        """Let values of `type`, and of its subclasses, be outputs: `encode` gives bytes, `decode` takes them back."""
        self.codecs.add(Codec(type, encode, decode))

    def add_callback(self, name: str, call: Callable[..., Any]) -> None:
        """Let runs name `call` as their durable callback: `on_complete=name`. It is given the `ExecutionResult`.

        Raises:
            ValueError: the name is that of another callback, or looks like a URL.
        """
        if self.callbacks.get(name, call) is not call or "://" in name:
            raise ValueError(f"{name!r} cannot name a callback: it is a URL, or the name of another one")
        self.callbacks[name] = call

    def list_actions(
        self,
        *,
        flow_ids: Sequence[str] | None = None,
        kinds: Sequence[str] = KINDS,
        include_global: bool = True,
    ) -> list[ActionSpec]:
        """Return the newest version of each action, sorted by group, name and version.

        Args:
            flow_ids: Only these groups; `None` for all.
            kinds: `action`, `flow`, or aethergraph's words for them.
            include_global: Whether actions that belong to no group are listed beside those of `flow_ids`.
        """
        return list(self.iter_actions(flow_ids=flow_ids, kinds=kinds, include_global=include_global))

    def iter_actions(
        self,
        *,
        flow_ids: Sequence[str] | None = None,
        kinds: Sequence[str] = KINDS,
        include_global: bool = True,
    ) -> Iterator[ActionSpec]:
        """Yield what `list_actions` returns."""
        wanted = {parse_ref(f"{kind}:any")[0] for kind in kinds}
        groups = None if flow_ids is None else set(flow_ids)
        for spec in self.view.specs:
            if spec.kind in wanted and in_group(spec, groups, include_global=include_global):
                yield spec

    def get_action(self, ref: str) -> ActionSpec:
        """Return the action with this reference; `kind:name` and `…@latest` give the newest.

        Raises:
            InvalidRef: the text is no reference.
            UnknownAction: the catalog has no such action or version.
        """
        kind, name, version = parse_ref(ref)
        found = self._newest.get(name) if version == "latest" else self._specs.get(make_ref(kind, name, version))
        if found is None or found.kind != kind:
            raise UnknownAction(ref, [*self._specs, *self._newest])
        return found

    def get_action_by_name(
        self,
        name: str,
        *,
        kind: str | None = None,
        flow_ids: Sequence[str] | None = None,
        include_global: bool = True,
    ) -> ActionSpec | None:
        """Return the newest version of the action called `name`, or `None`."""
        spec = self._newest.get(name)
        if spec is None or (kind is not None and parse_ref(f"{kind}:{name}")[0] != spec.kind):
            return None
        groups = None if flow_ids is None else set(flow_ids)
        return spec if in_group(spec, groups, include_global=include_global) else None

    def producers(self, slot: Slot, *, flow_ids: Sequence[str] | None = None) -> list[Producer]:
        """Return the outputs that could fill `slot`, the most certain first."""
        groups = None if flow_ids is None else set(flow_ids)
        return [found for found in self.view.producers.find(slot) if in_group(found.action, groups)]

    def search(
        self,
        goal: str,
        k: int = 20,
        *,
        flow_ids: Sequence[str] | None = None,
        identity: RequestIdentity | None = None,
        exclude: Sequence[str] = (),
    ) -> list[SearchHit]:
        """Return up to `k` actions that a goal may need, best first, then those that produce what these require.

        An empty list means that nothing here fits the goal; see `ActionSearch.find` for the options.
        """
        return self.view.search.find(goal, k, flow_ids=flow_ids, identity=identity, exclude=exclude)

    def explain(
        self,
        goal: str,
        k: int = 20,
        *,
        flow_ids: Sequence[str] | None = None,
        identity: RequestIdentity | None = None,
    ) -> "Explanation":
        """Return what `search` finds for a goal and why, and what it leaves out.

        Actions that `identity` may not call are named among what is left out, so this is for whoever keeps the catalog.
        """
        from planner.catalog.explanation import explain  # noqa: PLC0415 -- with it comes the index, 0.15 s to import

        return explain(self.view.search, goal, k, flow_ids=flow_ids, identity=identity)

    @property
    def view(self) -> CatalogView:
        """The newest versions with their indexes; the same object until the catalog changes."""
        view = self._view
        if view is None:
            with self._lock:
                view = self._view = self._view or CatalogView(self._newest.values())
        return view

    def __len__(self) -> int:
        return len(self._newest)

    def __iter__(self) -> Iterator[ActionSpec]:
        return iter(self.view.specs)

    def _register(self, spec: ActionSpec, *, replace: bool) -> ActionSpec:
        version = _version(spec)
        if not NAME.match(spec.name):
            raise RegistrationError(f"{spec.name!r} is no action name; use letters, digits, _, - and ., and no spaces")
        for slot in (*spec.inputs, *spec.outputs):
            _check_schema(spec, slot)
        if callable(spec.policy.undo):  # what cannot be called is refused now, not in a failing run
            _check_undo(spec, spec_from_function(spec.policy.undo, self.codecs))
        with self._lock:
            current = self._newest.get(spec.name)
            if current is not None and current.kind != spec.kind:
                raise DuplicateAction(f"the name {spec.name!r} is taken by {current.ref}; give the {spec.kind} another")
            if spec.ref in self._specs and not replace:
                raise DuplicateAction(
                    f"{spec.ref} is registered already; give it a new version, or add it with replace=True"
                )
            self._specs[spec.ref] = spec
            if current is None or version >= _version(current):
                self._newest[spec.name] = spec
            self._view = None
            self.version += 1
        return spec


def in_group(spec: ActionSpec, groups: set[str] | None, *, include_global: bool = True) -> bool:
    """Tell whether `spec` belongs to one of `groups`; `None` means all of them."""
    return groups is None or spec.flow_id in groups or (include_global and spec.flow_id is None)


def _check_schema(spec: ActionSpec, slot: Slot) -> None:
    try:
        _ = slot.validator
    except ValueError as error:
        raise RegistrationError(f"{spec.name!r}: the schema of {slot.name!r} is no JSON Schema: {error}") from error


def _check_undo(spec: ActionSpec, undo: ActionSpec) -> None:
    if missing := spec.cannot_undo_with(undo):
        inputs = ", ".join(slot.name for slot in spec.inputs) or "none"
        outputs = ", ".join(slot.name for slot in spec.outputs) or "none"
        raise RegistrationError(
            f"{spec.name!r}: its undo {undo.name!r} requires {', '.join(map(repr, missing))}, which nothing gives it; "
            f"a parameter is an input of {spec.name!r} ({inputs}), an output ({outputs}), "
            f"{', '.join(UNDO_WORDS)}, an ActionContext or a Resource, or has a default"
        )


def _version(spec: ActionSpec) -> Version:
    try:
        return Version(spec.version)
    except InvalidVersion:
        raise RegistrationError(
            f"{spec.name!r} has the version {spec.version!r}; write one like 1.2.0 (PEP 440)"
        ) from None
