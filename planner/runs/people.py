"""What people say to a run: answers to its questions, and decisions about what may or may not have happened."""

from typing import Any, Literal

from planner.catalog import to_plain
from planner.context import RequestIdentity
from planner.errors import InvalidAnswer, NotEntitled, NotWaiting, RunEnded, UnknownQuestion
from planner.execution.outcome import PendingInterrupt
from planner.execution.people import check_answer, may_answer
from planner.execution.run_fields import answer_field
from planner.execution.run_records import ANSWER, RunRecord
from planner.runs.access import RunAccess, open_questions, owner_of

WHILE = frozenset({"waiting", "running"})
"""Statuses in which an answer counts: another one may just have been given."""


async def give_answer(
    access: RunAccess, run_id: str, value: Any, question: str | None, identity: RequestIdentity
) -> None:
    """Answer a question of a run, by its id or by the step that asks it; without either, the only one there is.

    Raises:
        RunNotFound: there is no such run for `identity`. RunEnded: it has ended. NotWaiting: it asks nothing now.
        UnknownQuestion: it does not ask that, or asks several and none is named.
        NotEntitled: somebody else has to answer.
        InvalidAnswer: the answer is not of the form that is asked for.
    """
    record = await access.record(run_id, identity)
    asked = open_questions(record)
    if not asked or question in record.answers:
        raise not_asking(record, question)
    ids = [f"{one.id} (step {one.step_id!r})" for one in asked]
    if question is None and len(asked) > 1:
        raise UnknownQuestion("", ids)
    meant = [one for one in asked if question in (None, one.id)] or [one for one in asked if question == one.step_id]
    if len(meant) != 1:
        raise UnknownQuestion(question or "", ids)
    await _tell(access, record, meant[0], value, identity)


async def give_decision(
    access: RunAccess,
    run_id: str,
    step_id: str,
    decision: Literal["retry", "succeeded", "failed"],
    *,
    value: Any,
    error: str,
    identity: RequestIdentity,
) -> None:
    """Say what became of a step that was in flight when its process died. Raises: as `give_answer`."""
    record = await access.record(run_id, identity)
    others = [one for one in open_questions(record) if one.kind != "unknown"]
    asked = [one for one in open_questions(record) if one.kind == "unknown"]
    if others and not asked:
        raise NotWaiting(run_id, f"{others[0].step_id!r} asks something that is answered, not decided")
    if not asked:
        raise not_asking(record)
    found = next((one for one in asked if step_id in (one.step_id, one.id)), None)
    if found is None:
        raise UnknownQuestion(step_id, [one.step_id for one in asked])
    said: dict[str, Any] = {"decision": decision}
    if decision == "succeeded":
        said["value"] = value
    if decision == "failed" and error:
        said["error"] = error
    await _tell(access, record, found, said, identity)


async def _tell(
    access: RunAccess, record: RunRecord, question: PendingInterrupt, value: Any, identity: RequestIdentity
) -> None:
    if not may_answer(question, identity, owner_of(record)):
        raise NotEntitled(question.id, question.roles)
    answer, most = check_answer(question, value), access.executor.limits.literal_bytes
    if (size := to_plain(answer).size) > most:
        raise InvalidAnswer(question.id, f"it is about {size:,} bytes, more than the {most:,} of 'literal_bytes'")
    said = answer_field(answer, record.attempt, access.stores.codec)
    if await access.stores.live.tell(record.id, f"{ANSWER}{question.id}", said, at_most=WHILE):
        return
    raise not_asking(await access.record(record.id, identity), question.id)


def not_asking(record: RunRecord, question: str | None = None) -> RunEnded | NotWaiting:
    """Say why a question cannot be answered now; without an id, any of them."""
    if record.ended:
        return RunEnded(record.id, record.status)
    if question in record.answers or (question is None and record.status == "waiting"):
        return NotWaiting(record.id, "it has been answered already, and the first answer counts")
    return NotWaiting(record.id, record.status)
