"""A run as it goes: from events to states, and from states to what is seen."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from rich.console import Console

from goalgraph import action, open_planner, watch
from goalgraph.live import LiveRun, RunProgress
from goalgraph.live.boxes import picture, sketch
from goalgraph.live.notebook import NotebookPicture
from goalgraph.live.questions import question_details
from goalgraph.live.terminal import PeopleConsole
from planner.events import ExecutionEvent, ExecutionPhase
from planner.execution.people import APPROVAL_SCHEMA, question_value, read_question
from planner.plan import CandidatePlan

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLAN = CandidatePlan.from_dict(
    {
        "goal": "Report the weather",
        "steps": [
            {"id": "load", "action": "load_days"},
            {"id": "months", "action": "by_month", "inputs": {"days": "${load}"}},
            {"id": "trend", "action": "find_trend", "inputs": {"days": "${load}"}},
            {"id": "send", "action": "send_report", "inputs": {"a": "${months}", "b": "${trend}", "c": "${load}"}},
        ],
    }
)
PICTURE = """\
                    ╭─ ✓ load ─── 1.5 s ─╮
                    │ load_days          │
                    ╰────────────────────╯
           ╭───────────────────┴───┬────────────╮
           ▼                       ▼            │
╭─ ▸ months ─── 2 s ─╮  ╭─ ✗ trend ──── 1 s ─╮  │
│ ━━━━━━╌╌╌╌╌╌╌  50% │  │ ValueError: no da… │  │
╰────────────────────╯  ╰────────────────────╯  │
           ╰───────────────────────┴┬───────────╯
                                    ▼
                         ╭─ · send ───────────╮
                         │ send_report        │
                         ╰────────────────────╯
