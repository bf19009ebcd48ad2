"""Plans, questions and results in sentences for people: values are cut short, and secrets are left out."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from planner.catalog import ActionCatalog, ActionSpec
from planner.catalog.words import split_name
from planner.drafting import PlanResult
from planner.drafting.confidential import is_secret_name
from planner.drafting.language_model import encodable
from planner.errors import InvalidReference, PlannerError
from planner.execution import ExecutionResult, PendingInterrupt
from planner.execution.people import shown
from planner.plan import (
    CandidatePlan,
    Condition,
    PlanStep,
    Reference,
    Template,
    ValidationIssue,
    build_graph,
    parse_text,
    resolve_step,
)
from planner.plan.difference import COMPARISONS

SHOWN_CHARS = 200
"""Of one value."""
SHOWN_LINES = 25
"""Of a list: steps, outputs, actions."""
SHOWN_FAULTS = 3
LONGEST_TITLE = 90
LONGEST_ANSWER = 20_000
"""Characters of what a model or a function of the application says."""

EFFECTS = {"write": "changes data", "external": "acts outside"}

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def cleaned(text: str) -> str:
    """Return `text` without control characters and halves of surrogate pairs, which no terminal or store takes."""
    return _UNPRINTABLE.sub("", encodable(text.replace("\r\n", "\n").replace("\r", "\n"))).strip()


def cut(text: str, most: int = SHOWN_CHARS) -> str:
    """Return `text`, or its beginning with a mark that there is more."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def value_text(value: Any, secrets: Mapping[str, str] | None = None) -> str:
    """Write a value for a person: texts as they are, all else as JSON."""
    plain = shown(value, secrets or {})
    return cut(plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, default=str))


def title_of(spec: ActionSpec) -> str:
    """Say what an action does: the first sentence of its description, else its name in words."""
    first = re.split(r"(?<=[.!?])\s|\n", spec.description.strip(), maxsplit=1)[0].rstrip(". ")
    return cut(" ".join(first.split()) or split_name(spec.name).replace("_", " "), LONGEST_TITLE)


def abilities(specs: Sequence[ActionSpec], most: int = SHOWN_LINES) -> str:
    """List what can be done, or say that nothing can."""
    if not specs:
        return "There is nothing that I may do here."
    lines = [f"- {title_of(spec)} ({spec.name})" for spec in specs[:most]]
    left = [f"- and {len(specs) - most:,} more"] if len(specs) > most else []
    return "\n".join(["I can:", *lines, *left])


# ---------------------------------------------------------------------------------------------------------------- plans


def plan_text(plan: CandidatePlan, catalog: ActionCatalog, inputs: Mapping[str, Any]) -> str:
    """Return the steps of a plan as numbered lines, with what they are given and what they do to the world."""
    numbers = {step_id: at for at, step_id in enumerate(build_graph(plan).order, start=1)}
    steps = sorted(plan.steps, key=lambda step: numbers.get(step.id, len(numbers)))
    lines = [f"{at}. {_step_text(step, catalog, inputs, numbers)}" for at, step in enumerate(steps, start=1)]
    left = [f"… and {len(lines) - SHOWN_LINES:,} more steps"] if len(lines) > SHOWN_LINES else []
    return "\n".join([*lines[:SHOWN_LINES], *left])


def _step_text(step: PlanStep, catalog: ActionCatalog, inputs: Mapping[str, Any], numbers: Mapping[str, int]) -> str:
    spec = _spec(step, catalog)
    given = "; ".join(
        f"{split_name(name).replace('_', ' ')}: {_input_text(name, value, inputs, numbers)}"
        for name, value in step.inputs.items()
        if value is not None
    )
    notes = [f"for each of {_input_text('', step.for_each, inputs, numbers)}"] if step.for_each is not None else []
    notes += [_condition_text(step.when, numbers)] if step.when is not None else []
    if spec is not None:
        notes += _effects(spec)
    about = title_of(spec) if spec else (step.action or step.action_ref or step.id)
    told = f"{about} ({given})" if given else about
    return f"{told} – {', '.join(notes)}" if notes else told


