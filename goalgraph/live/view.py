"""A run on a terminal, as it goes: the picture of its plan or a list of its steps; a line for each event elsewhere."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from goalgraph.live.boxes import Sketch, bar, picture, sketch
from goalgraph.live.questions import question_details
from goalgraph.live.states import LiveRun, LiveStep
from goalgraph.live.words import MARKS, cut, seconds
from planner.events import ExecutionEvent
from planner.execution.outcome import PendingInterrupt
from planner.plan import CandidatePlan

NOTE_CHARS = 100
BAR = 12
REFRESHES = 8
"""Per second."""
SPARE = 3
"""Lines of the screen that are left alone."""

HowToAnswer = Callable[[PendingInterrupt], str]
"""Says what to type to answer a question."""
QUIET = frozenset({"step_start", "step_progress", "start"})
"""Phases that are no lines of their own where there is no terminal."""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class RunProgress:
    """Shows the events of one run; a context manager, and the listener to give as `on_event`.

    Args:
        plan: What is run.
        console: Where it is shown.
        how: Makes it show the whole picture, and what the run asks; without it only a list of the steps.
        clock: Says what time it is, in UTC.
    """

    def __init__(
        self,
        plan: CandidatePlan,
        console: Console,
        how: HowToAnswer | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.run = LiveRun(plan)
        self._console = console
        self._how = how
        self._clock = clock
        self._spinner = Spinner("dots", style="cyan")
        self._sketched: tuple[CandidatePlan, Sketch | None] | None = None
        self._live = None
        if console.is_terminal:
            self._live = Live(
                get_renderable=self._shown, console=console, refresh_per_second=REFRESHES, redirect_stdout=False
            )

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
        step = self.run.take(event)
        if self._live is None and event.phase not in QUIET:
            self._tell(step, event)

    def catch_up(self, events: Iterable[ExecutionEvent]) -> None:
        """Take in what happened before, without a word."""
        for event in events:
            self.run.take(event)

    def _tell(self, step: LiveStep | None, event: ExecutionEvent) -> None:
        """Write one line."""
        if step is None:
            if self._how is not None:
                self._console.print(_run_line(self.run, event))
            return
        mark, style = MARKS[step.status]
        took = None if step.status == "running" else step.took(self._clock())
        time = "" if took is None else f"  {seconds(took)}"
        self._console.print(Text.assemble((f"{mark} ", style), step.id, (time, "dim"), f"  {step.note}".rstrip()))
        if event.phase == "waiting" and self._how is not None:
            self._ask()

    def _ask(self) -> None:
        """Show the question that came last."""
        question = next(reversed(self.run.questions.values()), None)
        if question is not None and self._how is not None:
            self._console.print(question_details(question, self._how(question), self._clock()), soft_wrap=True)

    def _shown(self) -> RenderableType:
        if self._how is None:
            return self._list(self._console.height - SPARE)
        now = self._clock()
        head = _headline(self.run, now)
        asked = [question_details(one, self._how(one), now) for one in self.run.questions.values()]
        last = [_event_line(event) for event in self.run.last]
        below = Group(*asked, *last)
        taken = 2 + len(self._console.render_lines(below, pad=False))
        return Group(head, "", self._plan(self._console.height - taken - SPARE, now), below)

    def _plan(self, room: int, now: datetime) -> RenderableType:
        """Draw the picture where there is room for it, else the list."""
        if self._sketched is None or self._sketched[0] is not self.run.plan:
            self._sketched = (self.run.plan, sketch(self.run))
        sketched = self._sketched[1]
        if sketched is None or sketched.width > self._console.width or sketched.height > room:
            return self._list(room)
        return picture(self.run, sketched, now)

    def _list(self, room: int) -> RenderableType:
        """List the steps; of more than there is room for, those that are under way and those that went wrong."""
        steps: Iterable[LiveStep] = self.run.steps.values()
        room = max(5, room)
        hidden = len(self.run.steps) - room
        if hidden > 0:
            steps = [one for one in steps if one.status in ("running", "waiting", "failed")][: room - 1]
        now = self._clock()
        table = Table.grid(padding=(0, 2, 0, 0))
        for step in steps:
            table.add_row(*self._row(step, now))
        if hidden > 0:
            table.add_row("", Text(self.run.summary, style="dim"))
        return table

    def _row(self, step: LiveStep, now: datetime) -> list[RenderableType]:
        mark, style = MARKS[step.status]
        took = step.took(now)
        share = f"{bar(step.progress, BAR)} {step.progress:.0%} " if step.progress is not None else ""
        note = cut(step.note, NOTE_CHARS)
        return [
            self._spinner if step.status == "running" else Text(mark, style=style),
            Text(step.id, style="bold" if step.status == "running" else ""),
            Text(step.action if step.action != step.id else "", style="dim"),
            Text("" if took is None else seconds(took), style="dim", justify="right"),
            Text.assemble((share, "cyan"), (note, "red" if step.status == "failed" else "dim"), overflow="ellipsis"),
        ]


def _headline(run: LiveRun, now: datetime) -> Text:
    mark, style = MARKS[run.status]
    took = run.took(now)
    return Text.assemble(
        (f"{mark} {run.status}", f"bold {style}"),
        ("" if took is None else f"  {seconds(took)}", "dim"),
        f"  {cut(run.plan.goal or run.plan.id, NOTE_CHARS)}",
        (f"  {run.summary}", "dim"),
        overflow="ellipsis",
        no_wrap=True,
    )


def _event_line(event: ExecutionEvent) -> Text:
    at = "" if event.time is None else f"{event.time.astimezone():%H:%M:%S}"
    told = cut(event.error or event.message or "", NOTE_CHARS)
    words = event.phase.replace("_", " ")
    return Text(f"{at}  {words} {event.step_id or ''}  {told}".rstrip(), style="dim", overflow="ellipsis", no_wrap=True)


def _run_line(run: LiveRun, event: ExecutionEvent) -> Text:
    mark, style = MARKS[run.status]
    told = cut(event.error or event.message or "", NOTE_CHARS)
    return Text.assemble((f"{mark} ", style), (event.phase.replace("_", " "), "bold"), f"  {told}".rstrip())
