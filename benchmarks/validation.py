"""How long it takes to check a plan, and to resolve the names in it, against small and large catalogs."""

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.overhead import call
from benchmarks.rows import Figure, Row, Unmeasured
from benchmarks.systems import aethergraph_catalog, load
from benchmarks.worker import Worker
from planner.catalog import ActionCatalog, action
from planner.plan import CandidatePlan, validate

CATALOGS = (200, 10_000)
STEPS, LONG = 50, 10_000
REPEATS = 20
LIMIT, QUICK_LIMIT = 45.0, 10.0


def name_of(at: int) -> str:
    """Return the name of one action."""
    verb = ("load", "clean", "join", "group", "rank", "draw", "send")[at % 7]
    return f"{verb}_table_{at}"


def document(steps: int, actions: int) -> dict[str, Any]:
    """Return a plan in which each step takes a table from the one before, a literal, and a text from the user."""
    return {
        "steps": [
            {
                "id": f"s{at}",
                "action": name_of(at * 37 % actions),
                "action_ref": None,
                "inputs": {
                    "table": f"${{s{at - 1}.result}}" if at else "${user.path}",
                    "limit": at,
                    "note": "${user.note}",
                },
            }
            for at in range(steps)
        ]
    }


AETHERGRAPH = "validation:aethergraph"
USER = {"path": "rain.csv", "note": "by month"}


def timed(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median milliseconds of `work`."""
    gc.collect()
    took: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - began))
    return round(median(took), 3)


def one_action(at: int) -> Callable[..., Any]:
    """Return one of many actions of the same shape."""

    @action(name=name_of(at))
    async def work(table: str, limit: int, note: str = "") -> str:
        """Work on a table."""
        return f"{table}{limit}{note}"

    return work


def goalgraph(what: str, actions: int, steps: int) -> dict[str, float]:
    """Measure ours: `validate` or `resolve`; the first time, with whatever is built once, and then the median."""
    began = time.perf_counter()
    catalog = ActionCatalog(one_action(at) for at in range(actions))
    registered = 1000 * (time.perf_counter() - began)
    plan = CandidatePlan.from_dict(document(steps, actions))

    def check() -> None:
        result = validate(plan, catalog, USER)
        if not result.ok:
            raise Unmeasured(result.summary()[:200])

    once: Callable[[], object] = check if what == "validate" else lambda: plan.resolve_actions(catalog)
    first = timed(once, 1)
    return {"register": round(registered, 1), "first": first, "warm": timed(once, REPEATS if steps <= STEPS else 3)}


def aethergraph(what: str, actions: int, steps: int) -> dict[str, float]:
    """Measure aethergraph: `FlowValidator.validate` or `CandidatePlan.resolve_actions`."""

    async def work(table: str, limit: int, note: str = "") -> dict[str, str]:
        return {"result": f"{table}{limit}{note}"}

    catalog = aethergraph_catalog()
    began = time.perf_counter()
    for at in range(actions):
        load("core.graph.graph_fn").graph_fn(name_of(at), inputs=["table", "limit", "note"], outputs=["result"])(work)
    registered = 1000 * (time.perf_counter() - began)
    types = load("services.planning.plan_types")
    slot = load("core.graph.action_spec").IOSlot
    plan = types.CandidatePlan.from_dict(document(steps, actions))
    for step in plan.steps:
        step.action_ref = f"graphfn:{step.action}@0.1.0"
    validator = load("services.planning.flow_validator").FlowValidator(catalog)
    external = {name: slot(name=name, type="string") for name in USER}

    def check() -> None:
        result = validator.validate(plan, external_inputs=external)
        if not result.ok:
            raise Unmeasured(result.summary()[:200])

    def resolve() -> None:
        types.CandidatePlan.from_dict(document(steps, actions)).resolve_actions(catalog)

    once = check if what == "validate" else resolve
    first = timed(once, 1)
    return {"register": round(registered, 1), "first": first, "warm": timed(once, 5) if first < 2000 else first}


def run(*, quick: bool = False, catalogs: tuple[int, ...] = CATALOGS, long: int = LONG) -> list[Row]:
    """Measure both, each in a process of its own; the quick form leaves out what aethergraph cannot end in time."""
    limit = QUICK_LIMIT if quick else LIMIT
    rows: list[Row] = []
    with Worker() as ours, Worker() as theirs:

        def add(what: str, title: str, actions: int, steps: int, goal: str = "") -> None:
            mine = call(ours, "validation:goalgraph", what, actions, steps, limit=limit)
            slow = quick and actions > catalogs[0]
            other = "not in --quick" if slow else call(theirs, AETHERGRAPH, what, actions, steps, limit=limit)
            rows.append(line(title, "warm", mine, other, goal))
            if what == "validate" and steps == STEPS:
                rows.append(line(f"{title}, the first time", "first", mine, other))
                rows.append(line(f"{actions:,} actions: register", "register", mine, other))

        for actions in catalogs:
            goal = "≤ 2" if actions == 10_000 else ""
            add("validate", f"{actions:,} actions: validate {STEPS} steps", actions, STEPS, goal)
            add("resolve", f"{actions:,} actions: resolve {STEPS} steps", actions, STEPS)
        add("validate", f"{catalogs[0]:,} actions: validate a chain of {long:,} steps", catalogs[0], long)
    return rows


def line(what: str, key: str, ours: dict[str, float] | str, other: dict[str, float] | str, goal: str = "") -> Row:
    """Return one row from what the two processes answered."""

    def figure(found: dict[str, float] | str) -> Figure:
        return found if isinstance(found, str) else found[key]

    return Row(what=what, value=figure(ours), unit="ms", goal=goal, peers={"aethergraph": figure(other)})
