"""`goalgraph run`, and the running that `demo` does."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from goalgraph.cli.checking import findings, verdict
from goalgraph.cli.console import people
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.place import Place, program
from goalgraph.cli.plan_file import names_a_file, read_plan
from goalgraph.cli.planning import drafted, planned_code, planned_document, show_planned
from goalgraph.cli.request import IDENTITY, Request, opened
from goalgraph.cli.runs import Where
from goalgraph.cli.show import estimate_line, patch_lines, plan_tree, print_lines, show_result, validation_lines
from goalgraph.live import RunProgress
from goalgraph.live.words import short
from planner.errors import RunNotRecorded, TooManyRuns
from planner.execution import ExecutionResult
from planner.node_planner import NodePlanner
from planner.plan import CandidatePlan, validate
from storage.errors import StorageError

REFUSALS = {"InvalidPlan": Exit.INVALID_PLAN, "MissingInputs": Exit.MISSING_INPUT}
"""Why a run did not begin, as its error says; of anything else it failed."""


def run(request: Request, dry_run: bool, run_drafts: bool) -> Ending:  # noqa: FBT001 - called with its options by name
    """Run a plan from a file, or plan a goal and run that."""
    if names_a_file(request.subject):
        return _run_file(request, dry_run=dry_run)
    return asyncio.run(_run_goal(request, dry_run=dry_run, run_drafts=run_drafts))


def _run_file(request: Request, *, dry_run: bool) -> Ending:
    console, settings = people(), request.settings()
    catalog, inputs, skills = request.load_catalog(), request.inputs(), request.load_skills(settings)
    decoded = read_plan(request.subject, settings.limits)
    plan = decoded.plan
    result = None if plan is None else validate(plan, catalog, inputs, identity=IDENTITY, limits=settings.limits)
    code = Exit.INVALID_PLAN if result is None else verdict(result, decoded.issues)
    if plan is not None and (dry_run or code is not Exit.OK):
        console.print(plan_tree(plan))
    print_lines(console, validation_lines(result, decoded.issues), patch_lines(decoded.patches))
    if plan is None or code is not Exit.OK:
        return Ending(code=code, document=findings(result, decoded.issues, plan))

    async def go() -> Ending:
        async with opened(catalog, settings, runs=not dry_run, skills=skills) as planner:
            return await executed(planner, plan, inputs, console, place=request.place, dry_run=dry_run)

    return asyncio.run(go())


async def _run_goal(request: Request, *, dry_run: bool, run_drafts: bool) -> Ending:
    console, settings = people(), request.settings()
    catalog, inputs, skills = request.load_catalog(), request.inputs(), request.load_skills(settings)
    async with opened(catalog, settings, runs=not dry_run, skills=skills) as planner:
        planned = await drafted(planner, request, inputs, console)
        show_planned(planned, request, settings, console)
        if planned.draft and not run_drafts and not dry_run:
            return Ending(code=Exit.NO_PLAN, document={**planned_document(planned), "ok": False})
        code = planned_code(planned)
        if planned.plan is None or code is not Exit.OK:
            return Ending(code=code, document=planned_document(planned))
        ending = await executed(planner, planned.plan, inputs, console, place=request.place, dry_run=dry_run)
    return Ending(
        code=ending.code, document={**ending.document, "plan": planned.plan.to_dict(), "draft": planned.draft}
    )


async def executed(
    planner: NodePlanner,
    plan: CandidatePlan,
    inputs: dict[str, Any],
    console: Console,
    *,
    place: Place,
    dry_run: bool = False,
    quiet: bool = False,
) -> Ending:
    """Run a plan that has been validated, showing how it goes and how it ends; `quiet` leaves out what it returned.

    Raises:
        StorageError: a store failed, so that the run could not be advanced.
        CommandError: the run could not be recorded, so it was not started.
    """
    if dry_run:
        return _preview(await planner.execute_plan(plan, user_inputs=inputs, dry_run=True), console)
    try:
        with RunProgress(plan, console) as progress:
            handle = await planner.execute_background(plan, user_inputs=inputs, on_event=progress)
            with interrupt_means(handle.cancel) as interrupted:
                result = await handle.wait()
    except (RunNotRecorded, TooManyRuns) as error:
        raise CommandError(str(error), Exit.FAILED) from None
    if isinstance(handle.error, StorageError):
        raise handle.error
    show_result(result, console, outputs=not quiet, how=Where(place=place).how_to_answer(result.run_id))
    if not quiet and result.outcomes:
        console.print(look_again(result.run_id, place))
    return Ending(code=exit_code(result, interrupted=bool(interrupted)), document=result_document(result))


def look_again(run_id: str, place: Place) -> Text:
    """Say how to see a run that has ended."""
    return Text(f"see it again: {program()} runs show {run_id}{place.options}", style="dim")


def exit_code(result: ExecutionResult, *, interrupted: bool) -> Exit:
    """Return the exit code that a result stands for."""
    if interrupted and result.status == "cancelled":
        return Exit.INTERRUPTED
    refused = "" if result.outcomes else next((event.error for event in result.errors if event.error), "")
    return Exit.OK if result.ok else REFUSALS.get(refused.partition(":")[0], Exit.FAILED)


@contextmanager
def interrupt_means(stop: Callable[[], object]) -> Generator[list[int]]:
    """Let the first Ctrl-C stop a run in good order; a second one ends the program as usual.

    Yields:
        A list that is not empty once Ctrl-C was pressed.
    """
    loop, pressed = asyncio.get_running_loop(), list[int]()
    before = signal.getsignal(signal.SIGINT)

    def press() -> None:
        pressed.append(1)
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
        stop()

    loop.add_signal_handler(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        if not pressed:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)


def _preview(result: ExecutionResult, console: Console) -> Ending:
    if result.preview is None:
        show_result(result, console)
        return Ending(code=exit_code(result, interrupted=False), document=result_document(result))
    console.print(Text("Nothing was called. In this order it would go:", style="bold"))
    for number, step_id in enumerate(result.preview.order, 1):
        inputs = ", ".join(f"{name}={short(value)}" for name, value in result.preview.bindings[step_id].items())
        console.print(Text.assemble((f"{number:>3}  ", "dim"), (step_id, "bold cyan"), (f"  {inputs}", "dim")))
    console.print(estimate_line(result.preview.estimate))
    return Ending(document=result_document(result))


def result_document(result: ExecutionResult) -> dict[str, Any]:
    """Return what became of a run as JSON."""
    return {
        "ok": result.ok,
        "status": result.status,
        "run_id": result.run_id,
        "plan_id": result.plan_id,
        "outputs": result.outputs,
        "steps": {
            step_id: {
                "status": outcome.status,
                "attempts": outcome.attempts,
                "started_at": outcome.started_at,
                "finished_at": outcome.finished_at,
                "reason": outcome.reason,
                "error_type": outcome.error_type,
                "error": outcome.error,
                "outputs": result.step_outputs.get(step_id),
            }
            for step_id, outcome in result.outcomes.items()
        },
        "errors": [event.error for event in result.errors if event.error],
        "usage": result.usage,
        "preview": result.preview,
    }