def _condition_text(when: Condition, numbers: Mapping[str, int]) -> str:
    compared = "" if when.op in ("truthy", "exists") else f" {_input_text('', when.value, {}, numbers)}"
    return f"only if {_input_text('', when.ref, {}, numbers)} {COMPARISONS[when.op]}{compared}"


def _effects(spec: ActionSpec) -> list[str]:
    policy = spec.policy
    effect = EFFECTS.get(policy.effect)
    if effect is None:
        return ["asks first"] if policy.approval else []
    undo = "can be undone" if policy.undo is not None else "cannot be undone"
    return [effect, undo, *(["asks first"] if policy.approval else [])]


def _input_text(name: str, value: Any, inputs: Mapping[str, Any], numbers: Mapping[str, int]) -> str:
    if not isinstance(value, str):
        return value_text(value)
    try:
        parsed = parse_text(value)
    except InvalidReference:
        return value_text(value)
    parts = parsed.parts if isinstance(parsed, Template) else (parsed,)
    text = "".join(part if isinstance(part, str) else _reference(part, inputs, numbers) for part in parts)
    return "•••" if is_secret_name(name) and not isinstance(parsed, Reference) else value_text(text)


def _reference(reference: Reference, inputs: Mapping[str, Any], numbers: Mapping[str, int]) -> str:
    match reference:
        case Reference(root="item"):
            return "that one"
        case Reference(root="user", path=(str(key), *rest)):
            known = not rest and key in inputs and not is_secret_name(key)
            return value_text(inputs[key]) if known else f"your {split_name(key).replace('_', ' ')}"
        case _:
            return f"what step {numbers.get(reference.root, reference.root)} gives"


def _spec(step: PlanStep, catalog: ActionCatalog) -> ActionSpec | None:
    try:
        return resolve_step(step, catalog)
    except (PlannerError, ValueError):
        return None


def specs_of(plan: CandidatePlan, catalog: ActionCatalog) -> list[ActionSpec]:
    """Return the actions of a plan that the catalog has."""
    return [spec for step in plan.steps if (spec := _spec(step, catalog)) is not None]


# ------------------------------------------------------------------------------------------------------- why no plan


def why_no_plan(planned: PlanResult, specs: Sequence[ActionSpec]) -> str:
    """Say why nothing came of a goal; `specs` is what can be done."""
    issues = planned.validation.issues if planned.validation is not None else []
    kinds = {issue.kind for issue in issues}
    last = planned.events[-1].message if planned.events else None
    if last is not None and "tokens allowed for this draft are used up" in last:
        return "I stopped before there was a plan: the tokens allowed for this draft are used up. Raise max_tokens."
    if "model_unavailable" in kinds:
        return f"The language model does not answer, so there is no plan: {_messages(issues, 'model_unavailable')}"
    if "forbidden_action" in kinds:
        return f"I may not do that for you: {_messages(issues, 'forbidden_action')}."
    if planned.unreachable:
        return f"Nothing that I can do gives {', '.join(planned.unreachable[:SHOWN_FAULTS])}.\n{abilities(specs)}"
    if not issues or any(issue.kind in ("unknown_action", "empty_plan") for issue in issues):
        return f"I have nothing that does this. {abilities(specs)}"
    return f"I found no plan that works: {_messages(issues)}. Say it in other words, or in smaller parts."


def _messages(issues: Iterable[ValidationIssue], kind: str | None = None) -> str:
    told = dict.fromkeys(cut(issue.message, 300) for issue in issues if kind is None or issue.kind == kind)
    return "; ".join(list(told)[:SHOWN_FAULTS])


def why_not_run(issues: Iterable[ValidationIssue]) -> str:
    """Say why a plan that was there is not run."""
    found = [issue for issue in issues if issue.is_structural]
    forbidden = [issue for issue in found if issue.kind == "forbidden_action"]
    if forbidden:
        return f"I may not do that for you: {_messages(forbidden)}. Nothing was done."
    return f"This plan cannot be run: {_messages(found)}. Nothing was done."


