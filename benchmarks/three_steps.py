"""Three steps that do nothing, one after the other: as a plan, and as a LangGraph graph."""

import importlib
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypedDict

from planner.catalog import ActionCatalog, action
from planner.plan import CandidatePlan

ARRIVED: ContextVar[Callable[[], None]] = ContextVar("arrived", default=lambda: None)
"""Called by the first step of a run."""


@action
async def first(value: int) -> int:
    """Count one up."""
    ARRIVED.get()()
    return value + 1


@action
async def second(value: int) -> int:
    """Count one up."""
    return value + 1


@action
async def third(value: int) -> int:
    """Count one up."""
    return value + 1


def catalog() -> ActionCatalog:
    """Return a catalog of the three."""
    return ActionCatalog([first, second, third])


PLAN = CandidatePlan.from_dict(
    {
        "steps": [
            {"id": "a", "action": "first", "inputs": {"value": 0}},
            {"id": "b", "action": "second", "inputs": {"value": "${a.result}"}},
            {"id": "c", "action": "third", "inputs": {"value": "${b.result}"}},
        ]
    }
)


class Count(TypedDict):
    """The state of the graph."""

    value: int


def graph(saver: Any = None) -> Any:
    """Return a compiled graph of three nodes in a line."""
    graphs: Any = importlib.import_module("langgraph.graph")  # pyright finds it only in part typed
    builder = graphs.StateGraph(Count)
    before = graphs.START
    for name in ("a", "b", "c"):

        async def node(state: Count, name: str = name) -> Count:
            if name == "a":
                ARRIVED.get()()
            return {"value": state["value"] + 1}

        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder.compile(checkpointer=saver)
