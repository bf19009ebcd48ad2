"""What earlier lives of a run left in its checkpoint besides outcomes: questions without an answer, calls begun."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Interrupt

from planner.execution.people import read_question

END_FIELDS = frozenset({"v", "stop", "stop_message", "undo"})
"""Of the decision how a run ends, by which it is known among the results of tasks; `compensation.py` makes it."""


@dataclass(slots=True)
class Earlier:
    """Read from the writes of the run's tasks when LangGraph loads them."""

    any: bool = False
    """Whether an earlier life of this attempt of the run left anything."""
    questions: dict[str, Interrupt] = field(default_factory=dict[str, Interrupt])
    """By id; without those of tasks that have returned."""
    answers: dict[str, int] = field(default_factory=dict[str, int])
    """By task: how many of its questions have an answer that is stored."""
    undecided: set[str] = field(default_factory=set[str])
    """Steps of which a person was asked what became of a call, and has not said."""
    begun: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Calls that must not be made twice and were begun, by key, with how many answers each had got by then."""

    end: Mapping[str, Any] | None = None
    """How the run ends, if that has been decided: not by what stopped this life of it."""

    def read(self, found: CheckpointTuple | None) -> None:
        """Take note of what a checkpoint holds."""
        if found is None:
            return
        self.any = bool(found.pending_writes)
        returned: set[str] = set()
        asked: dict[str, list[Interrupt]] = {}
        for task_id, channel, value in found.pending_writes or ():
            match channel:
                case "__interrupt__":
                    asked[task_id] = list(cast("list[Interrupt]", value))
                case "__resume__":
                    self.answers[task_id] = len(cast("list[Any]", value)) if isinstance(value, list) else 1
                case "__return__":
                    returned.add(task_id)
                    self._note(value)
                case _:
                    pass
        settled = {one.id for task_id in returned for one in asked.get(task_id, ())}
        for one in (one for several in asked.values() for one in several if one.id not in settled):
            self.questions[one.id] = one
            if (question := read_question(one.id, cast("Any", one).value)).kind == "unknown":
                self.undecided.add(question.step_id)

    def _note(self, value: object) -> None:
        entries = cast("Mapping[str, Any]", value if isinstance(value, Mapping) else {})
        if "intent" in entries:
            self.begun.add((entries["intent"], entries["answers"]))
        elif entries.keys() >= END_FIELDS:
            self.end = entries
