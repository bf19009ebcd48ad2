"""`@action`: marks a function as something a plan may do, with the rules it is called under."""

import asyncio
import contextlib
import contextvars
import inspect
import re
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar, overload

from langgraph.types import RetryPolicy

from planner.catalog.signature import Signature, read_signature, unwrapped
from planner.catalog.spec import (
    ActionCall,
    ActionContext,
    ActionPolicy,
    ActionSpec,
    Approval,
    Cost,
    Effect,
    Idempotency,
    Rate,
    make_ref,
)
from planner.catalog.values import Codecs
from planner.errors import MissingResource

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_VERSION = "0.1.0"
_MARK = "__goalgraph_action__"


@dataclass(frozen=True, slots=True)
class ActionOptions:
    """What `@action` was given; becomes an `ActionSpec` when a catalog registers the function."""

    name: str = ""
    version: str = DEFAULT_VERSION
    description: str | None = None
    tags: tuple[str, ...] = ()
    flow_id: str | None = None
    policy: ActionPolicy = field(default_factory=ActionPolicy)
    names: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Local names that annotations given as text may mean."""


@overload
def action(function: F, /) -> F: ...
@overload
def action(
    *,
    name: str | None = None,
    version: str = DEFAULT_VERSION,
    description: str | None = None,
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
) -> Callable[[F], F]: ...
def action(  # noqa: PLR0913 - what an action can be told
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    version: str = DEFAULT_VERSION,
    description: str | None = None,
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
) -> F | Callable[[F], F]:
    """Mark a function as an action; it stays the same function and can be called as before.

    Parameters become inputs, the return annotation the outputs, the docstring's first paragraph the description. One of
    type `ActionContext` receives the call's context, one marked `Resource("name")` what the application provides.

    Args:
        function: The function, when the decorator is used without parentheses.
        name: What plans call it; the function's name by default.
        version: A PEP 440 version; the newest is offered to the planner, all stay callable.
        description: In place of the docstring.
        tags: Words that help to find it.
        flow_id: The group it belongs to; `None` for every group.
        retry: A LangGraph `RetryPolicy`, or how many attempts to make in all. One by default.
        timeout: Seconds for each attempt; 10 minutes by default (`Limits.step_timeout`).
        undo: What takes its effect back when the run fails: a function, or the name or reference of an action of the
            catalog. It is called with what it asks for by parameter name: `inputs` and `outputs` (each a mapping),
            `result` (the whole value), `outcome` ("succeeded" or "unknown"), else an input of the step, else an output.
            A function that requires anything else is refused by the catalog. `outputs` and `result` are `None` when
            they are not known. An `ActionContext` holds the key `run:step:undo[:item]`. An action keeps its own
            timeout, roles and attempts; a plain function has three.
        effect: `read`, `write` (inside the application) or `external` (cannot be hidden from others).
        idempotent: `yes`, `keyed` (when it is given `ActionContext.idempotency_key`), or `no`.
        approval: A person has to agree before it runs; an `Approval` says who, until when, and what counts then.
        roles: Who may call it: identities with any of these.
        cost: What a call is expected to take; a plain number is an amount.
        max_concurrency: Calls that one run makes at the same time.
        rate: Calls a second, or a `Rate`, over all runs of one planner.
        compensates_unknown: `undo` is also called after a call that may or may not have taken effect.

    Raises:
        ValueError: an option is out of its range.
    """
    policy = make_policy(retry, timeout, undo, effect, idempotent, approval, roles, cost, max_concurrency, rate)
    policy = replace(policy, compensates_unknown=compensates_unknown)
    options = ActionOptions(name or "", version, description, _several(tags), flow_id, policy)
    here = inspect.currentframe()

    def mark(target: F) -> F:
        setattr(target, _MARK, replace(_named(options, target), names=_local_names(target, here and here.f_back)))
        return target

    return mark if function is None else mark(function)


def make_policy(  # noqa: PLR0913, PLR0917 - the options of @action, turned into one value here and nowhere else
    retry: RetryPolicy | int | None,
    timeout: float | timedelta | None,
    undo: Callable[..., Any] | str | None,
    effect: Effect,
    idempotent: Idempotency,
    approval: bool | Approval,  # noqa: FBT001 - as above
    roles: Sequence[str],
    cost: Cost | float | None,
    max_concurrency: int | None,
    rate: Rate | float | None,
) -> ActionPolicy:
    """Check the options of an action and gather them."""
    attempts = retry if isinstance(retry, RetryPolicy) else RetryPolicy(max_attempts=1 if retry is None else retry)
    limit = timeout if isinstance(timeout, timedelta) or timeout is None else timedelta(seconds=timeout)
    if attempts.max_attempts < 1:
        raise ValueError(f"retry counts all attempts, so it is at least 1, not {attempts.max_attempts}")
    if limit is not None and limit <= timedelta(0):
        raise ValueError(f"timeout must be more than 0 seconds, not {limit.total_seconds():g}")
    if effect not in ("read", "write", "external"):
        raise ValueError(f"effect is 'read', 'write' or 'external', not {effect!r}")
    if idempotent not in ("yes", "keyed", "no"):
        raise ValueError(f"idempotent is 'yes', 'keyed' or 'no', not {idempotent!r}")
    if max_concurrency is not None and max_concurrency < 1:
        raise ValueError(f"max_concurrency is at least 1, not {max_concurrency}")
    allowed = Rate(calls=rate) if isinstance(rate, int | float) else rate
    if allowed is not None and not (allowed.calls > 0 and allowed.per > 0):
        raise ValueError(f"rate is more than 0 calls in more than 0 seconds, not {allowed.calls:g} in {allowed.per:g}")
    return ActionPolicy(
        retry=attempts,
        timeout=limit,
        undo=undo,
        effect=effect,
        idempotent=idempotent,
        approval=approval,
        roles=frozenset(_several(roles)),
        cost=cost if isinstance(cost, Cost) else Cost(amount=cost or 0.0),
        max_concurrency=max_concurrency,
        rate=allowed,
    )


def is_action(value: object) -> bool:
    """Tell whether `value` was marked with `@action`."""
    return callable(value) and isinstance(getattr(value, _MARK, None), ActionOptions)


def options_of(function: Callable[..., Any]) -> ActionOptions:
    """Return what `@action` was given for a function, also below a `partial`, or the defaults for a plain one."""
    function = unwrapped(function)
    marked = getattr(function, _MARK, None)
    if isinstance(marked, ActionOptions):
        return marked
    return _named(ActionOptions(), function)


def spec_from_function(function: Callable[..., Any], codecs: Codecs) -> ActionSpec:
    """Make the spec of a function, decorated or not.

    Raises:
        RegistrationError: an annotation can become neither a schema nor has a codec.
    """
    options = options_of(function)
    signature = read_signature(function, codecs, options.names)
    return ActionSpec(
        name=options.name,
        ref=make_ref("action", options.name, options.version),
        kind="action",
        version=options.version,
        inputs=signature.inputs,
        outputs=signature.outputs,
        description=options.description or "",
        tags=options.tags,
        flow_id=options.flow_id,
        policy=options.policy,
        call=_caller(function, signature),
        returns=signature.returns,
        single_output=signature.single_output,
    )


def _caller(function: Callable[..., Any], signature: Signature) -> ActionCall:
    asynchronous = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 -- an object whose __call__ is a coroutine function
    )

    async def call(inputs: Mapping[str, Any], context: ActionContext, resources: Mapping[str, Any]) -> Any:
        arguments = dict(inputs)
        if signature.context_parameter is not None:
            arguments[signature.context_parameter] = context
        for parameter, resource in signature.resources.items():
            arguments[parameter] = _resource(resources, resource)
        if asynchronous:
            return await function(**arguments)
        result = await in_thread(lambda: function(**arguments))
        return await result if inspect.isawaitable(result) else result

    return call


def _resource(resources: Mapping[str, Any], name: str) -> Any:
    if name not in resources:
        raise MissingResource(
            f"the action needs the resource {name!r}; pass it as open_planner(resources={{{name!r}: …}})"
        )
    return resources[name]


async def in_thread(work: Callable[[], Any]) -> Any:
    """Run `work` in a thread of its own that no exit of the process waits for.

    A pool would be filled by actions that hang, and joined when the interpreter stops.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if not done.done():  # the waiter may be gone: a thread cannot be stopped, so its result is dropped
            done.set_result(result) if error is None else done.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001 -- it is raised again where the thread is awaited
            failure = RuntimeError(f"{error!r} in a thread") if isinstance(error, StopIteration) else error
        with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="goalgraph-action", daemon=True).start()
    return await done


def _named(options: ActionOptions, function: Callable[..., Any]) -> ActionOptions:
    """Take what was not given from the function itself."""
    words = _first_paragraph(function) if options.description is None else options.description
    return replace(options, name=options.name or _plain_name(function), description=words)


def _several(words: Sequence[str]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words)  # "admin" is one role, not five


def _local_names(function: Callable[..., Any], frame: FrameType | None) -> dict[str, Any]:
    """Return the local names where a function is defined that its annotations mention, and keep nothing else alive."""
    if frame is None or frame.f_locals is frame.f_globals:
        return {}
    try:
        annotations = getattr(function, "__annotations__", {}).values()
    except NameError:  # from Python 3.14 on they are evaluated when asked for, and then need no names from here
        return {}
    mentioned = {word for text in annotations if isinstance(text, str) for word in re.findall(r"\w+", text)}
    return {name: value for name, value in frame.f_locals.items() if name in mentioned}


def _plain_name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _first_paragraph(function: Callable[..., Awaitable[Any] | Any]) -> str:
    text = inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n", 1)[0].split())
