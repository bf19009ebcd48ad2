"""What waits for what: the dependencies of a plan's steps, their levels and their cycles, without recursion."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from planner.plan.bindings import RESERVED_ROOTS, Location, Reference, references_in
from planner.plan.models import CandidatePlan, PlanStep

MAX_CYCLES = 100


class EdgeKind(Enum):
    """Why one step waits for another; the strongest reason counts."""

    DATA = "data"
    """It needs an output."""
    REQUIRED = "required"
    """It comes after, and only if the other did not fail."""
    ORDER = "order"
    """It comes after, whatever became of the other."""


@dataclass(frozen=True, slots=True)
class PlanGraph:
    """The dependencies between the steps of a plan."""

    edges: Mapping[str, Mapping[str, EdgeKind]]
    """Step → what it waits for; only steps that the plan has."""
    levels: Mapping[str, int]
    """Distance from the roots, along the longest way; steps in or behind a cycle have none."""

    @property
    def order(self) -> list[str]:
        """The steps by level, then id: the one order in which tasks are called, whatever happens."""
        return sorted(self.levels, key=lambda step: (self.levels[step], step))

    @property
    def width(self) -> int:
        """The most steps on one level."""
        counts = defaultdict[int, int](int)
        for level in self.levels.values():
            counts[level] += 1
        return max(counts.values(), default=0)


def step_references(step: PlanStep) -> Iterable[tuple[Location, Reference]]:
    """Yield every binding of a step with its place."""
    yield from references_in(step.inputs, ("inputs",))
    if step.for_each is not None:
        yield from references_in(step.for_each, ("for_each",))
    if step.when is not None:
        yield from references_in(step.when.ref, ("when", "ref"))
        yield from references_in(step.when.value, ("when", "value"))


def build_graph(plan: CandidatePlan) -> PlanGraph:
    """Read the dependencies of `plan`; references to steps that it does not have are left out."""
    known = {step.id for step in plan.steps} - RESERVED_ROOTS
    edges: dict[str, dict[str, EdgeKind]] = {step.id: {} for step in plan.steps}
    for step in plan.steps:
        waits = edges[step.id]
        for after in step.after:
            if after.step in known:
                waits[after.step] = EdgeKind.REQUIRED if after.required else EdgeKind.ORDER
        for _, reference in step_references(step):
            if reference.root in known:
                waits[reference.root] = EdgeKind.DATA
    return PlanGraph(edges, _levels(edges))


def find_cycles(graph: PlanGraph) -> list[list[str]]:
    """Return the ways round, each once and starting with the step that sorts first; at most `MAX_CYCLES`.

    Each goes through a dependency that no other goes through, and without these dependencies there is no cycle left.
    """
    rest = {
        step: sorted(other for other in waits if other not in graph.levels)
        for step, waits in graph.edges.items()
        if step not in graph.levels
    }
    cycles: list[list[str]] = []
    done: set[str] = set()
    for start in sorted(rest):
        if start in done:
            continue
        way, position, pending = [start], {start: 0}, [iter(rest[start])]
        while pending and len(cycles) < MAX_CYCLES:
            other = next(pending[-1], None)
            if other is None:
                pending.pop()
                done.add(step := way.pop())
                del position[step]
            elif other in position:
                cycle = way[position[other] :]
                first = cycle.index(min(cycle))
                cycles.append(cycle[first:] + cycle[:first])
            elif other not in done:
                position[other] = len(way)
                way.append(other)
                pending.append(iter(rest[other]))
    return cycles


def _levels(edges: Mapping[str, Mapping[str, EdgeKind]]) -> dict[str, int]:
    dependents = defaultdict[str, list[str]](list)
    waiting = {step: len(waits) for step, waits in edges.items()}
    for step, waits in edges.items():
        for other in waits:
            dependents[other].append(step)
    levels = {step: 0 for step, count in waiting.items() if count == 0}
    ready = deque(levels)
    found: dict[str, int] = dict(levels)
    while ready:
        done = ready.popleft()
        for step in dependents[done]:
            levels[step] = max(levels.get(step, 0), levels[done] + 1)
            waiting[step] -= 1
            if waiting[step] == 0:
                found[step] = levels[step]
                ready.append(step)
    return found
