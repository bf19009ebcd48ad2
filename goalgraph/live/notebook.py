"""A run in a notebook, as it goes: the plan's picture, coloured by the states of its steps, updated in its place."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from importlib import import_module
from typing import Any

from goalgraph.live.questions import asked, wanted
from goalgraph.live.states import LiveRun
from goalgraph.live.words import MARKS, cut, seconds, visible
from planner.events import ExecutionEvent
from planner.plan import CandidatePlan

Bundle = dict[str, str]
NOTE_CHARS = 160


def in_notebook() -> bool:
    """Whether a kernel shows what is displayed; IPython is not imported for the question."""
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookPicture:
    """Shows the events of one run in the output of a cell.

    Args:
        plan: What is run.
        display: Shows a bundle of MIME types, and returns what replaces it by another; IPython's by default.
    """

    def __init__(
        self, plan: CandidatePlan, display: "Callable[[Bundle], Callable[[Bundle], None]] | None" = None
    ) -> None:
        self.run = LiveRun(plan)
        self._update = (display or _ipython)(bundle(self.run, datetime.now(UTC)))

    def __call__(self, event: ExecutionEvent, /) -> None:
        """Take one event in."""
        self.run.take(event)

    def refresh(self) -> None:
        """Show how the run is now."""
        self._update(bundle(self.run, datetime.now(UTC)))


def bundle(run: LiveRun, now: datetime) -> Bundle:
    """Return a run as a notebook shows it, and as words for whoever cannot show that."""
    mark, _ = MARKS[run.status]
    took = run.took(now)
    told = f"{mark} {run.status}{'' if took is None else f', {seconds(took)}'}: {run.summary}"
    lines = [f"<b>{escape(told)}</b>"]
    for question in run.questions.values():
        how = f"await handle.answer(…, {question.id!r})"
        wants = f" ({wanted(question)})" if question.schema is not None else ""
        words = cut(visible(f"{question.step_id} asks: {asked(question)}{wants}"), NOTE_CHARS)
        lines.append(f"? {escape(words)} <code>{escape(how)}</code>")
    lines += [
        f"{MARKS[step.status][0]} {escape(cut(visible(f'{step.id}: {step.note}'), NOTE_CHARS))}"
        for step in run.steps.values()
        if step.note and step.status in ("running", "failed", "unknown", "cancelled")
    ][:10]
    if run.error:
        lines.append(escape(cut(visible(run.error), NOTE_CHARS)))
    words = "".join(
        f'<div style="font:13px ui-sans-serif,system-ui,sans-serif;margin:.2em 0">{one}</div>' for one in lines
    )
    return {"text/html": f"{run.plan.draw(run.states).svg}{words}", "text/plain": told}


def _ipython(first: Bundle) -> Callable[[Bundle], None]:
    display: Any = import_module("IPython.display").display  # where there is a kernel there is IPython
    shown: Any = display(first, raw=True, display_id=True)

    def update(changed: Bundle) -> None:
        shown.update(changed, raw=True)

    return update
