"""What a saver adds to a graph: fifty nodes in a line that do nothing, at each durability."""

import asyncio
import gc
import importlib
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal, TypedDict
from uuid import uuid4

from benchmarks.rows import Figure, Row, Unmeasured
from benchmarks.saver_systems import MEMORY, OURS, SAVERS, Saver, settle
from benchmarks.servers import Places, peers
from benchmarks.worker import in_turns

NODES = 50
RUNS, QUICK_RUNS = 10, 3
"""Of each durability in one repetition."""
REPEATS = 3
LIMIT = 60.0
NONE = "no saver"
Durability = Literal["sync", "async", "exit"]
DURABILITIES: Sequence[Durability] = ("sync", "async", "exit")
GOALS = {"sync": "≤ 2.2"}


class Count(TypedDict):
    """The state."""

    value: int


def line(nodes: int, saver: Saver | None) -> Any:
    """Return a compiled graph of `nodes` nodes, one after the other."""
    graphs: Any = importlib.import_module("langgraph.graph")  # pyright finds it only in part typed
    builder = graphs.StateGraph(Count)
    before = graphs.START
    for at in range(nodes):

        async def node(state: Count) -> Count:
            return {"value": state["value"] + 1}

        builder.add_node(f"n{at}", node)
        builder.add_edge(before, f"n{at}")
        before = f"n{at}"
    return builder.compile(checkpointer=saver)


async def timed(saver: Saver | None, nodes: int, runs: int) -> dict[str, float]:
    """Return milliseconds a run at each durability: the median of `runs`, which take turns."""
    graph = line(nodes, saver)
    took: dict[str, list[float]] = {durability: [] for durability in DURABILITIES}

    async def once(durability: Durability) -> float:
        config = {"recursion_limit": nodes + 10, "configurable": {"thread_id": uuid4().hex}}
        began = time.perf_counter()
        state = await graph.ainvoke({"value": 0}, config, durability=None if saver is None else durability)
        seconds = time.perf_counter() - began
        if state["value"] != nodes:
            raise Unmeasured(f"ran {state['value']} of {nodes}")
        return seconds

    for durability in DURABILITIES:
        await once(durability)
    if saver is not None:
        await settle(saver)
    gc.collect()
    for _ in range(runs):
        for durability in DURABILITIES:
            took[durability].append(await once(durability))
    return {durability: 1000 * median(several) for durability, several in took.items()}


def measure(system: str, places: Places, nodes: int, runs: int) -> dict[str, float]:
    """Return milliseconds a run at each durability, with one saver or none."""

    async def opened() -> dict[str, float]:
        if system == NONE:
            return await timed(None, nodes, runs)
        async with SAVERS[system](places) as saver:
            return await timed(saver, nodes, runs)

    return asyncio.run(opened())


def run(
    *, quick: bool = False, nodes: int = NODES, systems: Sequence[str] = tuple(SAVERS), places: Places | None = None
) -> list[Row]:
    """Measure each system in a process of its own; they take turns."""
    if places is None:
        with peers() as started:
            return run(quick=quick, nodes=nodes, systems=systems, places=started)
    repeats, runs = (1, QUICK_RUNS) if quick else (REPEATS, RUNS)
    found, reasons = in_turns([*systems, NONE], repeats, "graph:measure", places, nodes, runs, limit=LIMIT)
    return [row for durability in DURABILITIES for row in rows(durability, nodes, found, reasons)]


def rows(
    durability: str, nodes: int, found: Mapping[str, Sequence[Mapping[str, float]]], reasons: Mapping[str, str]
) -> list[Row]:
    """Return the lines of one durability: milliseconds a run, and as a multiple of another saver's and none's."""

    def figure(name: str) -> Figure:
        return reasons.get(name) or round(median(repeat[durability] for repeat in found[name]), 2)

    def times(name: str, other: str) -> Figure:
        if name in reasons or other in reasons:
            return reasons.get(name) or reasons[other]
        pairs = zip(found[name], found[other], strict=True)
        return round(median(own[durability] / theirs[durability] for own, theirs in pairs), 2)

    title = f"{nodes} nodes, {durability}"
    peers_of_ours = [name for name in found if name != OURS]
    lines = [Row(what=title, value=figure(OURS), unit="ms", peers={name: figure(name) for name in peers_of_ours})]
    for other, goal in ((MEMORY, GOALS.get(durability, "")), (NONE, "")):
        others = {name: times(name, other) for name in peers_of_ours if name not in (other, NONE)}
        lines.append(Row(what=f"{title}: of {other}", value=times(OURS, other), unit="×", goal=goal, peers=others))
    return lines
