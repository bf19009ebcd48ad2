"""The runs of a conversation: one is started once, however often its turn is repeated, and its end is told once."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langchain_core.utils.uuid import uuid7

from planner.context import RequestIdentity, RunOrigin
from planner.dialogue.parts import YES_OR_NO
from planner.dialogue.state import PendingQuestion
from planner.dialogue.turn import AgentTurnResult, Turn
from planner.dialogue.wording import question_of, result_text
from planner.drafting.form import input_form, question_text
from planner.errors import (
    InvalidAnswer,
    NotEntitled,
    NotWaiting,
    PlannerError,
    RunConflict,
    RunEnded,
    RunNotFound,
    UnknownQuestion,
    UnstorableOutput,
)
from planner.execution import ExecutionResult, PendingInterrupt, RunRecord
from planner.execution.people import may_answer
from planner.plan import CandidatePlan
from planner.runs import BackgroundExecutionHandle
from storage.runs import ENDS

DROP = "drop"
"""What a question is taken for when its user lets go of it."""

UNSEEN = "I cannot see whether it still goes on. Ask for it again only if it does not, and is still to be done."


async def run(turn: Turn, pending: PendingQuestion) -> AgentTurnResult:
    """Run the plan that is pending, and say what became of it.

    What is pending and the run's id are stored before anything starts: when this process dies, the same answer given
    again, in any process, finds the run under its id. A run of an executor of one's own has no such id, so only who
    takes the question first runs it.
    """
    parts, state, run_id = turn.parts, turn.state, pending.run_id
    plan = pending.plan
    if plan is None or run_id is None:
        raise AssertionError("what is run has a plan and an id")
    what = f"run {run_id}" if parts.executor is None else f"run {run_id} {uuid7()}"
    if (first := await turn.claim(what)) != what:
        return await taken(turn, pending, first)
    if others := [one for one in state.running if one != run_id]:
        turn.before.append(f"What was begun before goes on by itself (run {', '.join(others)}).")
    state.pending = pending
    turn.runs(run_id)
    try:
        await turn.save()
    except UnstorableOutput as error:
        state.pending = None
        turn.told(run_id)
        return turn.says(f"The plan cannot be stored, so it was not run: {error}.", plan=plan)
    inputs = parts.inputs_of(pending)
    if parts.executor is not None:
        return await settle(turn, pending, await parts.executor.execute(plan, user_inputs=inputs))
    try:
        handle = await turn.planner.execute_background(
            plan,
            user_inputs=inputs,
            exec_id=run_id,
            origin=RunOrigin.chat,
            on_event=turn.on_execution_event,
        )
    except RunConflict:  # another turn gave other values a moment ago
        return await taken(turn, pending, what)
    except PlannerError as error:
        turn.told(run_id)
        turn.before.append(f"The plan was not started: {error}.")
        again = {"kind": "plan", "text": "Say yes to try again, or no to drop it.", "form": YES_OR_NO}
        return turn.asks(pending.model_copy(update=again))
    return await _follow(turn, pending, handle)


async def taken(turn: Turn, pending: PendingQuestion, first: str) -> AgentTurnResult:
    """Say what became of a question that another turn took before, for `first`."""
    run_id = pending.run_id or ""
    turn.state.pending = None
    if first == DROP:
        turn.forget()
        return turn.says("This was dropped already; nothing was done.", plan=pending.plan)
    turn.before.append("This was begun already.")
    try:
        handle = await turn.planner.get_run(run_id)
    except RunNotFound:
        if first == f"run {run_id}":  # it is about to be there
            turn.runs(run_id)
        return turn.says(UNSEEN, plan=pending.plan)
    turn.runs(run_id)
    return await _follow(turn, pending, handle)


async def drop(turn: Turn, pending: PendingQuestion) -> AgentTurnResult:
    """Let go of a plan or a quick action that nobody agreed to."""
    if (first := await turn.claim(DROP)) != DROP:
        return await taken(turn, pending, first)
    turn.forget()
    what = "That is not done." if pending.kind == "confirm" else "The plan is dropped; nothing was done."
    return turn.says(what, plan=pending.plan)


async def _follow(
    turn: Turn, pending: PendingQuestion, handle: BackgroundExecutionHandle, *, end: bool = False
) -> AgentTurnResult:
    """Wait until the run has ended or asks something, for as long as a turn may take."""
    try:
        async with asyncio.timeout(turn.parts.patience):
            result = await handle.wait(end=end)
    except TimeoutError:
        return _goes_on(turn, pending, handle.id)
    return await settle(turn, pending, result)


def _goes_on(turn: Turn, pending: PendingQuestion, run_id: str) -> AgentTurnResult:
    _close(turn, run_id, ended=False)
    return turn.says(f"It is still running (run {run_id}).", plan=pending.plan)


async def settle(turn: Turn, pending: PendingQuestion, result: ExecutionResult) -> AgentTurnResult:
    """Say what became of a run, or ask what it waits for."""
    run_id = pending.run_id or result.run_id
    if result.status == "waiting":
        return ask_next(turn, pending, result.interrupts, result)
    if result.status not in ENDS:
        return _goes_on(turn, pending, run_id)
    parts, secrets = turn.parts, turn.secrets(run_id)
    if pending.plan is not None:
        parts.memory.keep(turn.state, pending.goal, pending.plan, result)
    text = result_text(result, pending.plan, parts.service.catalog, secrets)
    _close(turn, run_id, ended=True)
    return turn.says(text, plan=pending.plan, execution=result)


def _close(turn: Turn, run_id: str, *, ended: bool) -> None:
    """Note that nothing is to be said in this turn to a run; when it has `ended`, that its end was told."""
    if turn.answers_run(run_id):
        turn.state.pending = None
    if ended:
        turn.told(run_id)
        turn.parts.held.pop(run_id, None)


# ----------------------------------------------------------------------------------------------------------- questions


def ask_next(
    turn: Turn,
    pending: PendingQuestion,
    asked: Sequence[PendingInterrupt],
    result: ExecutionResult | None = None,
    refused: str = "",
) -> AgentTurnResult:
    """Put the first question of a run that its user may answer; `refused` says why an answer was not taken."""
    owner = RequestIdentity(user_id=turn.state.identity.user_id, org_id=turn.state.identity.org_id)
    mine = [one for one in asked if may_answer(one, turn.state.identity, owner)]
    turn.runs(pending.run_id or "")
    if refused:
        turn.before.append(refused)
    if not mine:
        roles = sorted({role for one in asked for role in one.roles})
        turn.state.pending = None
        about = asked[0].message if asked else ""
        whom = f"somebody with the role {' or '.join(roles)}" if roles else "somebody else"
        return turn.says(f"The run waits for {whom}: {about}", plan=pending.plan, execution=result)
    first = mine[0]
    question = pending.model_copy(
        update={
            "kind": "run",
            "text": question_of(first, turn.parts.service.catalog, len(asked) - 1),
            "form": dict(first.schema or {}),
            "interrupt_id": first.id,
        }
    )
    return turn.asks(question, execution=result)


async def answer_run(turn: Turn, pending: PendingQuestion, value: Any) -> AgentTurnResult:
    """Give a run the answer to its question, and say what became of it then."""
    run_id, runs = pending.run_id or "", turn.parts.service.run_service
    try:
        handle = await turn.planner.get_run(run_id)  # it may have been made for this user with other roles
    except RunNotFound:
        return _gone(turn, pending)
    try:
        await runs.answer(run_id, value, question=pending.interrupt_id, identity=turn.state.identity)
    except InvalidAnswer as error:
        return ask_next(turn, pending, await handle.questions(), refused=f"I cannot take that: {_reason(error)}.")
    except NotEntitled as error:
        roles = " or ".join(error.roles) or "whoever started the run"
        return ask_next(turn, pending, await handle.questions(), refused=f"You may not answer this; {roles} may.")
    except (NotWaiting, RunEnded, UnknownQuestion):
        turn.before.append("This was answered already, or is not asked any more.")
    return await _follow(turn, pending, handle)


async def drop_run(turn: Turn, pending: PendingQuestion) -> AgentTurnResult:
    """Stop a run whose question the user does not want to answer."""
    try:
        handle = await turn.planner.get_run(pending.run_id or "")
    except RunNotFound:
        return _gone(turn, pending)
    handle.cancel()
    return await _follow(turn, pending, handle, end=True)


def _gone(turn: Turn, pending: PendingQuestion) -> AgentTurnResult:
    _close(turn, pending.run_id or "", ended=True)
    return turn.says("The run that asked this is not there any more.", plan=pending.plan)


def _reason(error: InvalidAnswer) -> str:
    return str(error).partition("does not fit: ")[2] or str(error)


# ------------------------------------------------------------------------------------------------- runs that are there


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run is that nobody was told the end of."""

    handle: BackgroundExecutionHandle
    record: RunRecord

    @property
    def id(self) -> str:
        """The run's."""
        return self.handle.id

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.record.ended

    @property
    def waits(self) -> bool:
        """Whether it asks a person."""
        return self.record.status == "waiting"

    def lacks(self, given: Mapping[str, Any]) -> list[str]:
        """Return the inputs that its record does not hold and nobody gave."""
        missing: Sequence[str] = self.record.request.get("missing", ())
        return [name for name in missing if name not in given]

    async def refreshed(self) -> "Standing":
        """Return where the run is now."""
        return Standing(self.handle, await self.handle.refresh())