"""


def event(phase: ExecutionPhase, step: str | None = None, at: float = 0, **facts: Any) -> ExecutionEvent:
    return ExecutionEvent(phase, step, time=NOON + timedelta(seconds=at), **facts)


HALFWAY = (
    event("start"),
    event("step_start", "load"),
    event("step_success", "load", 1.5, attempt=1),
    event("step_start", "months", 2),
    event("step_start", "trend", 2),
    event("step_progress", "months", 3, progress=0.5),
    event("step_failure", "trend", 3, error="ValueError: no days", message="failed"),
)


def lived(*events: ExecutionEvent) -> LiveRun:
    run = LiveRun(PLAN)
    for one in events:
        run.take(one)
    return run


def written(shown: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, record=True, color_system=None)
    console.print(shown)
    return "".join(f"{line.rstrip()}\n" for line in console.export_text().splitlines())


def test_events_become_states() -> None:
    run = lived(*HALFWAY)

    assert run.states == {"load": "succeeded", "months": "running", "trend": "failed"}
    assert (run.status, run.summary) == ("running", "1 of 4 steps done, 1 running, 1 failed")
    assert run.steps["months"].took(NOON + timedelta(seconds=5)) == 3
    assert run.steps["load"].took(NOON) == 1.5


def test_the_plan_is_drawn_with_the_states_of_its_steps() -> None:
    run = lived(*HALFWAY)
    sketched = sketch(run)
    assert sketched is not None

    assert written(picture(run, sketched, NOON + timedelta(seconds=4))) == PICTURE


def test_wide_letters_keep_the_boxes_whole() -> None:
    plan = CandidatePlan.from_dict({"steps": [{"id": "天気予報を読む", "action": "e\u0301tape\x1b"}]})
    run = LiveRun(plan)
    sketched = sketch(run)
    assert sketched is not None

    console = PeopleConsole(file=io.StringIO(), width=80, record=True, color_system=None)
    console.print(picture(run, sketched, NOON))
    upper, inner, lower = console.export_text().splitlines()

    assert "天気予報を読む" in upper
    assert len(upper) + 7 == len(lower)
    assert "e\u0301tape\ufffd" in inner


def test_a_plan_of_many_steps_has_no_picture_in_letters() -> None:
    steps = [{"id": f"s{number}", "action": "a"} for number in range(50)]

    assert sketch(LiveRun(CandidatePlan.from_dict({"steps": steps}))) is None


def test_another_attempt_keeps_only_what_succeeded() -> None:
    run = lived(*HALFWAY, event("failure", at=4, error="step 'trend': ValueError: no days"))
    assert (run.status, run.ended, run.error) == ("failed", True, "step 'trend': ValueError: no days")

    run.take(event("start", at=9))

    assert (run.states, run.status, run.took(NOON + timedelta(seconds=10))) == ({"load": "succeeded"}, "running", 1)


def test_a_replan_replaces_the_steps() -> None:
    plan = {"steps": [{"id": "load", "action": "load_days"}, {"id": "other", "action": "find_other"}]}

    run = lived(*HALFWAY, event("replan", "trend", 4, details={"plan": plan, "revision": 1}))

    assert list(run.steps) == ["load", "other"]
    assert run.states == {"load": "succeeded"}


def approval(deadline: datetime | None = None) -> dict[str, Any]:
    about = {"action": "send_report", "ref": "action:send_report@0.1.0", "effect": "external", "inputs": {"to": "all"}}
    return question_value(
        "approval",
        "send",
        "May send_report run?",
        schema=APPROVAL_SCHEMA,
        roles=["boss"],
        deadline=deadline,
        on_timeout={"answer": {"approve": False, "reason": "late"}},
        about=about,
    )


def test_a_question_says_what_it_is_about_and_how_to_answer_it() -> None:
    asked = read_question("q1", approval(NOON + timedelta(seconds=90)))

    shown = written(question_details(asked, "answer q1 --yes", NOON), 100)

    for words in (
        "send asks: May send_report run?",
        "action:send_report@0.1.0 (external)",
        '{"to": "all"}',
        "yes or no",
        "somebody with the role boss",
        "in 1 min 30 s",
        "it counts as refused",
        "answer q1 --yes",
    ):
        assert words in shown


def test_a_terminal_shows_picture_questions_and_last_events() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40, color_system=None)
    progress = RunProgress(PLAN, console, lambda one: f"answer {one.id}", lambda: NOON + timedelta(seconds=4))
    waiting = event("waiting", "send", 4, details={"interrupt": "q1", "value": approval()})

    with progress:
        progress.catch_up([*HALFWAY, waiting])
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]  # it is the StringIO above

    assert "? waiting  4 s  Report the weather  1 of 4 steps done, 1 running, 1 waiting, 1 failed" in shown
    assert "╭─ ? send " in shown
    assert "answer q1" in shown
    assert "step failure trend  ValueError: no days" in shown


def test_a_low_terminal_shows_a_list() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=12, color_system=None)

    with RunProgress(PLAN, console, lambda one: "", lambda: NOON) as progress:
        progress.catch_up(HALFWAY)
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]  # it is the StringIO above

    assert ("╭─" in shown, "find_trend" in shown) == (False, True)


def test_elsewhere_each_event_is_a_line() -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None)

    with RunProgress(PLAN, console, lambda one: f"answer {one.id}", lambda: NOON) as progress:
        for one in (*HALFWAY, event("waiting", "send", 4, details={"interrupt": "q1", "value": approval()})):
            progress(one)
    lines = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]  # as above

    assert lines[:3] == ["✓ load  1.5 s", "✗ trend  1 s  ValueError: no days", "? send  asks"]
    assert lines[3] == "? send asks: May send_report run?"


def test_a_notebook_shows_the_picture_and_updates_it_in_its_place() -> None:
    shown: list[dict[str, str]] = []

    def display(first: dict[str, str]) -> Any:
        shown.append(first)
        return shown.append

    watched = NotebookPicture(PLAN, display)
    for one in (*HALFWAY, event("waiting", "send", 4, details={"interrupt": "q<1>", "value": approval()})):
        watched(one)
    watched.refresh()

    assert [bundle["text/plain"].split(",")[0] for bundle in shown] == ["· pending: 0 of 4 steps done", "? waiting"]
    assert shown[1]["text/html"].startswith("<svg")
    assert 'class="failed"' in shown[1]["text/html"]
    assert "await handle.answer(…, &#x27;q&lt;1&gt;&#x27;)" in shown[1]["text/html"]


async def test_a_handle_is_watched_until_its_run_waits_and_then_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    @action
    def begin(word: str) -> str:
        """Begin."""
        return word

    @action(approval=True)
    def agree(word: str) -> str:
        """Ask somebody."""
        return f"{word}, agreed"

    steps = [
        {"id": "one", "action": "begin", "inputs": {"word": "yes"}},
        {"id": "two", "action": "agree", "inputs": {"word": "${one}"}},
    ]
    async with open_planner(actions=[begin, agree], checkpointer=InMemorySaver()) as planner:
        handle = await planner.execute_background(CandidatePlan.from_dict({"steps": steps}))
        waiting = await watch(handle)
        await handle.answer(value=True)
        ended = await watch(handle)
    shown = capsys.readouterr().err

    assert (waiting.status, ended.status, ended.outputs) == ("waiting", "succeeded", {"result": "yes, agreed"})
    assert f"await handle.answer(…, {waiting.interrupts[0].id!r})" in " ".join(shown.split())
    assert shown.rstrip().endswith("success")
