"""What earlier turns left: a message that is said again, what was interrupted, and runs whose end is to be told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from planner.dialogue.running import UNSEEN, Standing, is_unseen, tell
from planner.dialogue.turn import AgentTurnResult, Turn
from planner.dialogue.wording import cut
from planner.drafting.confidential import redacted

LOOKED_AT = 6
"""Messages, the newest, in which a repeated one is found."""


async def is_repeated(turn: Turn, shown: str) -> bool:
    """Tell whether this message was said before, in a turn whose answer its user may not have got.

    That is so when nothing was answered; or when the process died between storing the answer and the state, which
    still has the run, or before its caller got the question that was the answer.
    """
    state, pending = turn.state, turn.state.pending
    if not state.running and (pending is None or turn.surely_seen):
        return False
    last = await turn.parts.memory.history(state.session_id, LOOKED_AT)
    if last and _is(last[-1], "user", shown):
        return True
    if len(last) < 2 or not _is(last[-2], "user", shown):
        return False
    facts = last[-1]["metadata"]
    put = [one for one in last if pending is not None and one["metadata"].get("question") == pending.id]
    turn.unseen = put == last[-1:] and not turn.surely_seen
    return turn.unseen or facts.get("run_id") in state.running


async def where_all_are(turn: Turn, standings: Sequence[Standing]) -> AgentTurnResult | None:
    """Say how runs have ended, then what one of the others asks or does; `None` when there is nothing to say."""
    pending, result = turn.state.pending, None
    if interrupted(turn):
        result = turn.says(UNSEEN)
    ended = [one for one in standings if one.ended]
    going = [one for one in standings if not one.ended]
    going = [one for one in going if turn.answers_run(one.id)] or (going if pending is None else [])
    for standing in [*ended, *going[-1:]]:
        turn.before = [] if result is None else [result.message_to_user or ""]
        told = await tell(turn, standing)
        result = told if result is None else replace(told, execution=told.execution or result.execution)
    if result is None and pending is not None and pending.text and pending.run_id is not None and not standings:
        begun_before = pending.run_id in turn.base.get("running", ())  # and its process died before there was a run
        return turn.says(pending.text, question=pending, plan=pending.plan) if begun_before else None
    return result


def is_news(turn: Turn) -> bool:
    """Tell whether something else is open now than when the turn began, or a run was told of."""
    known, pending = turn.base.get("pending"), turn.state.pending
    put = None if pending is None else pending.id
    return put != (None if known is None else known["id"]) or turn.state.running != turn.base.get("running", [])


def interrupted(turn: Turn) -> bool:
    """Close what was begun and left no record, and say so."""
    pending = turn.state.pending
    if pending is None or not is_unseen(turn, pending.run_id or ""):
        return False
    what = pending.quick_action_id or redacted(pending.goal) or "this"
    turn.before.append(f"What was begun before was interrupted, or still goes on elsewhere: {cut(what, 120)}.")
    turn.told(pending.run_id or "")
    turn.forget()
    return True


async def asked_again(turn: Turn, standing: Standing, result: AgentTurnResult) -> AgentTurnResult:
    """Put what a run needs behind the answer, when nothing else was asked."""
    if not standing.waits and (standing.ended or not standing.lacks(turn.parts.held.get(standing.id, {}))):
        return result
    turn.before = [result.message_to_user or ""]
    asked = await tell(turn, standing)
    return replace(result, message_to_user=asked.message_to_user, question=asked.question)


def _is(message: Mapping[str, Any], role: str, content: str) -> bool:
    return (message["role"], message["content"]) == (role, content)
