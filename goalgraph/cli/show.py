"""Plans, issues, results and actions as people read them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, cast

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from goalgraph.live.questions import question_details
from goalgraph.live.view import HowToAnswer, utc_now
from goalgraph.live.words import MARKS, as_json, seconds, short
from planner.catalog import ActionSpec, Slot
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan, Estimate, Patch, PlanStep, ValidationIssue, ValidationResult, build_graph
from planner.plan.bindings import references_in
from planner.plan.bindings import show as show_place

MOST_STEPS = 60
"""Of a longer plan, and of one that is deeper than a screen is wide, the first steps are listed."""
DEEPEST = 16
OUTPUT_CHARS = 2000


def plan_tree(plan: CandidatePlan, title: str | None = None) -> RenderableType:
    """Show a plan as a tree: each step under the last one that it waits for; what else it needs stands behind it."""
    graph = build_graph(plan)
    order = [*graph.order, *(step.id for step in plan.steps if step.id not in graph.levels)]
    steps = {step.id: step for step in plan.steps}
    if len(order) > MOST_STEPS or max(graph.levels.values(), default=0) > DEEPEST:
        lines = [_step_line(steps[step_id], sorted(graph.edges[step_id])) for step_id in order[:MOST_STEPS]]
        rest = len(order) - len(lines)
        return Group(*lines, *([Text(f"… and {rest:,} more steps", style="dim")] if rest else []))
    root = Tree(Text(title or plan.goal or plan.id, style="bold"), guide_style="dim")
    branches: dict[str, Tree] = {}
    above: dict[str, set[str]] = {}
    for step_id in order:
        waits = sorted(other for other in graph.edges[step_id] if other in branches)
        parent = max(waits, key=lambda other: graph.levels.get(other, 0), default=None)
        above[step_id] = set() if parent is None else {parent, *above[parent]}
        also = [other for other in waits if other not in above[step_id]]
        line = _step_line(steps[step_id], also)
        branches[step_id] = (root if parent is None else branches[parent]).add(line)
    return root


def _step_line(step: PlanStep, also: Sequence[str]) -> Text:
    """Write a step on one line; inputs that come from other steps are what the tree and `also` show."""
    line = Text.assemble((step.id, "bold cyan"))
    name = step.action or step.action_ref or "?"
    if name != step.id:
        line.append(f" {name}")
    own = {key: value for key, value in step.inputs.items() if _is_own(value)}
    if own:
        line.append(f"  {', '.join(f'{key}={short(value)}' for key, value in own.items())}", style="dim")
    if step.for_each is not None:
        line.append(f"  for each of {short(step.for_each)}", style="magenta")
    if step.when is not None:
        value = "" if step.when.op in ("exists", "truthy") else f" {short(step.when.value)}"
        line.append(f"  when {step.when.ref} {step.when.op}{value}", style="magenta")
    if step.optional:
        line.append("  optional", style="magenta")
    if also:
        line.append(f"  also needs {', '.join(also)}", style="green")
    return line


def _is_own(value: Any) -> bool:
    return all(reference.root == "user" for _, reference in references_in(value))


def estimate_line(estimate: Estimate) -> Text:
    """Sum up what a plan will take."""
    parts = [f"{estimate.steps} step{'s' * (estimate.steps != 1)}", f"up to {estimate.width} at the same time"]
    if estimate.seconds:
        parts.append(f"about {seconds(estimate.seconds)}")
    if estimate.amount:
        parts.append(f"cost {estimate.amount:g}")
    for effect in ("write", "external"):
        steps = estimate.effects.get(effect, ())
        parts += [f"{effect}: {', '.join(steps[:6])}{', …' * (len(steps) > 6)}"] if steps else []
    if estimate.approvals:
        parts.append(f"needs approval: {', '.join(estimate.approvals[:6])}{', …' * (len(estimate.approvals) > 6)}")
    return Text(" · ".join(parts), style="dim")


def approval_lines(estimate: Estimate) -> list[Text]:
    """Name the steps that a person has to agree to before they run."""
    if not estimate.approvals:
        return []
    steps = ", ".join(estimate.approvals)
    return [
        Text.assemble(
            ("! ", "yellow"),
            (steps, "bold"),
            " needs approval: the run will wait until somebody agrees, with: goalgraph runs answer",
        )
    ]


def validation_lines(result: ValidationResult | None, issues: Sequence[ValidationIssue] = ()) -> list[Text]:
    """Show every issue and everything that is missing, each on a line of its own."""
    found = [*issues, *(result.issues if result is not None else ())]
    lines = [_issue_line(issue) for issue in found]
    for key, places in (result.missing_user_bindings if result is not None else {}).items():
        lines.append(
            Text.assemble(
                ("? ", "yellow"), (key, "bold"), f" is missing; needed by {', '.join(places)} (--input {key}=…)"
            )
        )
    return lines


def _issue_line(issue: ValidationIssue) -> Text:
    mark = ("✗ ", "red") if issue.is_structural else ("! ", "yellow")
    place = ".".join(part for part in (issue.step_id, issue.field) if part)
    return Text.assemble(mark, (f"{place}: " if place else "", "bold"), issue.message, (f" [{issue.kind}]", "dim"))


def patch_lines(patches: Iterable[Patch]) -> list[Text]:
    """Show changes to a plan; those of the text as a whole only by their reason."""
    lines: list[Text] = []
    for patch in patches:
        line = Text.assemble(("~ ", "cyan"), patch.reason)
        if patch.path:
            line.append(f" ({show_place(patch.path)}: {short(patch.before)} → {short(patch.after)})", style="dim")
        lines.append(line)
    return lines


def print_lines(console: Console, *groups: Iterable[Text]) -> None:
    """Print each line of each group."""
    for line in chain(*groups):
        console.print(line)


def outputs_table(outputs: Mapping[str, Any]) -> RenderableType:
    """Show what a run returned."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in outputs.items():
        text = _readable(value)
        cut = (
            text if len(text) <= OUTPUT_CHARS else f"{text[:OUTPUT_CHARS]} … ({len(text):,} characters; --json has all)"
        )
        table.add_row(Text(name), Text(cut))
    return Padding(table, (0, 0, 0, 2), expand=False)


