"""The commands of a chat that need no plan: its quick actions."""

import asyncio
import io
from collections.abc import Iterable, Sequence

from rich.console import RenderableType

from goalgraph.cli.console import PeopleConsole, people
from goalgraph.cli.show import actions_table
from goalgraph.cli.show_runs import runs_table
from goalgraph.cli.skills import skills_table
from goalgraph.live.words import cut
from planner.dialogue import (
    Confirmation,
    DialogueMemory,
    QuickActionContext,
    QuickActionRegistry,
    QuickActionSpec,
)
from planner.errors import PlannerError
from planner.execution import RunRecord
from planner.node_planner import NodePlanner
from storage.runs import ENDS

PATIENCE = 10.0
"""Seconds that a run may take to stop; undoing may take longer."""
MOST_RUNS = 10
LOOKED_AT = 1_000
"""Runs, the newest, among which one is found that goes on."""
GOAL_CHARS = 100
SHOWN_ID = 40
SAY, LEAVE = "say", "quit"
"""Commands that the chat takes before anything else does; here they are listed, and found when they are misspelt."""
MOST_MESSAGES = 20
MESSAGE_CHARS = 300


def chat_actions(planner: NodePlanner, memory: DialogueMemory) -> QuickActionRegistry:
    """Return the quick actions of a chat.

    Args:
        planner: Speaks for whoever chats.
        memory: Of the chat.
    """
    service, identity = planner.service, planner.caller.identity

    async def runs(**_: QuickActionContext) -> str:
        found = await planner.runs(limit=MOST_RUNS)
        if not found:
            return "There are no runs yet."
        return as_text(runs_table(found))

    async def actions(*, context: QuickActionContext) -> str:
        allowed = [spec for spec in service.catalog.list_actions() if spec.allows(identity)]
        wanted = context.argument.strip()
        hits = [hit.action for hit in service.catalog.search(wanted)] if wanted else allowed
        found = [spec for spec in hits if spec.allows(identity)]
        return as_text(actions_table(found)) if found else "Nothing here fits that." if wanted else "There are none."

    async def skills(**_: QuickActionContext) -> str:
        known = service.skills.all()
        if not known:
            return "There are no skills here, beside those that ship."
        return as_text(skills_table((skill, "trusted" if skill.trusted else "data") for skill in known))

    async def history(*, context: QuickActionContext) -> str:
        said = await memory.history(context.session_state.session_id, MOST_MESSAGES)
        lines = [f"{one['role']}: {cut(' '.join(str(one['content']).split()), MESSAGE_CHARS)}" for one in said]
        return "\n".join(lines) or "Nothing has been said yet."

    async def cancel(*, context: QuickActionContext) -> str | Confirmation:
        if context.confirmed:
            return await _stopped(planner, context.argument)
        return _which(await _going(planner, context), context.argument.strip())

    async def leave(**_: QuickActionContext) -> str:
        return "/quit or Ctrl-D leaves; the same command takes this conversation up again."

    async def say(**_: QuickActionContext) -> str:
        return "Say it behind the command, as in: /say the second one, please"

    specs = {
        "runs": (runs, "list the recent runs"),
        "actions": (actions, "list what can be done here, or what fits some words"),
        "skills": (skills, "list the skills that plans are made by"),
        "history": (history, "repeat what was said last"),
        "cancel": (cancel, "stop the run of this conversation, or the one whose id begins like this"),
        SAY: (say, "say what stands behind it, where a form is filled in field by field"),
        LEAVE: (leave, "leave; what is asked stays open"),
    }
    registry = QuickActionRegistry()
    for name, (handler, description) in specs.items():
        registry.add(QuickActionSpec(name, description), handler)
    return registry


async def _going(planner: NodePlanner, context: QuickActionContext) -> list[RunRecord]:
    """Return the runs of this chat that have not ended, or the one that is named."""
    wanted = context.argument.strip()
    session = None if wanted else context.session_state.session_id
    found = await planner.runs(session_id=session, limit=LOOKED_AT)
    going = [run for run in found if run.status not in ENDS and run.id.startswith(wanted)]
    return [run for run in going if run.id == wanted] or going


def _which(going: Sequence[RunRecord], wanted: str) -> str | Confirmation:
    """Ask whether to stop the one run that is meant, or say why it is not clear which."""
    if len(going) == 1:
        return Confirmation(f"Stop {_named(going[0])}?", going[0].id)
    if not going:
        none = f"No run whose id begins with {cut(wanted, SHOWN_ID)}" if wanted else "No run of this conversation"
        return f"{none} goes on. /runs lists your runs, and /cancel ID stops one."
    lines = [f"- {_named(run)}" for run in going[:MOST_RUNS]]
    lines += [f"- and {len(going) - MOST_RUNS} more"] if len(going) > MOST_RUNS else []
    return "\n".join(["Which one? Say /cancel and the id of one of them:", *lines])


def _named(run: RunRecord) -> str:
    goal = cut(" ".join(run.goal.split()), GOAL_CHARS) or "a plan without a goal"
    return f"“{goal}” (run {run.id})"


async def _stopped(planner: NodePlanner, run_id: str) -> str:
    """Stop a run, wait for its end for a while, and say where it is then."""
    name = f"run {run_id}"
    try:
        handle = await planner.get_run(run_id)
        run = await planner.service.run_service.record(run_id, planner.caller.identity)
        name = _named(run)
        if run.status in ENDS:
            return f"It has ended already, it is {run.status}: {name}"
        await planner.service.run_service.cancel(run_id, planner.caller.identity)
        async with asyncio.timeout(PATIENCE):
            result = await handle.wait(end=True)
    except TimeoutError:
        return f"Asked to stop, and whoever advances it will: {name}"
    except PlannerError as error:
        return f"Not stopped: {error}"
    return f"It is {result.status}: {name}"


def as_text(shown: RenderableType) -> str:
    """Write what is shown in letters, as wide as the terminal."""
    console = PeopleConsole(file=io.StringIO(), width=people().width, color_system=None, record=True)
    console.print(shown)
    return _trimmed(console.export_text().splitlines())


def _trimmed(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).rstrip()
