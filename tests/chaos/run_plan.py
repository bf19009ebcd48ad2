"""The plan that every run of a campaign has, its actions, which write down each call, and what it has to give."""

import asyncio
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from planner.catalog import ActionCatalog, ActionContext, action
from planner.plan import CandidatePlan
from tests.chaos.faults import pause

ITEMS = 3
PLAN = CandidatePlan.from_dict(
    {
        "goal": "a chain, a fan, a mapped step and a flow, joined",
        "steps": [
            {"id": "a", "action": "add", "inputs": {"values": ["${user.n}"], "work": "${user.work}"}},
            {"id": "b", "action": "add", "inputs": {"values": ["${a}", 1], "work": "${user.work}"}},
            {"id": "c1", "action": "add", "inputs": {"values": ["${b}", 1], "work": "${user.work}"}},
            {"id": "c2", "action": "add", "inputs": {"values": ["${b}", 2], "work": "${user.work}"}},
            {"id": "list", "action": "spread", "inputs": {"value": "${b}", "work": "${user.work}"}},
            {
                "id": "each",
                "action": "square",
                "for_each": "${list}",
                "inputs": {"value": "${item}", "work": "${user.work}"},
            },
            {"id": "flow", "action": "grow", "inputs": {"run": "${user.run}", "seed": "${b}", "work": "${user.work}"}},
            {
                "id": "sum",
                "action": "add",
                "inputs": {"values": ["${c1}", "${c2}", "${flow.total}"], "more": "${each}", "work": "${user.work}"},
            },
        ],
        "outputs": {"sum": "${sum}", "each": "${each}", "flow": "${flow.total}"},
    }
)
NEEDS: Mapping[str, frozenset[str]] = {
    "a": frozenset(),
    "b": frozenset({"a"}),
    **dict.fromkeys(("c1", "c2", "list", "flow.double"), frozenset({"b"})),
    **{f"each:{at}": frozenset({"list"}) for at in range(ITEMS)},
    "flow.bump": frozenset({"flow.double"}),
    "sum": frozenset({"c1", "c2", "flow.bump", *(f"each:{at}" for at in range(ITEMS))}),
}
"""By call: what must have been acknowledged before it."""
FAILING = CandidatePlan.from_dict(
    {
        "goal": "two effects that are undone, since what comes then fails",
        "steps": [
            {"id": "a", "action": "effect", "inputs": {"work": "${user.work}"}},
            {"id": "b", "action": "effect", "inputs": {"work": "${user.work}"}, "after": ["a"]},
            {"id": "fail", "action": "fail", "inputs": {"work": "${user.work}"}, "after": ["b"]},
        ],
    }
)
FAILING_NEEDS: Mapping[str, frozenset[str]] = {
    "a": frozenset(),
    "b": frozenset({"a"}),
    "fail": frozenset({"b"}),
    "undo b": frozenset({"fail"}),
    "undo a": frozenset({"undo b"}),
}
HOLDING = CandidatePlan.from_dict(
    {
        "goal": "two items that are held one after the other, then a chain",
        "steps": [
            {"id": "hold", "action": "hold", "for_each": [0, 1], "inputs": {"value": "${item}"}},
            {"id": "then", "action": "add", "inputs": {"values": "${hold}", "work": 0.0}},
            {"id": "last", "action": "add", "inputs": {"values": ["${then}"], "work": 0.0}},
        ],
        "outputs": {"last": "${last}"},
    }
)
PLANS: Mapping[str, CandidatePlan] = {
    "plan": PLAN,
    "failing": FAILING,
    "holding": HOLDING,
    "blocking": CandidatePlan.from_dict({"steps": [{"id": "block", "action": "block"}]}),
    "dying": CandidatePlan.from_dict({"steps": [{"id": "die", "action": "die"}]}),
}
HOLDING_NEEDS: Mapping[str, frozenset[str]] = {
    "hold:0": frozenset(),
    "hold:1": frozenset({"hold:0"}),  # since one works at a time
    "then": frozenset({"hold:0", "hold:1"}),
    "last": frozenset({"then"}),
}


def expected(n: int) -> dict[str, Any]:
    """The outputs of an undisturbed run."""
    b = n + 1
    each = [value * value for value in (b, b + 1, b + 2)]
    flow = 2 * b + 1
    return {"sum": (b + 1) + (b + 2) + flow + sum(each), "each": each, "flow": flow}


class Journal:
    """Lines of a file that all processes share, each in it before its process goes on: their order is the real one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal"
        self.released = folder / "released"
        """A file, during whose absence the actions `hold` and `block` do not return."""
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, kind: str, **facts: object) -> None:
        os.write(self._file, json.dumps({"kind": kind, "pid": os.getpid(), **facts}).encode() + b"\n")

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def close(self) -> None:
        os.close(self._file)


class Growing(TypedDict):
    run: str
    work: float
    seed: int
    total: int


def make_catalog(journal: Journal) -> ActionCatalog:
    """Every call writes a line before it works."""

    async def call(ctx: ActionContext, work: float) -> None:
        run, _, name = ctx.idempotency_key.split(":", 2)
        journal.write("call", run=run, name=f"undo {ctx.step_id}" if name == "undo" else name)
        await pause(asyncio.Event(), work)

    async def node(state: Growing, name: str) -> None:
        journal.write("call", run=state["run"], name=f"flow.{name}")
        await pause(asyncio.Event(), state["work"])

    @action(effect="write", idempotent="keyed")
    async def add(ctx: ActionContext, values: list[int], work: float, more: list[int] | None = None) -> int:
        await call(ctx, work)
        return sum(values) + sum(more or ())

    @action(effect="write", idempotent="keyed")
    async def spread(ctx: ActionContext, value: int, work: float) -> list[int]:
        await call(ctx, work)
        return [value + at for at in range(ITEMS)]

    @action(effect="write", idempotent="keyed")
    async def square(ctx: ActionContext, value: int, work: float) -> int:
        await call(ctx, work)
        return value * value

    @action(effect="write", idempotent="keyed", max_concurrency=1)
    async def hold(ctx: ActionContext, value: int) -> int:
        await call(ctx, 0.0)
        while not journal.released.exists():
            await pause(asyncio.Event(), 0.02)
        return value

    @action(idempotent="keyed")
    async def take_back(ctx: ActionContext, work: float) -> None:
        await call(ctx, work)

    @action(effect="write", idempotent="keyed", undo="take_back")
    async def effect(ctx: ActionContext, work: float) -> None:
        await call(ctx, work)

    @action
    async def fail(ctx: ActionContext, work: float) -> None:
        await call(ctx, work)
        raise ValueError("it fails, as it has to")

    @action
    async def block(ctx: ActionContext) -> None:
        """Keeps the whole event loop waiting."""
        await call(ctx, 0.0)
        while not journal.released.exists():
            threading.Event().wait(0.02)

    @action
    async def die(ctx: ActionContext) -> None:
        await call(ctx, 0.0)
        os._exit(7)

    async def double(state: Growing) -> dict[str, int]:
        await node(state, "double")
        return {"total": state["seed"] * 2}

    async def bump(state: Growing) -> dict[str, int]:
        await node(state, "bump")
        return {"total": state["total"] + 1}

    graph = StateGraph(Growing)
    graph.add_node("double", double)
    graph.add_node("bump", bump)
    graph.add_edge(START, "double")
    graph.add_edge("double", "bump")
    catalog = ActionCatalog([add, spread, square, take_back, effect, fail, hold, block, die])
    catalog.add_flow(graph, name="grow")
    return catalog
