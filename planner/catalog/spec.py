"""What the catalog knows of one action: its slots, how it is called, and the rules it is called under."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

from langgraph.types import RetryPolicy

from planner.catalog.slot import Slot
from planner.context import RequestIdentity
from planner.errors import InvalidRef

ActionKind = Literal["action", "flow"]
Effect = Literal["read", "write", "external"]
Idempotency = Literal["yes", "keyed", "no"]

ONE_ATTEMPT = RetryPolicy(max_attempts=1)

SEED_KINDS: dict[str, ActionKind] = {"graphfn": "action", "graph": "flow", "action": "action", "flow": "flow"}
"""The kinds that a reference may name; aethergraph's words stand for ours."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Marks a parameter that is given by the application, not by the plan: `db: Annotated[Pool, Resource("db")]`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call is expected to take; `estimate` adds these up."""

    amount: float = 0.0
    """In whatever unit the application counts money."""
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`calls` calls every `per` seconds in the long run, over all runs of one planner.

    After a pause up to `calls` may follow each other at once; then they come as they would leak from a bucket.
    """

    calls: float
    per: float = 1.0


class ProgressReport(Protocol):
    """Receives how far a step is: a share between 0 and 1, or `None`, and a word about it."""

    def __call__(self, progress: float | None, message: str | None, /) -> None:
        """Take note of it; may be called from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionContext:
    """What an action may know about the call it is in; ask for it with a parameter of this type."""

    run_id: str
    step_id: str
    attempt: int
    """1 for the first."""
    idempotency_key: str
    """`run:revision:step[:item]`; the same for every attempt of the step, also after a crash."""
    identity: RequestIdentity
    on_report: ProgressReport = field(repr=False)

    def report(self, progress: float | None = None, message: str | None = None) -> None:
        """Tell how far the step is; listeners see it as a `step_progress` event."""
        self.on_report(progress, message)


class ActionCall(Protocol):
    """Runs an action once: typed arguments in, whatever it returned out."""

    def __call__(
        self, inputs: Mapping[str, Any], context: ActionContext, resources: Mapping[str, Any], /
    ) -> Awaitable[Any]:
        """Call it with its inputs by name, the call's context, and what the application provides."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPolicy:
    """The rules an action is called under, as `@action` takes them."""

    retry: RetryPolicy = ONE_ATTEMPT
    timeout: timedelta | None = None
    """For each attempt; `None` leaves it to `Limits.step_timeout`."""
    undo: Callable[..., Any] | str | None = None
    effect: Effect = "read"
    idempotent: Idempotency = "yes"
    approval: bool = False
    roles: frozenset[str] = frozenset()
    """Who may call it: an identity with any of these roles; empty means everybody."""
    cost: Cost = Cost()
    max_concurrency: int | None = None
    """Calls of this action that one run makes at the same time."""
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One version of one action or flow."""

    name: str
    ref: str
    """`kind:name@version`."""
    kind: ActionKind
    version: str
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    """One `result` for a plain return value, or one a field for a model, dataclass or TypedDict."""
    description: str = ""
    tags: tuple[str, ...] = ()
    flow_id: str | None = None
    """The group it belongs to; `None` means every group."""
    policy: ActionPolicy = field(default=ActionPolicy(), compare=False, repr=False)
    call: ActionCall | None = field(default=None, compare=False, repr=False)
    """`None` for an action that is only described, so it can be planned with but not run."""
    returns: Slot | None = field(default=None, compare=False, repr=False)
    """The whole return value, which `${step}` stands for."""
    single_output: bool = True
    """Whether the whole value is the one output `result`, and not an object with an output a field."""

    def input(self, name: str) -> Slot | None:
        """Return the input called `name`."""
        return next((slot for slot in self.inputs if slot.name == name), None)

    def output(self, name: str) -> Slot | None:
        """Return the output called `name`."""
        return next((slot for slot in self.outputs if slot.name == name), None)

    def allows(self, identity: RequestIdentity) -> bool:
        """Tell whether `identity` may call this action."""
        return not self.policy.roles or not self.policy.roles.isdisjoint(identity.roles)


def make_ref(kind: ActionKind, name: str, version: str) -> str:
    """Return `kind:name@version`."""
    return f"{kind}:{name}@{version}"


def parse_ref(ref: str) -> tuple[ActionKind, str, str]:
    """Split `kind:name@version`; a missing version is `latest`.

    Raises:
        InvalidRef: the text has no known kind or no name.
    """
    kind, colon, rest = ref.partition(":")
    name, _, version = rest.rpartition("@") if "@" in rest else (rest, "", "latest")
    if not colon or not name or kind not in SEED_KINDS:
        raise InvalidRef(ref)
    return SEED_KINDS[kind], name, version or "latest"