async def look(turn: Turn) -> list[Standing]:
    """Find the runs whose end is to be told, the oldest first; one that is not there is forgotten.

    That goes for all but what is pending and left no record when it was begun, see `is_unseen`.
    """
    found: list[Standing] = []
    for run_id in list(turn.state.running):
        try:
            handle = await turn.planner.get_run(run_id)
            found.append(Standing(handle, await handle.refresh()))
        except RunNotFound:
            if not is_unseen(turn, run_id):
                turn.told(run_id)
    return found


def is_unseen(turn: Turn, run_id: str) -> bool:
    """Tell whether what is pending was begun, and was nothing that the planner keeps a record of."""
    pending = turn.state.pending
    if pending is None or pending.run_id != run_id or run_id not in turn.state.running:
        return False
    return pending.kind == "confirm" or (turn.parts.executor is not None and pending.kind != "run")


def question_behind(turn: Turn, record: RunRecord) -> PendingQuestion:
    """Return what is known of a run, as what is pending would say it."""
    pending = turn.state.pending
    if pending is not None and pending.run_id == record.id:
        return pending
    try:
        plan = CandidatePlan.from_dict(record.plan)
    except ValueError:
        plan = None
    return PendingQuestion(kind="run", text="", goal=record.goal, plan=plan, run_id=record.id)


