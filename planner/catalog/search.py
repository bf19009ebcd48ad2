"""Finding the actions that a goal may need: BM25 over the words of every action, closed under producers."""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.catalog.producers import ProducerIndex
from planner.catalog.spec import ActionSpec


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One action that a goal may need."""

    action: ActionSpec
    score: float
    """Higher is better; comparable within one search only."""
    reason: str
    """`words`, or the input that it produces, such as `produces flight for book`."""


class ActionSearch:
    """The words of every action of one catalog version."""

    def __init__(self, specs: Sequence[ActionSpec], producers: ProducerIndex) -> None:
        self.specs = specs
        self.producers = producers

    def find(self, goal: str, k: int, *, flow_ids: Sequence[str] | None = None) -> list[SearchHit]:
        """Return up to `k` actions by words, best first, then the producers of what they require."""
        raise AssertionError("being written")
