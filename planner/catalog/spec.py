"""What the catalog knows of one action: its slots, how it is called, and the rules it is called under."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeVar, overload

from langgraph.types import RetryPolicy

from planner.catalog.slot import MISSING, JsonSchema, Slot
from planner.context import RequestIdentity
from planner.errors import InvalidRef, NobodyToAsk

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """How a person is asked before an action runs; `@action(approval=True)` is this with its defaults."""

    roles: Sequence[str] = ()
    """Who may agree: anybody of the tenant with one of these roles; without any, the owner of the run."""
    deadline: timedelta | None = None
    """How long to wait, from when it is asked."""
    on_timeout: Literal["refuse", "approve"] = "refuse"
    """What counts when nobody has answered by then."""
    message: str = ""
    """What the person reads first; a sentence made from the action's name by default."""

    def __post_init__(self) -> None:
        if isinstance(self.roles, str):
            object.__setattr__(self, "roles", (self.roles,))  # "admin" is one role, not five
        if self.deadline is not None and self.deadline <= timedelta(0):
            raise ValueError(f"an approval's deadline is more than 0 seconds, not {self.deadline.total_seconds():g}")
        if self.on_timeout not in ("refuse", "approve"):
            raise ValueError(f"on_timeout is 'refuse' or 'approve', not {self.on_timeout!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What an action asks a person, as `ActionContext.ask` was given it."""

    message: str
    schema: Any = None
    roles: Sequence[str] = ()
    deadline: timedelta | None = None
    default: Any = MISSING


class Asking(Protocol):
    """Puts a question to a person."""

    def __call__(self, question: Ask, /) -> Any:
        """Return the answer, or leave the action until there is one."""


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
    on_ask: Asking | None = field(default=None, repr=False)

    def report(self, progress: float | None = None, message: str | None = None) -> None:
        """Tell how far the step is; listeners see it as a `step_progress` event."""
        self.on_report(progress, message)

    @overload
    def ask(
        self,
        message: str,
        schema: type[T],
        *,
        roles: Sequence[str] = (),
        deadline: timedelta | None = None,
        default: Any = MISSING,
    ) -> T: ...
    @overload
    def ask(
        self,
        message: str,
        schema: JsonSchema | Any = None,
        *,
        roles: Sequence[str] = (),
        deadline: timedelta | None = None,
        default: Any = MISSING,
    ) -> Any: ...
    def ask(
        self,
        message: str,
        schema: Any = None,
        *,
        roles: Sequence[str] = (),
        deadline: timedelta | None = None,
        default: Any = MISSING,
    ) -> Any:
        """Ask a person, and return the answer; works in an async action and in the thread of a sync one.

        The run waits, and holds no process while it does. When it is answered, the action runs *again from its start*
        and this call returns the answer, as LangGraph's `interrupt` does: keep what comes before it free of effects.
        Several questions are asked one after the other, and answered in the order of the calls; none is asked twice.
        The question leaves the action as an exception, so let `langgraph.errors.GraphBubbleUp` pass.

        Args:
            message: What the person reads; secrets of the run are taken out of it.
            schema: What an answer has to be: a JSON Schema, or a type that pydantic knows, which the answer then has.
                Anything by default.
            roles: Who may answer: anybody of the tenant with one of these; without any, the owner of the run.
            deadline: How long to wait, from when it is asked first.
            default: What is returned when nobody has answered by then.

        Raises:
            AnswerTimeout: nobody answered by the deadline, and there is no `default`.
            InvalidAnswer: `default`, or an answer that nobody checked, does not fit `schema`.
            NobodyToAsk: the call is not part of a run that can wait.
        """
        if self.on_ask is None:
            raise NobodyToAsk(f"step {self.step_id!r} asks a person, and what calls it cannot wait for the answer")
        several = (roles,) if isinstance(roles, str) else tuple(roles)
        return self.on_ask(Ask(message=message, schema=schema, roles=several, deadline=deadline, default=default))


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
    compensates_unknown: bool = False
    """Whether `undo` may be called when it is not known if there is an effect to take back."""
    effect: Effect = "read"
    idempotent: Idempotency = "yes"
    approval: bool | Approval = False
    roles: frozenset[str] = frozenset()
    """Who may call it: an identity with any of these roles; empty means everybody."""
    cost: Cost = Cost()
    max_concurrency: int | None = None
    """Calls of this action that one run makes at the same time."""
    rate: Rate | None = None

    @property
    def wanted_approval(self) -> Approval | None:
        """How a person is asked before it runs; `None` when nobody is."""
        if isinstance(self.approval, Approval):
            return self.approval
        return Approval() if self.approval else None


UNDO_WORDS = ("inputs", "outputs", "result", "outcome")
"""What any undo may ask for by parameter name, beside the inputs and outputs of what it undoes."""


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

    def cannot_undo_with(self, undo: "ActionSpec") -> list[str]:
        """Return the inputs that `undo` requires and a call of this action has no value for."""
        known = {*UNDO_WORDS, *(slot.name for slot in (*self.inputs, *self.outputs))}
        return [slot.name for slot in undo.inputs if slot.required and slot.name not in known]

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
