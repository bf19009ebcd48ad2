"""Quick actions: functions that a user calls by name, without a plan."""

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from planner.context import RequestIdentity
from planner.dialogue.state import SessionState
from planner.errors import NotConfirmed, UnknownQuickAction
from planner.node_planner import NodePlanner

BUILT_IN = frozenset({"plan", "drop", "yes", "no", "help"})
"""Commands that every conversation has; no quick action may be called like one of them."""


@dataclass(frozen=True)
class QuickActionSpec:
    """What a quick action is called and does; the fields are aethergraph's."""

    id: str
    """Also its command: `/id`."""
    description: str
    """For people, and for the model that routes messages."""
    requires_confirmation: bool = False
    """Whether the user is asked before it runs."""
    action_ref: str | None = None
    """An action of the catalog. Without a handler it runs as a plan of one step: under its roles, approval and undo."""


@dataclass(kw_only=True)
class QuickActionContext:
    """What a quick action is given."""

    user_message: str
    argument: str = ""
    """What stands behind the name: of `/find Oslo`, `Oslo`."""
    session_state: SessionState = field(default_factory=SessionState)
    identity: RequestIdentity = field(default_factory=RequestIdentity)
    """Who asks; a handler that reaches anything for this user asks it for the roles itself."""
    planner: NodePlanner | None = None
    """Speaks for the same user and session."""
    confirmed: bool = False
    """Whether the user was asked and agreed."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a handler returns that has to ask first, about more than its argument says; it is called again on a yes."""

    text: str
    """The question."""
    argument: str
    """Exactly what is agreed to; `argument` of the second call."""


class QuickActionHandler(Protocol):
    """Does a quick action; what it returns is shown to the user. Sync or async; a sync one runs in a thread.

    One that is not confirmed may return a `Confirmation` instead of doing anything.
    """

    def __call__(self, *, context: QuickActionContext) -> Any:
        """Do it for `context`."""
        ...


class QuickActionRegistry:
    """Quick actions by id.

    Args:
        actions: Id → what it is.
        handlers: Id → what does it; an action with an `action_ref` needs none.

    Raises:
        ValueError: as `add`.
    """

    def __init__(
        self,
        actions: Mapping[str, QuickActionSpec] | None = None,
        handlers: Mapping[str, QuickActionHandler] | None = None,
    ) -> None:
        self.actions: dict[str, QuickActionSpec] = {}
        self.handlers: dict[str, QuickActionHandler] = {}
        given = handlers or {}
        for action_id, spec in (actions or {}).items():
            if action_id != spec.id:
                raise ValueError(f"the quick action {spec.id!r} is listed as {action_id!r}; give it one name")
            self.add(spec, given.get(action_id))
        if lost := given.keys() - self.actions.keys():
            raise ValueError(f"there are handlers for quick actions that are not listed: {', '.join(sorted(lost))}")

    def __len__(self) -> int:
        return len(self.actions)

    def add(self, spec: QuickActionSpec, handler: QuickActionHandler | None = None) -> None:
        """Add a quick action.

        Raises:
            ValueError: its id is taken, built in or not one word; or nothing would do it.
        """
        if not spec.id or spec.id.startswith("/") or any(character.isspace() for character in spec.id):
            raise ValueError(f"{spec.id!r} cannot be typed as a command; an id is one word, without a slash before it")
        if spec.id.casefold() in BUILT_IN | {known.casefold() for known in self.actions}:
            raise ValueError(f"there is a command /{spec.id} already; give the quick action another id")
        if handler is None and spec.action_ref is None:
            raise ValueError(f"nothing does the quick action {spec.id!r}; give it a handler or an action_ref")
        self.actions[spec.id] = spec
        if handler is not None:
            self.handlers[spec.id] = handler

    def get_spec(self, action_id: str) -> QuickActionSpec | None:
        """Return what a quick action is, or `None`."""
        return self.actions.get(action_id)

    def called(self, name: str) -> QuickActionSpec | None:
        """Return the quick action of a command, in whatever case that is written, or `None`."""
        return next((spec for spec in self.actions.values() if spec.id.casefold() == name.casefold()), None)

    def get_handler(self, action_id: str) -> QuickActionHandler | None:
        """Return what does a quick action, or `None`; call it through `run`, which asks for the confirmation."""
        return self.handlers.get(action_id)

    def describe(self) -> list[str]:
        """Return one line for each quick action, for help texts and for a model."""
        return [f"{spec.id}: {' '.join(spec.description.split())}" for spec in self.actions.values()]

    async def run(self, action_id: str, context: QuickActionContext, *, confirmed: bool = False) -> Any:
        """Do a quick action and return what its handler does.

        Args:
            action_id: Which.
            context: For whom, and with what.
            confirmed: Whether the user agreed to it, in words of their own, after being asked.

        Raises:
            UnknownQuickAction: there is none of this id with a handler.
            NotConfirmed: it needs the user's agreement, so it was not done.
        """
        spec, handler = self.get_spec(action_id), self.get_handler(action_id)
        if spec is None or handler is None:
            raise UnknownQuickAction(action_id, list(self.handlers))
        if spec.requires_confirmation and not confirmed:
            raise NotConfirmed(action_id)
        context = replace(context, confirmed=confirmed)
        call = handler if inspect.isroutine(handler) else handler.__call__
        if inspect.iscoroutinefunction(call):
            return await call(context=context)
        found = await asyncio.to_thread(call, context=context)
        return await found if inspect.isawaitable(found) else found
