"""`goalgraph demo`: a question about real weather, planned, run and answered."""

import asyncio
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

import goalgraph.demo
from goalgraph.application import open_planner
from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.checking import write
from goalgraph.cli.console import people
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.planning import drafted, plan_text
from goalgraph.cli.request import Request, read_settings
from goalgraph.cli.running import executed
from goalgraph.cli.show import estimate_line, plan_tree
from goalgraph.settings import Settings
from planner.catalog import ActionCatalog
from planner.node_planner import NodePlanner
from planner.plan import CandidatePlan, estimate

QUESTION = "Which months are the wettest in Seattle, is it getting warmer, and how long was the longest dry spell?"
GOAL = f"{QUESTION} Answer with a report that has a chart."
WANTS = ("findings", "report", "page")
FILES = ("report", "page", "chart")


def demo(out: Path, model: str | None, base_url: str | None) -> Ending:
    """Plan and run the demo, and show what it found."""
    if find_spec("matplotlib") is None:
        raise CommandError(
            "the demo draws its chart with matplotlib, which is not installed: pip install 'goalgraph[demo]'"
        )
    console, settings = people(), read_settings(model, base_url)
    catalog = load_catalog(goalgraph.demo.__name__)
    console.print(Text(QUESTION, style="bold"))
    console.print(Text("1,461 days of weather in Seattle, 2012 to 2015 (NOAA, public domain)\n", style="dim"))
    return asyncio.run(_demo(catalog, out, settings, console))


async def _demo(catalog: ActionCatalog, out: Path, settings: Settings, console: Console) -> Ending:
    inputs = {"folder": str(out)}
    async with open_planner(catalog=catalog, settings=settings) as planner:
        plan = await _plan(planner, inputs, settings, console)
        console.print(plan_tree(plan))
        console.print(estimate_line(estimate(plan, catalog)), end="\n\n")
        write(out / "plan.json", plan_text(plan))
        write(out / "plan.svg", plan.draw(catalog).svg)
        ending = await executed(planner, plan, inputs, console, quiet=True)
    found = _found(ending.document["steps"])
    if ending.code is Exit.OK:
        _show(found, out, console)
    return Ending(code=ending.code, document={**ending.document, **found, "plan": plan.to_dict()})


async def _plan(planner: NodePlanner, inputs: dict[str, Any], settings: Settings, console: Console) -> CandidatePlan:
    """Plan from the question with a model; by types without one, and when the model gives no plan."""
    if settings.model is not None:
        console.print(f"planning with {settings.model}", style="dim", markup=False)
        planned = await drafted(planner, Request(subject=GOAL), inputs, console)
        if planned.ok and planned.plan is not None:
            return planned.plan
        console.print("the model gave no plan that can run, so this one is made from types", style="yellow")
    else:
        console.print(
            f"no language model is set (GOALGRAPH_MODEL), so the plan is made from types: "
            f"from {', '.join(inputs)} to {', '.join(WANTS)}",
            style="dim",
            markup=False,
        )
    planned = await drafted(planner, Request(subject=QUESTION, wants=WANTS), inputs, console)
    if planned.plan is None or not planned.ok:
        raise CommandError(
            "no plan was found for the demo; this is a fault of goalgraph, please report it", Exit.NO_PLAN
        )
    return planned.plan


def _found(steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return the findings and the files, whatever the steps of the plan are called."""
    found: dict[str, Any] = {"findings": [], "files": {}}
    for step in steps.values():
        outputs: Mapping[str, Any] = step["outputs"] or {}
        found["findings"] = outputs.get("findings", found["findings"])
        found["files"] |= {name: outputs[name] for name in FILES if isinstance(outputs.get(name), str)}
    return found


def _show(found: Mapping[str, Any], out: Path, console: Console) -> None:
    console.print()
    for finding in found["findings"]:
        console.print(Text.assemble(("• ", "bold green"), finding))
    console.print()
    files = {**found["files"], "plan": out / "plan.svg", "data": out / "plan.json"}
    for name in ("page", "report", "chart", "plan", "data"):
        if name in files:
            console.print(Text.assemble((f"{'' if name == 'data' else name:<8}", "dim"), str(files[name])))
