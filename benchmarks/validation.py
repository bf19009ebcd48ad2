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
STEPS, LONG, QUICK_LONG = 50, 10_000, 2_000
REPEATS = 20
LIMIT, QUICK_LIMIT = 30.0, 10.0


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


def goalgraph(actions: int, steps: int) -> dict[str, float]:
    """Measure ours: registration, `validate` (the first time with what is built once, then the median), resolution."""
    began = time.perf_counter()
    catalog = ActionCatalog(one_action(at) for at in range(actions))
    registered = 1000 * (time.perf_counter() - began)
    plan = CandidatePlan.from_dict(document(steps, actions))

    def check() -> None:
        result = validate(plan, catalog, USER)
        if not result.ok:
            raise Unmeasured(result.summary()[:200])

    repeats = REPEATS if steps <= STEPS else 3
    return {
        "register": round(registered, 1),
        "first": timed(check, 1),
        "validate": timed(check, repeats),
        "resolve": timed(lambda: plan.resolve_actions(catalog), repeats),
    }


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
    return {"register": round(registered, 1), "first": first, what: timed(once, 5) if first < 2000 else first}


def run(*, quick: bool = False, catalogs: tuple[int, ...] = CATALOGS, long: int | None = None) -> list[Row]:
    """Measure both, each in a process of its own; the quick form leaves out what aethergraph cannot end in time."""
    limit = QUICK_LIMIT if quick else LIMIT
    chain = long or (QUICK_LONG if quick else LONG)
    rows: list[Row] = []
    with Worker() as ours, Worker() as theirs:

        def other(what: str, actions: int, steps: int) -> dict[str, float] | str:
            if quick and actions > catalogs[0]:
                return "not in --quick"
            return call(theirs, "validation:aethergraph", what, actions, steps, limit=limit)

        for actions in catalogs:
            title, goal = f"{actions:,} actions: ", "≤ 2" if actions == 10_000 else ""
            mine = call(ours, "validation:goalgraph", actions, STEPS, limit=limit)
            checked = other("validate", actions, STEPS)
            rows += [
                line(f"{title}validate {STEPS} steps", "validate", mine, checked, goal),
                line(f"{title}validate {STEPS} steps, the first time", "first", mine, checked),
                line(f"{title}resolve {STEPS} steps", "resolve", mine, other("resolve", actions, STEPS)),
                line(f"{title}register them", "register", mine, checked),
            ]
        mine = call(ours, "validation:goalgraph", catalogs[0], chain, limit=limit)
        title = f"{catalogs[0]:,} actions: validate a chain of {chain:,} steps"
        rows.append(line(title, "validate", mine, other("validate", catalogs[0], chain)))
    return rows


def line(what: str, key: str, ours: dict[str, float] | str, other: dict[str, float] | str, goal: str = "") -> Row:
    """Return one row from what the two processes answered."""

    def figure(found: dict[str, float] | str) -> Figure:
        return found if isinstance(found, str) else found[key]

    return Row(what=what, value=figure(ours), unit="ms", goal=goal, peers={"aethergraph": figure(other)})
