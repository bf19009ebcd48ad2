"""Where the steps of a run are, as its events tell: from events to states, and nothing is drawn here."""

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime

from planner.events import ExecutionEvent
from planner.execution import RunStatus
from planner.execution.outcome import PendingInterrupt
from planner.execution.people import read_question
from planner.plan import CandidatePlan, build_graph
from storage.runs import ENDS

LAST_EVENTS = 4


@dataclass(slots=True)
class LiveStep:
    """One step, now."""

    id: str
    action: str
    level: int = 0
    """How many steps have to come before it, at least."""
    needs: tuple[str, ...] = ()
    status: str = "open"
    """`open`, `running`, `waiting`, `undone`, or the status of its outcome."""
    note: str = ""
    """What it said last, or what became of it."""
    attempts: int = 0
    progress: float | None = None
    """Between 0 and 1."""
    items: int | None = None
    """Of a mapped step."""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def took(self, now: datetime) -> float | None:
        """Return for how many seconds it has been working, or did; clocks of two machines may differ a little."""
        until = now if self.status == "running" else self.finished_at
        if self.started_at is None or until is None:
            return None
        return max(0.0, (until - self.started_at).total_seconds())


@dataclass(slots=True)
class LiveRun:
    """A run, now; `take` brings it up to date.

    Args:
        plan: What is run; a replan replaces it.
    """

    plan: CandidatePlan
    steps: dict[str, LiveStep] = field(init=False)
    """In the order in which they are taken up."""
    status: RunStatus = "pending"
    questions: dict[str, PendingInterrupt] = field(default_factory=dict[str, PendingInterrupt])
    """What it asks now, by id."""
    last: deque[ExecutionEvent] = field(default_factory=lambda: deque[ExecutionEvent](maxlen=LAST_EVENTS))
    """What happened last, but for progress."""
    seq: int = 0
    """Of the last event."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str = ""
    """Why the run failed."""

    def __post_init__(self) -> None:
        self.steps = _steps(self.plan)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens."""
        return self.status in ENDS

    @property
    def states(self) -> dict[str, str]:
        """Step → status, as `plan.draw` takes it; steps that have not begun are left out."""
        return {step.id: step.status for step in self.steps.values() if step.status != "open"}

    @property
    def summary(self) -> str:
        """How far it is: `2 of 5 steps done, 1 running`."""
        found = Counter(step.status for step in self.steps.values())
        parts = [f"{found['succeeded']:,} of {len(self.steps):,} steps done"]
        told = ("running", "waiting", "failed", "unknown", "cancelled", "skipped", "undone")
        parts += [f"{found[status]:,} {status}" for status in told if found[status]]
        return ", ".join(parts)

    def took(self, now: datetime) -> float | None:
        """Return for how many seconds it has been going on, or did."""
        if self.started_at is None:
            return None
        return max(0.0, ((self.finished_at or now) - self.started_at).total_seconds())

    def take(self, event: ExecutionEvent) -> LiveStep | None:
        """Take one event in, and return the step that it is about."""
        self.seq = max(self.seq, event.seq)
        if event.phase != "step_progress":
            self.last.append(event)
        step = None if event.step_id is None else self.steps.get(event.step_id)
        self._take_of_run(event)
        if step is not None:
            _take_of_step(step, event)
        return step

    def _take_of_run(self, event: ExecutionEvent) -> None:
        match event.phase:
            case "start":
                self._begin(event)
            case "waiting":
                self.status = "waiting"
                asked = event.details.get("interrupt")
                if asked is not None:
                    question = read_question(asked, event.details.get("value"), event.step_id or "")
                    self.questions[question.id] = question
            case "compensation_start":
                self.status = "compensating"
            case "replan":
                planned = event.details.get("plan")
                if planned is not None:
                    self._adopt(CandidatePlan.from_dict(planned))
            case "success" | "failure" | "cancelled":
                ends: dict[str, RunStatus] = {"success": "succeeded", "failure": "failed", "cancelled": "cancelled"}
                self.status, self.finished_at, self.error = ends[event.phase], event.time, event.error or ""
                self.questions.clear()
            case _:
                return

    def _begin(self, event: ExecutionEvent) -> None:
        """Note that somebody has taken the run up: what was under way in an earlier life is not any more."""
        lost = {"running", "waiting"}
        if self.ended:  # another attempt, which tells of what it keeps
            lost |= {"failed", "cancelled", "unknown", "skipped", "undone"}
        for step in self.steps.values():
            if step.status in lost:
                step.status, step.note, step.progress = "open", "", None
        if self.started_at is None or self.ended:
            self.started_at = event.time
        self.status, self.finished_at, self.error = "running", None, ""
        self.questions.clear()

    def _adopt(self, plan: CandidatePlan) -> None:
        before, self.plan, self.steps = self.steps, plan, _steps(plan)
        for step_id, step in before.items():
            if step_id in self.steps and step.status == "succeeded":
                self.steps[step_id] = step


def _take_of_step(step: LiveStep, event: ExecutionEvent) -> None:
    step.attempts = max(step.attempts, event.attempt)
    match event.phase:
        case "step_start":
            step.status, step.started_at, step.finished_at = "running", event.time, None
            step.note, step.progress, step.items = "", None, event.details.get("items")
        case "step_progress":
            step.progress = event.progress
            share = f"{event.details['items']} of {event.details['of']}" if "of" in event.details else ""
            step.note = event.message or share
        case "step_retry":
            step.note = f"again: {event.error or event.message or ''}"
        case "step_success":
            _end(step, "succeeded", "" if step.items is None else f"{step.items} items", event)
        case "step_failure":
            status = event.message if event.message in ("cancelled", "unknown") else "failed"
            _end(step, status, event.error or event.message or "", event)
        case "step_skipped":
            _end(step, "skipped", event.message or "", event)
        case "waiting":
            step.status, step.note = "waiting", "asks"
        case "compensation_success":
            step.status, step.note = "undone", "undone"
        case "compensation_failure":
            step.note = f"not undone: {event.error or event.message or ''}"
        case _:
            return


def _end(step: LiveStep, status: str, note: str, event: ExecutionEvent) -> None:
    step.status, step.note, step.finished_at, step.progress = status, note, event.time, None


def _steps(plan: CandidatePlan) -> dict[str, LiveStep]:
    graph = build_graph(plan)
    actions = {step.id: step.action or step.action_ref or "" for step in plan.steps}
    order = [*graph.order, *(step_id for step_id in actions if step_id not in graph.levels)]  # these are in a cycle
    deepest = max(graph.levels.values(), default=0) + 1
    levels = {one: graph.levels.get(one, deepest) for one in order}
    return {one: LiveStep(one, actions[one], levels[one], tuple(sorted(graph.edges[one]))) for one in order}
