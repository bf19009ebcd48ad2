"""`goalgraph check` and `goalgraph draw`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.console import people, visible
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.plan_file import need_plan, read_plan
from goalgraph.cli.request import IDENTITY, Request
from goalgraph.cli.show import approval_lines, estimate_line, patch_lines, plan_tree, print_lines, validation_lines
from planner.plan import CandidatePlan, Patch, ValidationIssue, ValidationResult, estimate, repair, validate


def check(request: Request) -> Ending:
    """Say everything that is wrong with a plan, and what could be mended."""
    console, limits = people(), request.settings().limits
    catalog, inputs = request.load_catalog(), request.inputs()
    decoded = read_plan(request.subject, limits)
    if decoded.plan is None:
        print_lines(console, validation_lines(None, decoded.issues))
        return Ending(code=Exit.INVALID_PLAN, document=findings(None, decoded.issues))
    plan = decoded.plan
    result = validate(plan, catalog, inputs, identity=IDENTITY, limits=limits)
    mended = (
        repair(plan, result.issues, catalog, user_keys=list(inputs)).patches if result.has_structural_errors else ()
    )
    console.print(plan_tree(plan))
    print_lines(console, validation_lines(result, decoded.issues), patch_lines(decoded.patches))
    if mended:
        console.print("Each of these changes has exactly one explanation:")
        print_lines(console, patch_lines(mended))
    code, approvals = verdict(result, decoded.issues), list[str]()
    if code is Exit.OK:
        takes = estimate(plan, catalog)
        approvals += takes.approvals
        console.print(Text("✓ the plan is valid", style="bold green"))
        print_lines(console, [estimate_line(takes)], approval_lines(takes))
    return Ending(
        code=code,
        document={**findings(result, decoded.issues, plan), "approvals": approvals, "patches": patches(mended)},
    )


def draw(plan_file: str, catalog: str | None, out: Path | None, form: Literal["svg", "mermaid"]) -> Ending:
    """Draw a plan, with or without a catalog."""
    plan = need_plan(plan_file)
    actions = None if catalog is None else load_catalog(catalog)
    drawing = plan.draw(catalog=actions)
    text = drawing.svg if form == "svg" else drawing.mermaid
    if out is None:
        return Ending(text=visible(text))
    write(out, text)
    people().print(f"drawn to {out}", markup=False)
    return Ending()


def write(path: Path, text: str) -> None:
    """Write a file that the user named, making its folder.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}; name another place with --out") from None


def verdict(result: ValidationResult, issues: Sequence[ValidationIssue] = ()) -> Exit:
    """Return the exit code that a validation stands for."""
    if result.has_structural_errors or issues:
        return Exit.INVALID_PLAN
    return Exit.OK if result.ok else Exit.MISSING_INPUT


def findings(
    result: ValidationResult | None, issues: Sequence[ValidationIssue] = (), plan: CandidatePlan | None = None
) -> dict[str, Any]:
    """Return what validation found as JSON; `issues` are those of reading the plan."""
    found = [*issues, *(result.issues if result is not None else ())]
    return {
        "ok": result is not None and result.ok and not issues,
        "plan_id": None if plan is None else plan.id,
        "issues": [
            {"kind": one.kind, "step": one.step_id, "field": one.field, "message": one.message, "details": one.details}
            for one in found
        ],
        "missing_inputs": {} if result is None else result.missing_user_bindings,
    }


def patches(made: Sequence[Patch]) -> list[dict[str, Any]]:
    """Return changes to a plan as JSON."""
    return [{"path": list(one.path), "before": one.before, "after": one.after, "reason": one.reason} for one in made]
