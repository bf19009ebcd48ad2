"""What is asked of whoever plans on after a failure: values, and the protocol between running and drafting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from planner.catalog import ActionCatalog, ActionSpec
from planner.catalog.spec import Effect
from planner.context import RequestIdentity
from planner.plan.models import CandidatePlan

STRENGTH: Mapping[Effect, int] = {"read": 0, "write": 1, "external": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplanRequest:
    """What a new tail is asked for."""

    plan: CandidatePlan
    """The plan that failed; its goal and outputs are still what is wanted."""
    done: Sequence[str]
    """The steps that succeeded. They stay; the tail may bind their outputs, and their ids are taken."""
    failed_step: str
    failure: str
    """What went wrong, in words."""
    user_inputs: Mapping[str, Any] = field(repr=False)
    """What the tail may bind as `${user.key}`."""
    catalog: ActionCatalog
    identity: RequestIdentity
    """Whose roles decide what may be called."""
    revision: int
    """1 for the first replan."""


class Replanner(Protocol):
    """Plans on from a failure."""

    async def __call__(self, request: ReplanRequest, /) -> CandidatePlan | None:
        """Return the steps that are still to be done and the outputs of the run, or `None` when there is no way.

        Steps that are done may be in the plan as they were. What is raised counts as no plan.
        """
        ...


def stronger(specs: Iterable[ActionSpec], than: Iterable[ActionSpec]) -> list[ActionSpec]:
    """Return the actions that change more than any of a plan does; nobody has agreed to them."""
    most = max(STRENGTH[spec.policy.effect] for spec in than)
    return [spec for spec in specs if STRENGTH[spec.policy.effect] > most]
