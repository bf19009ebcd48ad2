"""The same steps in each system: ours, a LangGraph `StateGraph`, raw asyncio, and aethergraph."""

import asyncio
import importlib
import operator
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict
from uuid import uuid4

from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.rows import Unmeasured
from planner.catalog import ActionCatalog, action
from planner.context import RunContext
from planner.execution import PlanExecutor, RunRequest
from planner.plan import CandidatePlan


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it waits for, and how long it sleeps. It returns 1."""

    id: str
    waits: tuple[str, ...] = ()
    seconds: float = 0.0


Run = Callable[[], Awaitable[None]]
"""Runs the steps it was made for, once, and raises unless each of them ran."""


class Counter:
    """The step that every system runs."""

    def __init__(self) -> None:
        self.ran = 0

    async def work(self, seconds: float) -> int:
        """Sleep, or return at once."""
        self.ran += 1
        if seconds:
            await asyncio.sleep(seconds)
        return 1

    def check(self, steps: Sequence[Step]) -> None:
        """Start over, when each step ran once."""
        ran, self.ran = self.ran, 0
        if ran != len(steps):
            raise Unmeasured(f"ran {ran} of {len(steps)}")


def goalgraph(steps: Sequence[Step], *, saver: bool) -> Run:
    """Return our executor over a plan of these steps; what a step waits for is bound to an input."""
    counter = Counter()

    @action
    async def work(seconds: float, waits: list[int]) -> int:
        """Sleep."""
        _ = waits
        return await counter.work(seconds)

    plan = CandidatePlan.from_dict(document(steps))
    executor = PlanExecutor(ActionCatalog([work]), InMemorySaver() if saver else None)

    async def run() -> None:
        result = await executor.execute(RunRequest(plan=plan, context=RunContext(run_id=uuid4().hex)))
        result.raise_for_failure()
        counter.check(steps)

    return run


def document(steps: Sequence[Step]) -> dict[str, Any]:
    """Return a plan in the shape that aethergraph and we share."""
    return {
        "steps": [
            {
                "id": step.id,
                "action": "work",
                "action_ref": None,
                "inputs": {"seconds": step.seconds, "waits": [f"${{{other}.result}}" for other in step.waits]},
            }
            for step in steps
        ]
    }


class Total(TypedDict):
    """The smallest state there is, in the peer's favour: nothing is handed from step to step."""

    total: Annotated[int, operator.add]


def stategraph(steps: Sequence[Step], *, saver: bool) -> Run:
    """Return a compiled `StateGraph` with a node for each step."""
    counter = Counter()
    graphs: Any = importlib.import_module("langgraph.graph")  # pyright finds it only in part typed
    builder = graphs.StateGraph(Total)
    for step in steps:

        async def node(_: Total, seconds: float = step.seconds) -> Total:
            return {"total": await counter.work(seconds)}

        builder.add_node(step.id, node)
        builder.add_edge([*step.waits] if step.waits else graphs.START, step.id)
    graph = builder.compile(checkpointer=InMemorySaver() if saver else None)

    async def run() -> None:
        config = {"recursion_limit": len(steps) + 10, "configurable": {"thread_id": uuid4().hex}}
        await graph.ainvoke({"total": 0}, config, durability="sync" if saver else None)
        counter.check(steps)

    return run


def raw_asyncio(steps: Sequence[Step]) -> Run:
    """Return a task for each step that awaits the tasks before it: the floor."""
    counter = Counter()

    async def one(step: Step, tasks: dict[str, asyncio.Task[int]]) -> int:
        for other in step.waits:
            await tasks[other]
        return await counter.work(step.seconds)

    async def run() -> None:
        tasks: dict[str, asyncio.Task[int]] = {}
        for step in steps:
            tasks[step.id] = asyncio.create_task(one(step, tasks))
        await asyncio.gather(*tasks.values())
        counter.check(steps)

    return run


def aethergraph(steps: Sequence[Step]) -> Run:
    """Return aethergraph's sequential executor over the same plan: a `graph_fn` as the action, no run manager."""
    counter = Counter()

    async def work(seconds: float, waits: list[int]) -> dict[str, int]:
        _ = waits
        return {"result": await counter.work(seconds)}

    catalog = aethergraph_catalog()
    load("core.graph.graph_fn").graph_fn("work", inputs=["seconds", "waits"], outputs=["result"])(work)
    plan = load("services.planning.plan_types").CandidatePlan.from_dict(document(steps))
    for step in plan.steps:
        step.action_ref = "graphfn:work@0.1.0"
    executor = load("services.planning.plan_executor").PlanExecutor(catalog, run_manager=None)
    origin = load("core.runtime.run_types").RunOrigin.app  # its default does not exist: defect A1 of seeds.md

    async def run() -> None:
        result = await executor.execute(plan, user_inputs={}, origin=origin)
        if not result.ok:
            raise Unmeasured(f"failed: {type(result.errors[0].error).__name__}")
        counter.check(steps)

    return run


def aethergraph_catalog() -> Any:
    """Return a catalog over the registry that `graph_fn` registers in: a new one, until a first run starts services."""
    registries = load("core.runtime.runtime_registry")
    registries.set_current_registry(load("services.registry.unified_registry").UnifiedRegistry())
    return load("services.planning.action_catalog").ActionCatalog(registries.current_registry())


def load(module: str) -> Any:
    """Import a module of aethergraph, which has no types.

    Raises:
        Unmeasured: it is not installed; `pip install goalgraph[bench]` brings it.
    """
    try:
        return importlib.import_module(f"aethergraph.{module}")
    except ModuleNotFoundError as error:
        raise Unmeasured("not installed" if error.name == "aethergraph" else f"lacks {error.name}") from error


SYSTEMS: dict[str, Callable[[Sequence[Step]], Run]] = {
    "goalgraph": lambda steps: goalgraph(steps, saver=False),
    "goalgraph, InMemorySaver": lambda steps: goalgraph(steps, saver=True),
    "StateGraph": lambda steps: stategraph(steps, saver=False),
    "StateGraph, InMemorySaver": lambda steps: stategraph(steps, saver=True),
    "asyncio": raw_asyncio,
    "aethergraph": aethergraph,
}