def _readable(value: Any) -> str:
    if isinstance(value, str):
        return value
    items = cast("list[Any]", value) if isinstance(value, list) else []
    if items and all(isinstance(item, str | int | float) for item in items):
        return "\n".join(f"• {item}" for item in items)
    return as_json(value, indent=2)


def show_result(
    result: ExecutionResult, console: Console, *, outputs: bool = True, how: HowToAnswer | None = None
) -> None:
    """Say how a run ended, with its outputs or what failed, and how to answer what it asks when `how` says that."""
    took = f"{result.usage.steps} step{'s' * (result.usage.steps != 1)} in {seconds(result.usage.seconds)}"
    if result.ok:
        console.print(Text.assemble(("✓ done", "bold green"), f"  {took}"))
        if outputs:
            console.print(outputs_table(result.outputs))
        return
    style = "bold yellow" if result.status in ("waiting", "cancelled") else "bold red"
    console.print(Text.assemble((f"{MARKS[result.status][0]} {result.status}", style), f"  {took}"))
    for step_id, outcome in result.outcomes.items():
        if outcome.failed:
            console.print(Text.assemble(("  ", ""), (step_id, "bold"), f": {outcome.error_type}: {outcome.error}"))
    if not result.outcomes:
        for event in result.errors:
            console.print(Text(f"  {event.error}"))
    if how is not None:
        for question in result.interrupts:
            console.print(question_details(question, how(question), utc_now()), soft_wrap=True)
    done = [step_id for step_id, outcome in result.outcomes.items() if outcome.status == "succeeded"]
    if done:
        console.print(Text.assemble(("  completed: ", "dim"), ", ".join(done)))


def actions_table(specs: Iterable[ActionSpec]) -> Table:
    """List actions with what they take and give."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("Action", "Takes", "Gives", "About"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "Action")
    for spec in specs:
        takes = ", ".join(slot.name if slot.required else f"{slot.name}?" for slot in spec.inputs)
        gives = ", ".join(slot.name for slot in spec.outputs)
        group = f"{spec.flow_id}: " if spec.flow_id else ""
        table.add_row(Text(spec.name, style="bold cyan"), Text(takes), Text(gives), Text(group + spec.description))
    return table


def action_details(spec: ActionSpec) -> RenderableType:
    """Show one action with its slots and rules."""
    slots = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("", "Name", "Type", "About"):
        slots.add_column(heading, overflow="fold")
    for way, several in (("takes", spec.inputs), ("gives", spec.outputs)):
        for slot in several:
            slots.add_row(
                Text(way, style="dim"), Text(slot.name, style="bold"), _type(slot), Text(slot.description or "")
            )
    rules = ", ".join(f"{name} {value}" for name, value in spec_rules(spec).items())
    return Group(
        Text.assemble((spec.name, "bold cyan"), f"  {spec.ref}"),
        Text(spec.description),
        Text(rules, style="dim"),
        slots,
    )


def spec_rules(spec: ActionSpec) -> dict[str, Any]:
    """Return the rules that an action is called under, those that say something."""
    policy = spec.policy
    known: dict[str, Any] = {
        "effect": policy.effect,
        "idempotent": policy.idempotent,
        "attempts": policy.retry.max_attempts if policy.retry.max_attempts > 1 else None,
        "timeout": None if policy.timeout is None else f"{policy.timeout.total_seconds():g} s",
        "approval": bool(policy.approval) or None,
        "undo": policy.undo and getattr(policy.undo, "__name__", policy.undo),
        "roles": sorted(policy.roles) or None,
        "at most": policy.max_concurrency,
    }
    return {name: value for name, value in known.items() if value is not None}


def _type(slot: Slot) -> Text:
    title = slot.schema.get("title") or str(slot.schema.get("$ref", "")).rpartition("/")[2]
    kind = slot.semantic or (slot.type == "object" and title) or slot.type
    inner = cast("Mapping[str, Any]", slot.schema.get("items") or {})
    if kind == "array" and inner:
        name = inner.get("type") or str(inner.get("$ref", "any")).rpartition("/")[2]
        kind = f"list of {name}"
    return Text(kind if slot.required else f"{kind}, optional")
