"""How a step asks people: approval before it runs, questions of its action, and what became of a call in flight.

An approval and a decision are asked in a task of their own inside the step's, so that their answers are kept apart from
those of the action's own questions and are stored as soon as they are given. A question that waits is not asked anew
when the run goes on for another reason: what asked it does not even run.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from langgraph.errors import GraphInterrupt
from langgraph.types import interrupt

from planner.catalog import ActionSpec, Approval
from planner.catalog.spec import Ask
from planner.errors import ApprovalRefused, BindingError
from planner.execution.bind import resolve
from planner.execution.langgraph_tasks import answers_here, current_task_id, durable, pass_over_call, question_id
from planner.execution.people import (
    APPROVAL_SCHEMA,
    ask_value,
    deadline_after,
    question_value,
    read_answer,
    shown,
    unknown_schema,
    verdict,
)
from planner.execution.secrets import without
from planner.execution.state import RunState
from planner.plan import PlanStep

FIRST_ITEMS = 3
"""Of a mapped step, whose inputs a person is shown."""


async def approved(state: RunState, step: PlanStep, spec: ActionSpec, items: Sequence[Any] | None = None) -> None:
    """Ask a person whether the step may run, if its action or its effect wants that; `items` are what it maps over.

    Raises:
        ApprovalRefused: it may not.
    """
    approval = spec.policy.wanted_approval or (Approval() if spec.policy.effect in state.approve_effects else None)
    if approval is None:
        pass_over_call()  # so that another policy at the time of a resume does not lose what was begun
        return

    if items is None:
        of: dict[str, Any] = {"inputs": _inputs(state, step, None)}
    else:
        of = {"items": len(items), "inputs": [_inputs(state, step, item) for item in items[:FIRST_ITEMS]]}

    def value() -> dict[str, Any]:
        agreed = approval.on_timeout == "approve"
        return question_value(
            "approval",
            step.id,
            approval.message or f"May {spec.name} run?",
            schema=APPROVAL_SCHEMA,
            roles=approval.roles,
            deadline=deadline_after(approval.deadline, datetime.now(UTC)),
            on_timeout={"answer": {"approve": agreed, "reason": "nobody answered in time"}},
            about=_about(spec) | of,
        )

    answer = verdict(await _decision(state, f"{step.id}!approval", value))
    if not answer["approve"]:
        raise ApprovalRefused(answer["reason"] or f"a person did not agree to {spec.name}")


def raise_open_question(state: RunState) -> None:
    """Leave the current task when it asked something in an earlier life that has no answer yet.

    Raises:
        GraphInterrupt: the same question.
    """
    if state.acknowledgements is None:
        return
    found = state.acknowledgements.earlier.questions.get(question_id(answered(state)))
    if found is not None:
        raise GraphInterrupt((found,))


def answered(state: RunState) -> int:
    """Return how many of its questions the current task has the answers to."""
    stored = 0 if state.acknowledgements is None else state.acknowledgements.earlier.answers.get(current_task_id(), 0)
    return answers_here(stored)


class Questions:
    """What one call of an action asks, over all its attempts: each of them gets the same answers."""

    def __init__(self, state: RunState, step_id: str) -> None:
        self._state = state
        self._step_id = step_id
        self._answers: list[Any] = []

    def attempt(self) -> Callable[[Ask], Any]:
        """Return what asks for one attempt."""
        numbers = count()

        def ask(question: Ask) -> Any:
            number = next(numbers)
            if number == len(self._answers):
                value = without(ask_value(question, self._step_id, datetime.now(UTC)), self._state.secrets)
                self._answers.append(interrupt(value))
            return read_answer(question, self._step_id, self._answers[number])

        return ask


async def decided(state: RunState, step: PlanStep, spec: ActionSpec, name: str, item: Any) -> Mapping[str, Any] | None:
    """Write down that a call is about to be made, or say what became of it if an earlier life of the run had begun it.

    Args:
        state: The run.
        step: Whose call it is.
        spec: Its action, which must not run twice.
        name: Of the call: the step's id, with the number of the item for a mapped one.
        item: What the call is for, of a mapped step.

    Returns:
        `None` when the call is to be made, else a decision other than `retry`.
    """
    answers = answered(state)
    for retries in count():
        suffix = f"#{answers}.{retries}" if answers or retries else ""
        before = not suffix and _left(state, step.id, name)
        if not await _was_begun(state, name, answers, suffix, "" if before else state.process):
            return None
        when = "was called in an earlier attempt of the run" if before else "was in flight when the run stopped"

        def value(when: str = when) -> dict[str, Any]:
            return question_value(
                "unknown",
                step.id,
                f"{name}: {spec.name} {when}, and may or may not have taken effect",
                schema=unknown_schema(spec.returns),
                about=_about(spec) | {"call": name, "inputs": _inputs(state, step, item)},
            )

        decision = await _decision(state, f"{name}!unknown{suffix}", value)
        if decision["decision"] != "retry":
            return decision
    raise AssertionError("count() does not end")


def in_flight(state: RunState, step: PlanStep, name: str) -> bool:
    """Tell whether a call that is not made any more, because the run stops, may have taken effect in an earlier life.

    A person was asked about it and has not decided, or it had begun and did not wait for an answer.
    """
    if state.acknowledgements is None:
        return False
    earlier = state.acknowledgements.earlier
    if step.id in earlier.undecided:
        return True
    answers = answered(state)
    return (state.key(name), answers) in earlier.begun and question_id(answers) not in earlier.questions


async def _decision(state: RunState, name: str, value: Callable[[], dict[str, Any]]) -> Any:
    """Return what a person said, asked in a task of its own."""

    async def ask() -> dict[str, Any]:
        raise_open_question(state)
        return {"answer": interrupt(without(value(), state.secrets))}

    return (await durable(name, ask, state.acknowledgements))["answer"]


async def begin(state: RunState, name: str) -> None:
    """Write down that a call is about to be made that may be repeated, but does more than read."""
    answers = answered(state)
    await _was_begun(state, name, answers, f"#{answers}.0" if answers else "", state.process)


def _left(state: RunState, step_id: str, name: str) -> bool:
    """Tell whether a call may have taken effect in an earlier attempt."""
    left = state.left.get(step_id)
    return left is not None and not left.calls.isdisjoint((step_id, name))


async def _was_begun(state: RunState, name: str, answers: int, suffix: str, process: str) -> bool:
    async def intend() -> dict[str, Any]:
        return {"intent": state.key(name), "answers": answers, "process": process}

    found = await durable(f"{name}!intent{suffix}", intend, state.acknowledgements)
    return found["process"] != state.process


def _about(spec: ActionSpec) -> dict[str, Any]:
    undo, cost = spec.policy.undo, spec.policy.cost
    return {
        "action": spec.name,
        "ref": spec.ref,
        "effect": spec.policy.effect,
        "cost": {"amount": cost.amount, "seconds": cost.seconds, "tokens": cost.tokens},
        "undo": undo if isinstance(undo, str) or undo is None else getattr(undo, "__name__", type(undo).__name__),
    }


def _inputs(state: RunState, step: PlanStep, item: Any) -> Any:
    try:
        return shown(resolve(step.inputs, state.bindings, item, (step.id,)), state.secrets)
    except BindingError:  # the call itself will fail with it
        return shown(step.inputs, state.secrets)
