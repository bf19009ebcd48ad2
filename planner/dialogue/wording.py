"""What is said to people: what can be done, why something was not, what came of a run, and what it asks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from planner.catalog import ActionCatalog, ActionSpec
from planner.dialogue.review import ACTED_ON, effects_of, in_words, spec_of, title_of
from planner.dialogue.state import PendingQuestion
from planner.dialogue.values import cleaned, cut, one_line, shown_value
from planner.drafting import PlanResult
from planner.drafting.confidential import is_secret_name, redacted
from planner.drafting.signatures import name_text
from planner.errors import PlannerError
from planner.execution import ExecutionResult, PendingInterrupt
from planner.execution.secrets import redact
from planner.plan import CandidatePlan, ValidationIssue

SHOWN_LINES = 25
"""Of a list: outputs, actions."""
SHOWN_FAULTS = 3
LONGEST_RESULT = 2_000
"""Characters of a run's one text."""
LONGEST_ANSWER = 20_000
"""Characters of what a model or a function of the application says."""


def abilities(specs: Sequence[ActionSpec], most: int = SHOWN_LINES) -> str:
    """List what can be done, or say that nothing can."""
    if not specs:
        return "There is nothing that I may do here."
    lines = [f"- {title_of(spec)} ({spec.name})" for spec in specs[:most]]
    left = [f"- and {len(specs) - most:,} more"] if len(specs) > most else []
    return "\n".join(["I can:", *lines, *left])


def about(pending: PendingQuestion) -> str:
    """Say in a few words what was asked: the first line of it that says something."""
    first, _, rest = pending.text.partition("\n")
    return one_line(rest.partition("\n")[0] if rest and first.endswith(":") else first, 120)


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
    if any(issue.kind == "over_budget" and issue.details.get("limit") not in ("cost", "tokens") for issue in issues):
        return "The plan for this became larger than it may be. Say it in smaller parts."
    if "undecodable" in kinds:
        return "The language model wrote no plan for this that I can read. Say it in other words, or in smaller parts."
    if not issues or any(issue.kind in ("unknown_action", "empty_plan") for issue in issues):
        return f"I have nothing that does this. {abilities(specs)}"
    return f"I found no plan that works: {_messages(issues)}. Say it in other words, or in smaller parts."


def _messages(issues: Iterable[ValidationIssue], kind: str | None = None) -> str:
    told = dict.fromkeys(one_line(issue.message, 300) for issue in issues if kind is None or issue.kind == kind)
    return "; ".join(list(told)[:SHOWN_FAULTS])


def why_not_run(issues: Iterable[ValidationIssue]) -> str:
    """Say why a plan that was there is not run."""
    found = [issue for issue in issues if issue.is_structural]
    forbidden = [issue for issue in found if issue.kind == "forbidden_action"]
    if forbidden:
        return f"I may not do that for you: {_messages(forbidden)}. Nothing was done."
    return f"This plan cannot be run: {_messages(found)}. Nothing was done."


def not_here(issues: Iterable[ValidationIssue]) -> str:
    """Say which actions of a plan another catalog has, if nothing else is wrong with it; nothing otherwise."""
    found = [issue for issue in issues if issue.is_structural]
    if any(issue.kind != "unknown_action" for issue in found):
        return ""
    names = ", ".join(dict.fromkeys(cut(str(issue.details.get("action", issue.step_id)), 60) for issue in found))
    return (
        f"The plan needs what the catalog here does not have: {names}. Nothing was done, and it stays open: come back "
        "with the catalog that it was made for, or say no to drop it."
    )


def no_value_fits(never: Mapping[str, str]) -> str:
    """Say that nobody can give what a plan asks for: by key, what it would have to be at once."""
    told = "; ".join(f"{name_text(key)} would have to be {kind} at once" for key, kind in never.items())
    return f"This plan cannot be run: {told}. Nothing was done. Say it in other words, or in smaller parts."


# -------------------------------------------------------------------------------------------------------------- results


def result_text(
    result: ExecutionResult, plan: CandidatePlan | None, catalog: ActionCatalog, secrets: Mapping[str, str]
) -> str:
    """Say what became of a run that has ended."""
    if result.validation is not None and result.validation.has_structural_errors:
        return why_not_run(result.validation.issues)
    if result.ok:
        return _outputs_text(result.outputs, secrets)
    lines = [_failure(result, plan, catalog, secrets)]
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
        text = answer_text(value, secrets, name)
        return f"Done: {text}" if name == "result" else f"Done. {one_line(str(name))}: {text}"
    lines = [
        f"{one_line(str(name))}: {shown_value(str(name), value, secrets=secrets)}"
        for name, value in list(told.items())[:SHOWN_LINES]
    ]
    left = [f"and {len(told) - SHOWN_LINES:,} more"] if len(told) > SHOWN_LINES else []
    return "\n- ".join(["Done.", *lines, *left])


