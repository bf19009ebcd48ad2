"""`goalgraph demo`: a question about real weather, planned, run and answered."""

import asyncio
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.text import Text

import goalgraph.demo
from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.checking import write
from goalgraph.cli.console import people
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.place import Place, read_settings
from goalgraph.cli.planning import drafted, plan_text
from goalgraph.cli.request import Request, opened, without_model
from goalgraph.cli.running import executed, look_again
from goalgraph.cli.show import estimate_line, plan_tree
from goalgraph.settings import Settings
from planner.catalog import ActionCatalog
from planner.drafting import PlanResult
from planner.plan import CandidatePlan, estimate

QUESTION = "Which months are the wettest in Seattle, is it getting warmer, and how long was the longest dry spell?"
GOAL = f"{QUESTION} Answer with a report that has a chart."
WANTS = ("findings", "report", "page")
FILES = ("page", "report", "chart")


def demo(out: Path, model: str | None, base_url: str | None, place: Place) -> Ending:
    """Plan and run the demo, and show what it found."""
    if find_spec("matplotlib") is None:
        raise CommandError("the demo needs matplotlib for its chart: pip install 'goalgraph[demo]'")
    console, settings = people(), place.within(read_settings(model, base_url))
    catalog = load_catalog(goalgraph.demo.__name__)
    console.print(Text(QUESTION, style="bold"))
    console.print(Text("1,461 days of weather in Seattle, 2012 to 2015 (NOAA, public domain)\n", style="dim"))
    return asyncio.run(_demo(catalog, out, settings, place, console))


async def _demo(catalog: ActionCatalog, out: Path, settings: Settings, place: Place, console: Console) -> Ending:
    plan = await _plan(catalog, settings, console)
    console.print(plan_tree(plan, "The plan"))
    console.print(estimate_line(estimate(plan, catalog)), end="\n\n")
    write(out / "plan.json", plan_text(plan))
    write(out / "plan.svg", plan.draw(catalog=catalog).svg)
    async with opened(catalog, settings, resources={"folder": out}) as planner:
        ending = await executed(planner, plan, {}, console, place=place, quiet=True)
    steps: dict[str, Any] = ending.document["steps"]
    write(out / "plan.svg", plan.draw({step_id: step["status"] for step_id, step in steps.items()}, catalog).svg)
    found = _found(steps, out)
    if ending.code is Exit.OK:
        _show(found, out, console)
    console.print(look_again(ending.document["run_id"], place))
    return Ending(code=ending.code, document={**ending.document, **found, "plan": plan.to_dict()})


async def _plan(catalog: ActionCatalog, settings: Settings, console: Console) -> CandidatePlan:
    """Plan from the question with a model; by types without one, and when the model gives no plan that can run."""

    async def ask(request: Request, settings: Settings) -> PlanResult:
        async with opened(catalog, settings, runs=False) as planner:
            return await drafted(planner, request, {}, console)

    if settings.model is not None:
        console.print(Text(f"planning with {settings.model}", style="dim"))
        planned = await ask(Request(subject=GOAL), settings)
        if planned.ok and planned.plan is not None:
            return planned.plan
        console.print(Text("the model gave no plan that can run, so this one is made from types", style="yellow"))
    else:
        way = f"for {', '.join(WANTS)}"
        console.print(
            Text(f"no language model is set (GOALGRAPH_MODEL), so it is planned by types, {way}", style="dim")
        )
    planned = await ask(Request(subject=QUESTION, wants=WANTS), without_model(settings))
    if planned.plan is None or not planned.ok:
        raise CommandError(
            "there is no plan for the demo; this is a fault of goalgraph, please report it", Exit.NO_PLAN
        )
    return planned.plan


def _found(steps: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return the findings and the files, whatever the steps of the plan are called."""
    findings: list[str] = []
    files: dict[str, str] = {}
    for step in steps.values():
        outputs: Mapping[str, Any] = step["outputs"] or {}
        said = outputs.get("findings")
        lines = cast("list[Any]", said) if isinstance(said, list) else []
        if lines and all(isinstance(one, str) for one in lines):  # a mapped step has a list of findings for each item
            findings = lines
        files |= {name: str(out / outputs[name]) for name in FILES if isinstance(outputs.get(name), str)}
    return {"findings": findings, "files": files}


def _show(found: Mapping[str, Any], out: Path, console: Console) -> None:
    console.print()
    for finding in found["findings"]:
        console.print(Text.assemble(("• ", "bold green"), finding))
    console.print()
    files = {**found["files"], "plan": str(out / "plan.svg"), "as data": str(out / "plan.json")}
    for name, path in files.items():
        console.print(Text.assemble((f"{name:<8} ", "dim"), path))