# -------------------------------------------------------------------------------------------------------------- results


def result_text(
    result: ExecutionResult, plan: CandidatePlan | None, catalog: ActionCatalog, secrets: Mapping[str, str]
) -> str:
    """Say what became of a run that has ended."""
    if result.validation is not None and result.validation.has_structural_errors:
        return why_not_run(result.validation.issues)
    if result.ok:
        return _outputs_text(result.outputs, secrets)
    begin = "The run was stopped" if result.status == "cancelled" else "It did not work"
    lines = [f"{begin}: {_failure(result, plan, catalog)}"]
    for status, words in (("undone", "Undone"), ("left", "Not undone"), ("failed", "Could not be undone")):
        steps = [name for name, undo in result.compensation.items() if undo.status == status]
        lines += [f"{words}: {_step_titles(steps, plan, catalog)}."] if steps else []
    unknown = [name for name, undo in result.compensation.items() if undo.status == "unknown"]
    if unknown:
        lines.append(f"Please look whether this took effect: {_step_titles(unknown, plan, catalog)}.")
    return "\n".join(lines)


def _outputs_text(outputs: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    told = {name: value for name, value in outputs.items() if value is not None}
    if not told:
        return "Done."
    if isinstance(told.get("result"), Mapping) and len(told) == 1:
        told = cast("dict[str, Any]", dict(told["result"]))  # a field a line
    if len(told) == 1:
        ((name, value),) = told.items()
        text = value_text("•••" if is_secret_name(name) else value, secrets)
        return f"Done: {text}" if name == "result" else f"Done. {name}: {text}"
    lines = [
        f"- {name}: {value_text('•••' if is_secret_name(name) else value, secrets)}"
        for name, value in list(told.items())[:SHOWN_LINES]
    ]
    left = [f"- and {len(told) - SHOWN_LINES:,} more"] if len(told) > SHOWN_LINES else []
    return "\n".join(["Done.", *lines, *left])


def _failure(result: ExecutionResult, plan: CandidatePlan | None, catalog: ActionCatalog) -> str:
    failed = [one for one in result.outcomes.values() if one.status in ("failed", "unknown")]
    if failed:
        told = (f"{_step_titles([one.step_id], plan, catalog)} failed with {cut(_why(one), 300)}" for one in failed)
        return "; ".join(list(told)[:SHOWN_FAULTS])
    first = next((event for event in result.errors if event.error), None)
    if first is None:
        return result.status
    named = f"{_step_titles([first.step_id], plan, catalog)} failed with " if first.step_id else ""
    return f"{named}{cut(first.error or '', 300)}"


def _why(outcome: Any) -> str:
    return f"{outcome.error_type}: {outcome.error}" if outcome.error else outcome.error_type or outcome.status


def _step_titles(steps: Sequence[str], plan: CandidatePlan | None, catalog: ActionCatalog) -> str:
    titles: list[str] = []
    for name in steps:
        step = plan.step(name) if plan is not None else None
        spec = _spec(step, catalog) if step is not None else None
        titles.append(f"{name!r} ({title_of(spec)})" if spec is not None else repr(name))
    return ", ".join(titles)


def question_of(asked: PendingInterrupt, more: int = 0) -> str:
    """Write what a run asks a person; `more` further questions follow it."""
    value: Any = asked.value
    text = asked.message or (value if isinstance(value, str) else value_text(value))
    about = ""
    if asked.kind == "approval" and isinstance(value, Mapping):
        inputs = cast("Mapping[str, Any]", value).get("inputs")
        about = f"\n{value_text(inputs)}" if inputs else ""
    hint = {"approval": "Say yes or no.", "unknown": "Say retry, succeeded or failed."}.get(asked.kind, "")
    rest = f" ({more} more after this one)" if more else ""
    return f"{cut(text, 1000)}{about}{f'{chr(10)}{hint}' if hint else ''}{rest}"
