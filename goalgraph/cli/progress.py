"""How a run goes, as it goes: a live table of the steps on a terminal, a line for each that ends anywhere else."""

from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from goalgraph.cli.show import seconds
from planner.events import ExecutionEvent
from planner.plan import CandidatePlan, build_graph

State = Literal["open", "running", "done", "failed", "skipped"]

MARKS: dict[State, tuple[str, str]] = {
    "open": ("·", "dim"),
    "running": ("▸", "cyan"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "yellow"),
}
NOTE_CHARS = 100


@dataclass(slots=True)
class StepLine:
    """One step in the table."""

    step_id: str
    action: str
    state: State = "open"
    note: str = ""
    items: int | None = None
    """Of a mapped step."""
    started: float = 0.0
    took: float | None = None


class RunProgress:
    """Shows the events of one run; a context manager, and the listener to give as `on_event`."""

    def __init__(self, plan: CandidatePlan, console: Console) -> None:
        order = build_graph(plan).order
        actions = {step.id: step.action or step.action_ref or "" for step in plan.steps}
        self._lines = {step_id: StepLine(step_id, actions[step_id]) for step_id in order}
        self._console = console
        self._spinner = Spinner("dots", style="cyan")
        self._live = None
        if console.is_terminal:
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=10, redirect_stdout=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: ExecutionEvent, /) -> None:
        """Take one event in."""
        line = self._lines.get(event.step_id or "")
        if line is None:
            return
        match event.phase:
            case "step_start":
                line.state, line.started = "running", monotonic()
                line.items = event.details.get("items")
            case "step_progress":
                line.note = event.message or _share(event)
            case "step_retry":
                line.note = f"again: {event.error or event.message or ''}"
                self._tell(line)
            case "step_success":
                self._end(line, "done", "" if line.items is None else f"{line.items} items")
            case "step_failure":
                self._end(line, "failed", event.error or event.message or "")
            case "step_skipped":
                self._end(line, "skipped", event.message or "")
            case _:
                return

    def _end(self, line: StepLine, state: State, note: str) -> None:
        line.state, line.note = state, note
        line.took = monotonic() - line.started if line.started else None
        self._tell(line)

    def _tell(self, line: StepLine) -> None:
        if self._live is None:
            mark, style = MARKS[line.state]
            took = "" if line.took is None else f"  {seconds(line.took)}"
            self._console.print(
                Text.assemble((f"{mark} ", style), line.step_id, (took, "dim"), f"  {line.note}".rstrip())
            )

    def _table(self) -> RenderableType:
        """Draw the steps; of more than fit on the screen, those that are under way and those that went wrong."""
        lines: Iterable[StepLine] = self._lines.values()
        room = max(5, self._console.height - 4)
        hidden = len(self._lines) - room
        if hidden > 0:
            lines = [line for line in lines if line.state in ("running", "failed")][:room]
        table = Table.grid(padding=(0, 2, 0, 0))
        for line in lines:
            mark, style = MARKS[line.state]
            took = monotonic() - line.started if line.state == "running" else line.took
            note = Text(line.note[:NOTE_CHARS], style="red" if line.state == "failed" else "dim", overflow="ellipsis")
            table.add_row(
                self._spinner if line.state == "running" else Text(mark, style=style),
                Text(line.step_id, style="bold" if line.state == "running" else ""),
                Text(line.action if line.action != line.step_id else "", style="dim"),
                Text("" if took is None else seconds(took), style="dim", justify="right"),
                note,
            )
        if hidden > 0:
            done = sum(line.state == "done" for line in self._lines.values())
            table.add_row("", Text(f"{done:,} of {len(self._lines):,} steps done", style="dim"))
        return table


def _share(event: ExecutionEvent) -> str:
    if "of" in event.details:
        return f"{event.details['items']} of {event.details['of']}"
    return "" if event.progress is None else f"{event.progress:.0%}"
