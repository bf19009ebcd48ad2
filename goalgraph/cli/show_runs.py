"""Runs, their events and answers of the archive as people read them."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from goalgraph.cli.show import outputs_table
from goalgraph.live.questions import question_details
from goalgraph.live.view import HowToAnswer, utc_now
from goalgraph.live.words import MARKS, seconds, short
from planner.execution import RunEvent, RunRecord, StepState
from planner.execution.outcome import UndoOutcome
from planner.runs.access import open_questions
from storage.protocols import Table as Answer

MOST_ROWS = 200
OUR_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHORT_ID = 13
"""The part of a UUIDv7 that is the time, in milliseconds."""
GOAL_CHARS = 60


def runs_table(runs: Sequence[RunRecord]) -> RenderableType:
    """List runs; of an id as much as it takes to tell it from the others."""
    table = _table("Run", "Status", "Started", "Took", "Steps", "Goal")
    ids = [run.id for run in runs]
    for run in runs:
        mark, style = MARKS[run.status]
        goal = run.goal if len(run.goal) <= GOAL_CHARS else f"{run.goal[: GOAL_CHARS - 1]}…"
        steps = f"{run.usage.steps} of {len(run.plan.get('steps', ()))}"
        table.add_row(
            Text(_short_id(run.id, ids), style="bold cyan"),
            Text(f"{mark} {run.status}", style=style),
            Text(f"{run.started_at.astimezone():%b %d %H:%M}"),
            Text(_took(run), style="dim"),
            Text(steps, style="dim"),
            Text(goal or run.plan_id),
        )
    return table


def run_details(run: RunRecord, steps: Mapping[str, StepState], how: HowToAnswer) -> RenderableType:
    """Show one run: what it was, where each step is, what it asks, and what it returned or what failed.

    Args:
        run: Its record.
        steps: Where each step is.
        how: Says what to type to answer a question.
    """
    mark, style = MARKS[run.status]
    facts = {
        "goal": run.goal,
        "plan": run.plan_id,
        "started": _when(run.started_at),
        "ended": "" if run.finished_at is None else _when(run.finished_at),
        "session": run.session_id,
        "agent": run.agent_id,
        "app": run.app_id,
        "within": run.parent,
        "tags": ", ".join(run.tags),
        "attempt": str(run.attempt) if run.attempt > 1 else "",
        "reason": run.reason,
        "callback": run.callback_error and f"on_complete failed: {run.callback_error}",
        "tokens": f"{run.usage.tokens:,}" if run.usage.tokens else "",
        "cost": f"{run.usage.amount:g}" if run.usage.amount else "",
        "inputs": ", ".join(f"{name}={short(value)}" for name, value in run.inputs.items()),
    }
    head = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts.items():
        if value:
            head.add_row(Text(name, style="dim"), Text(value))
    parts: list[RenderableType] = [
        Text.assemble((f"{mark} {run.status}", f"bold {style}"), f"  {run.id}", (f"  {_took(run)}", "dim")),
        head,
        steps_table(run, steps),
    ]
    parts += [Text.assemble(("✗ ", "red"), error) for error in run.errors]
    parts += [_undo_line(undo) for undo in run.compensation.values()]
    parts += [question_details(question, how(question), utc_now()) for question in open_questions(run)]
    if run.outputs:
        parts.append(outputs_table(run.outputs))
    parts += [Text(f"{name} is not in the record: {why}", style="dim") for name, why in run.left_out.items()]
    return Group(*parts)


def _undo_line(undo: UndoOutcome) -> Text:
    if undo.status == "undone":
        return Text.assemble(("↶ ", "yellow"), (undo.step_id, "bold"), " was undone")
    why = f"{undo.error_type}: {undo.error}" if undo.error_type else undo.error or ""
    mark = ("✗ ", "red") if undo.open else ("– ", "yellow")
    return Text.assemble(mark, (undo.step_id, "bold"), f" was not undone: {why}")


def steps_table(run: RunRecord, steps: Mapping[str, StepState]) -> RenderableType:
    """List the steps of a run with their last state."""
    actions = {step["id"]: step.get("action") or step.get("action_ref") or "" for step in run.plan.get("steps", ())}
    table = _table("", "Step", "Action", "Took", "Attempts", "")
    for step_id, state in steps.items():
        mark, style = MARKS[state.status]
        why = f"{state.error_type}: {state.error}" if state.error_type else state.error or ""
        table.add_row(
            Text(mark, style=style),
            Text(step_id, style="bold"),
            Text(actions.get(step_id, ""), style="dim"),
            Text("" if state.seconds is None else seconds(state.seconds), style="dim", justify="right"),
            Text(str(state.attempts) if state.attempts > 1 else "", style="dim"),
            Text(why, style="red" if state.error_type else "dim"),
        )
    return table


def events_table(events: Sequence[RunEvent]) -> RenderableType:
    """List events in order."""
    table = _table("#", "Time", "What", "Step", "Took", "")
    for event in events:
        told = event.error or event.message or ""
        if event.progress is not None:
            told = f"{event.progress:.0%}  {told}".rstrip()
        table.add_row(
            Text(str(event.seq), style="dim"),
            Text(f"{event.at.astimezone():%H:%M:%S.%f}"[:-3], style="dim"),
            Text(event.phase, style="red" if event.error else ""),
            Text(event.step_id or "", style="bold"),
            Text("" if event.duration_ms is None else seconds(event.duration_ms / 1000), style="dim"),
            Text(told),
        )
    return table


def answer_table(answer: Answer) -> RenderableType:
    """Show the rows that the archive answered."""
    table = _table(*answer.columns)
    for row in answer.rows[:MOST_ROWS]:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    rest = len(answer.rows) - MOST_ROWS
    return Group(table, Text(f"… and {rest:,} more rows; --json has all", style="dim")) if rest > 0 else table


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in headings:
        table.add_column(Text(heading), overflow="fold", no_wrap=heading in ("Run", "Status", "Started", "Took"))
    return table


def _short_id(run_id: str, ids: Sequence[str]) -> str:
    """Cut an id that we made, as it can be given to other commands; ids that people gave stay whole."""
    if not OUR_ID.fullmatch(run_id):
        return run_id
    others = [other for other in ids if other != run_id]
    lengths = range(SHORT_ID, len(run_id))
    return next((run_id[:at] for at in lengths if not any(one.startswith(run_id[:at]) for one in others)), run_id)


def _when(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _took(run: RunRecord) -> str:
    return "" if run.finished_at is None else seconds((run.finished_at - run.started_at).total_seconds())
