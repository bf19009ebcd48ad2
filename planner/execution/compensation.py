"""Undoing what a run did that failed or was cancelled: which steps, in which order, and what became of each.

It begins when every step is settled, and is not stopped any more. Each undo is a LangGraph task, called in one fixed
order after all steps, the last to complete first; inside, it waits until everything that used its step is undone. So a
run that was killed goes on with what was not undone, and steps that do not depend on each other are undone together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from planner.execution.kept import carry_over
from planner.execution.langgraph_tasks import durable
from planner.execution.outcome import UndoOutcome
from planner.execution.state import RunState
from planner.execution.summary import disturbed, status_of
from planner.execution.undo import undo_ref, undo_step, undoable
from planner.execution.window import Window

VERSION = 1
"""Of the record of the decision."""

EARLIEST = datetime.min.replace(tzinfo=UTC)


async def compensate(state: RunState) -> None:
    """Decide how a run ends whose steps are settled, and undo it when its policy says so."""
    state.seal()
    tried = {} if status_of(state) == "succeeded" else await carry_over(state)
    state.compensation.update(tried)  # until they are undone
    order = [step_id for step_id in undo_order(state) if step_id not in tried or tried[step_id].status == "failed"]
    decided = state.acknowledgements is not None and state.acknowledgements.earlier.end is not None
    if decided or (order and disturbed(state)):
        here: list[bool] = []

        async def decide() -> dict[str, Any]:
            here.append(True)
            chosen = order if _wanted(state) else []
            refs = {step_id: ref for step_id in chosen if (ref := undo_ref(state, step_id)) is not None}
            stopped = {"stop": state.stop_reason, "stop_message": state.stop_message}
            return {"v": VERSION, **stopped, "undo": chosen, "refs": refs}

        # its end is recorded first: a resumed run may not see again why it was stopped
        decision = await durable("!end", decide, state.acknowledgements)
        if decision["v"] != VERSION:
            raise ValueError(f"the end of the run was decided by another version of goalgraph ({decision['v']})")
        state.stop_reason, state.stop_message = decision["stop"], decision["stop_message"]
        order = decision["undo"]
        if order:
            items = {step_id: one.items for step_id, one in tried.items()}
            await undo(state, order, items, decision.get("refs", {}), tell=bool(here))
    # a run that keeps what it did has no report, but what a replan dropped is in no outcome either
    _report(state, state.everything.order if _wanted(state) else state.superseded)


async def undo_again(state: RunState, previous: Mapping[str, Any]) -> None:
    """Run the undos that failed again; `previous` is how the attempt before ended, which `restore` has read."""
    state.seal()
    found = [UndoOutcome.from_record(record) for record in previous.get("compensation", ())]
    failed = {one.step_id: one.items for one in found if one.status == "failed"}
    if failed:
        state.gates.run.open()  # no step arrives at it
        await undo(state, list(failed), failed, {})


def undone_before(previous: Mapping[str, Any] | None) -> dict[str, int]:
    """Return how often the attempts up to the final record `previous` have undone each step.

    What runs again after that is another effect, so it gets keys of its own; of a mapped step, the items that were.
    """
    if previous is None:
        return {}
    counts = dict(previous.get("undone", {}))
    for record in previous.get("compensation", ()):
        name, left = record["step_id"], record["items"]
        step_id = name.partition("#")[0]  # what a replan took out of the plan is counted with what has its id
        if record["status"] == "undone":
            names = [step_id]
        elif record["attempts"] and left:
            superseded = previous.get("superseded", {}).get(name)
            own = previous.get("carried", {}).get(step_id) or previous["records"].get(step_id)
            outcome = own if superseded is None else superseded["outcome"]
            items = outcome.get("items") or outcome["value"]
            names = [f"{step_id}[{at}]" for at in range(len(items)) if at not in left]
        else:
            continue
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return counts


def undo_order(state: RunState) -> list[str]:
    """Return the steps that can be undone, the last to complete first; no step comes before one that used it.

    Clocks of two processes may disagree, so a step counts as completed no earlier than what it waited for.
    """
    at: dict[str, datetime] = {}
    graph = state.everything
    order = graph.order
    for step_id in order:
        own = state.called(step_id).outcome.finished_at or EARLIEST
        at[step_id] = max([own, *(at[other] for other in graph.edges[step_id])])
    position = {step_id: number for number, step_id in enumerate(order)}
    called = map(state.called, order)
    found = [one.step.id for one in called if undoable(one.spec, one.outcome)]
    return sorted(found, key=lambda step_id: (at[step_id], position[step_id]), reverse=True)


async def undo(
    state: RunState,
    order: Sequence[str],
    items: Mapping[str, Sequence[int]],
    refs: Mapping[str, str],
    *,
    tell: bool = True,
) -> None:
    """Undo the steps of `order`.

    Args:
        state: The run.
        order: Steps, the last to complete first.
        items: Of a mapped step, all that is left to be undone; others are undone as a whole.
        refs: By step, the version of the action that undoes it, as it was decided on.
        tell: Whether listeners have not heard in an earlier life of the run that it begins.
    """
    state.restart()
    state.on_status("compensating")
    if tell:
        state.publisher.publish("compensation_start", details={"steps": list(order)})
    turns = _Turns(state.everything.edges, order)

    def call(step_id: str) -> Callable[[], Awaitable[None]]:
        async def work() -> dict[str, Any]:
            here.append(True)
            await turns.of(step_id)
            return (await undo_step(state, step_id, items.get(step_id), refs.get(step_id))).to_record()

        async def run() -> None:
            try:
                record = await durable(f"{step_id}!undo", work, state.acknowledgements)
                outcome = state.compensation[step_id] = UndoOutcome.from_record(record)
                if here:
                    _publish(state, outcome)
            except Exception as error:  # whatever it is, it is raised again
                state.break_off(error)  # before the turn of anything that may come only after this undo
                raise
            finally:
                turns.pass_on(step_id)  # also when the store refused: whoever waits has to see that

        here: list[bool] = []
        return run

    calls = [call(step_id) for step_id in order]
    await Window(state.limits.window).gather(calls, lambda _: None, lambda: state.broken)
    state.watch()


class _Turns:
    """When each undo may begin: after those of all steps that used it, directly or through steps without an undo."""

    def __init__(self, edges: Mapping[str, Mapping[str, object]], undoing: Sequence[str]) -> None:
        self._edges = edges
        self._turns = {step_id: asyncio.Event() for step_id in undoing}
        self._users = dict.fromkeys(edges, 0)
        for waits in edges.values():
            for other in waits:
                self._users[other] += 1
        for step_id in [step_id for step_id, users in self._users.items() if users == 0]:
            self._reach(step_id)

    async def of(self, step_id: str) -> None:
        """Wait for the turn of a step."""
        await self._turns[step_id].wait()

    def pass_on(self, step_id: str) -> None:
        """Note that a step is undone, or that it was tried."""
        self._release([step_id])

    def _reach(self, step_id: str) -> None:
        if step_id in self._turns:
            self._turns[step_id].set()
        else:
            self._release([step_id])

    def _release(self, pending: list[str]) -> None:
        while pending:
            for other in self._edges[pending.pop()]:
                self._users[other] -= 1
                if self._users[other] == 0 and other in self._turns:
                    self._turns[other].set()
                elif self._users[other] == 0:
                    pending.append(other)


def _publish(state: RunState, outcome: UndoOutcome) -> None:
    publish, step_id = state.publisher.publish, outcome.step_id
    if outcome.status == "undone":
        publish("compensation_success", step_id, attempt=outcome.attempts)
        return
    details: dict[str, Any] = {"at": outcome.at.isoformat()} if outcome.at else {}
    if outcome.items:
        details["items"] = list(outcome.items)
    error, attempt = f"{outcome.error_type}: {outcome.error}", outcome.attempts
    publish("compensation_failure", step_id, message=outcome.status, error=error, attempt=attempt, details=details)


def _report(state: RunState, step_ids: Iterable[str]) -> None:
    """Name the effects that nothing undoes, and those of which nobody knows whether they are there."""
    for step_id in step_ids:
        called = state.called(step_id)
        spec, outcome = called.spec, called.outcome
        if step_id in state.compensation or (spec.policy.effect == "read" and spec.policy.undo is None):
            continue
        uncertain = [at for at, item in enumerate(outcome.items) if item.uncertain]
        if uncertain or (outcome.uncertain and not outcome.items):
            one, name = (outcome.items[uncertain[0]], f"item {uncertain[0]}") if uncertain else (outcome, "it")
            error = f"{name} {one.status}, and may have taken effect: {one.error}"
            found = UndoOutcome(
                step_id=step_id, status="unknown", error_type="UnknownOutcome", error=error, items=uncertain
            )
            state.compensation[step_id] = found
            _publish(state, found)
        elif outcome.status == "succeeded" or any(item.status == "succeeded" for item in outcome.items):
            why = "it declares no undo" if spec.policy.undo is None else "it was not there when the undo was decided on"
            state.compensation[step_id] = UndoOutcome(step_id=step_id, status="left", error=why)


def _wanted(state: RunState) -> bool:
    match status_of(state):
        case "cancelled":
            return state.on_cancel == "compensate"
        case "failed":
            return state.on_failure == "compensate"
        case _:
            return False
