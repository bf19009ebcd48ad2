"""`goalgraph plan`, and the drafting that `run` and `demo` do before they run."""

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from goalgraph.cli.checking import findings, verdict, write
from goalgraph.cli.console import people
from goalgraph.cli.exits import Ending, Exit
from goalgraph.cli.request import Request, opened
from goalgraph.cli.show import estimate_line, plan_tree, print_lines, validation_lines
from goalgraph.settings import Settings
from planner.drafting import PlanResult
from planner.events import PlanningEvent
from planner.node_planner import NodePlanner
from planner.plan import CandidatePlan, estimate


def plan(request: Request, out: Path | None) -> Ending:
    """Draft a plan and show it."""
    console, settings = people(), request.settings()
    catalog, inputs, skills = request.load_catalog(), request.inputs(), request.load_skills(settings)

    async def draft() -> PlanResult:
        async with opened(catalog, settings, runs=False, skills=skills) as planner:
            return await drafted(planner, request, inputs, console)

    planned = asyncio.run(draft())
    show_planned(planned, request, settings, console)
    if planned.plan is not None:
        console.print(estimate_line(estimate(planned.plan, catalog)))
        if out is not None:
            write(out, plan_text(planned.plan))
            console.print(f"saved to {out}; run it with: {run_command(request, out)}", markup=False, soft_wrap=True)
    return Ending(code=planned_code(planned), document=planned_document(planned))


def run_command(request: Request, out: Path) -> str:
    """Return what to type to run a saved plan with the same inputs."""
    given = [] if request.inputs_file is None else ["--inputs", str(request.inputs_file)]
    given += [part for text in request.given for part in ("--input", text)]
    return shlex.join(["goalgraph", "run", str(out), "--catalog", request.catalog or "", *given])


async def drafted(planner: NodePlanner, request: Request, inputs: dict[str, Any], console: Console) -> PlanResult:
    """Draft a plan, telling what the model does meanwhile."""

    def tell(event: PlanningEvent) -> None:
        if (words := event_words(event)) is not None:
            console.print(Text(words, style="dim"))

    return await planner.plan(
        goal=request.subject,
        user_inputs=inputs,
        wants=request.wants or None,
        candidates=request.candidates,
        allow_partial=True,
        on_event=tell,
    )


def event_words(event: PlanningEvent) -> str | None:
    """Say what a planning event is about, where that is of interest."""
    match event.phase:
        case "llm_request":
            return f"asking the model, with {event.message}"
        case "llm_response":
            return f"no usable answer: {event.message}" if event.message else "the model answered"
        case "repair":
            return f"mended: {event.message}"
        case "search":
            return event.message
        case _:
            return None


def show_planned(planned: PlanResult, request: Request, settings: Settings, console: Console) -> None:
    """Show the plan, what it lacks, and what to do about it."""
    if planned.plan is not None:
        console.print(plan_tree(planned.plan))
    print_lines(console, validation_lines(planned.validation))
    if planned.unreachable:
        console.print(Text(f"no action here leads to: {', '.join(planned.unreachable)}"))
    if planned.plan is None:
        console.print(Text(f"no plan was found. {_advice(request, settings, planned)}", style="bold"))
    elif planned.draft:
        console.print(
            "This is only a draft: there is no language model, so it was guessed from the words of the goal. "
            "Say what you want with --want NAME, name a model (GOALGRAPH_MODEL or --model), "
            "or run it as it is: goalgraph run … --run-drafts",
            markup=False,
        )


def _advice(request: Request, settings: Settings, planned: PlanResult) -> str:
    issues = planned.validation.issues if planned.validation else []
    if any(issue.kind == "model_unavailable" for issue in issues):
        return "The model gave no answer: see above what to mend, or do without it: name no model, and say --want NAME"
    if request.wants:
        return "See what the actions give with: goalgraph catalog ls"
    if settings.model is None:
        return "Say what you want with --want NAME, or name a language model: GOALGRAPH_MODEL or --model"
    return "Say the goal in other words, or see what there is with: goalgraph catalog ls"


def planned_code(planned: PlanResult) -> Exit:
    """Return the exit code that a planning result stands for."""
    if planned.plan is None or planned.validation is None:
        return Exit.NO_PLAN
    return verdict(planned.validation)


def planned_document(planned: PlanResult) -> dict[str, Any]:
    """Return a planning result as JSON; `goalgraph run -` reads it."""
    return {
        **findings(planned.validation, (), planned.plan),
        "ok": planned.ok,
        "plan": None if planned.plan is None else planned.plan.to_dict(),
        "draft": planned.draft,
        "unreachable": list(planned.unreachable),
        "candidates": len(planned.candidates),
        "usage": planned.usage,
    }


def plan_text(plan: CandidatePlan) -> str:
    """Write a plan as the JSON that people edit."""
    return json.dumps(plan.to_dict(), indent=2, ensure_ascii=False, default=str) + "\n"