def begun(turn: Turn, standing: Standing) -> bool:
    """Tell whether what is pending was agreed to before, in a turn that did not come to its end."""
    pending = turn.state.pending
    if pending is None or pending.run_id != standing.id:
        return False
    return standing.ended or pending.kind != "run"  # a run's own question is answered like any other


async def tell(turn: Turn, standing: Standing) -> AgentTurnResult:
    """Say where a run is: what became of it, what it asks, or that it goes on. Nothing is waited for."""
    handle, record = standing.handle, standing.record
    pending = question_behind(turn, record)
    if record.ended:
        return await settle(turn, pending, await handle.wait())
    if asked := await handle.questions():
        return ask_next(turn, pending, asked)
    if (lost := standing.lacks(turn.parts.held.get(record.id, {}))) and pending.plan is not None:
        turn.before.append("The run stopped half-way, and goes on when you give this again.")
        form = input_form(pending.plan, lost, turn.parts.service.catalog)
        again = {"kind": "inputs", "form": form, "text": question_text(form)}
        return turn.asks(pending.model_copy(update=again))
    return turn.says(f"It is still running (run {record.id}).", plan=pending.plan)


async def attach(turn: Turn, standing: Standing) -> AgentTurnResult:
    """Go on with a run that this conversation had started, here or in a process that is gone."""
    handle, record = standing.handle, standing.record
    held = turn.parts.held.get(record.id, {})
    if record.ended or standing.lacks(held):
        return await tell(turn, standing)
    missing = record.request.get("missing", ())
    with suppress(RunEnded):  # which is a moment ago
        await handle.resume({name: held[name] for name in missing} or None)
    return await _follow(turn, question_behind(turn, record), handle)