def answer_text(value: Any, secrets: Mapping[str, str] | None = None, name: str = "") -> str:
    """Write the one thing that something gave: a text as it stands, all else as any value."""
    if not isinstance(value, str) or is_secret_name(name):
        return shown_value(name, value, secrets=secrets)
    return cut(redact(redacted(cleaned(value)), secrets or {}), LONGEST_RESULT)


def _failure(
    result: ExecutionResult, plan: CandidatePlan | None, catalog: ActionCatalog, secrets: Mapping[str, str]
) -> str:
    failed = [one for one in result.outcomes.values() if one.status in ("failed", "unknown")]
    refused = [one for one in failed if one.error_type == "ApprovalRefused"]
    if refused and len(refused) == len(failed):
        titles = _step_titles([one.step_id for one in refused], plan, catalog)
        return f"This was not agreed to, so it was not done: {titles}."
    failures = [(one.step_id, _why(one)) for one in failed if one.error_type != "Cancelled"]
    if result.status == "cancelled" and not failures:
        return "The run was stopped."
    failures = failures or [(event.step_id, event.error) for event in result.errors if event.error][:1]
    told = [
        f"{f'{_step_titles([step], plan, catalog)} failed with ' if step else ''}"
        f"{one_line(redact(redacted(why), secrets), 300)}"
        for step, why in failures[:SHOWN_FAULTS]
    ]
    begin = "The run was stopped" if result.status == "cancelled" else "It did not work"
    return f"{begin}: {'; '.join(told) or result.status}"


def _why(outcome: Any) -> str:
    return f"{outcome.error_type}: {outcome.error}" if outcome.error else outcome.error_type or outcome.status


def _step_titles(steps: Sequence[str], plan: CandidatePlan | None, catalog: ActionCatalog) -> str:
    titles: list[str] = []
    for name in steps:
        step = plan.step(name) if plan is not None else None
        spec = spec_of(step, catalog) if step is not None else None
        titles.append(f"{name!r} ({title_of(spec)})" if spec is not None else repr(name))
    return ", ".join(titles)


def question_of(asked: PendingInterrupt, catalog: ActionCatalog, more: int = 0) -> str:
    """Write what a run asks a person; `more` further questions follow it."""
    value: Any = asked.value
    lines = [cut(asked.message or answer_text(value), 1000)]
    if asked.kind in ("approval", "unknown") and isinstance(value, Mapping):
        facts = cast("Mapping[str, Any]", value)
        lines = [] if lines == [f"May {facts.get('action')} run?"] else lines
        lines.append(_call_text(facts, catalog))
    hint = {"approval": "May I do this? Say yes or no.", "unknown": "Say retry, succeeded or failed."}
    lines += [hint[asked.kind]] if asked.kind in hint else []
    return "\n".join(filter(None, lines)) + (f" ({more} more after this one)" if more else "")


def _call_text(facts: Mapping[str, Any], catalog: ActionCatalog) -> str:
    """Write the call that a run asks about, as its steps are written in a plan."""
    try:
        spec = catalog.get_action(str(facts.get("ref")))
    except (PlannerError, ValueError):
        spec = None
    inputs, times = facts.get("inputs"), facts.get("items")
    calls = [_fields(one, spec) for one in cast("list[Any]", inputs if isinstance(inputs, list) else [inputs])]
    given = f" ({'), ('.join(calls)})" if any(calls) else ""
    if isinstance(times, int):
        first = f", the first {len(calls)} being" if times > len(calls) else ""
        given = f" {times:,} time{'' if times == 1 else 's'}{first}{given}"
    title = title_of(spec) if spec is not None else in_words(str(facts.get("action", "")))
    notes = [one for one in effects_of(spec) if one != "asks first"] if spec is not None else []
    return f"{title}{given}{' – ' if notes else ''}{', '.join(notes)}".strip()


def _fields(inputs: Any, spec: ActionSpec | None) -> str:
    if not isinstance(inputs, Mapping):
        return "" if inputs is None else shown_value("", inputs, most=ACTED_ON)
    schemas = {slot.name: slot.schema for slot in spec.inputs} if spec is not None else {}
    return "; ".join(
        f"{in_words(one_line(str(name)))}: {shown_value(str(name), value, schemas.get(str(name)), most=ACTED_ON)}"
        for name, value in cast("Mapping[Any, Any]", inputs).items()
        if value is not None
    )
