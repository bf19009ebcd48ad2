"""What holds for every plan: a valid one runs without a binding error, an invalid one is never run."""

import asyncio
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from planner.catalog import ActionCatalog, action
from planner.context import RunContext
from planner.execution import PlanExecutor, RunRequest
from planner.plan import CandidatePlan, validate


class Colour(StrEnum):
    red = "red"
    blue = "blue"


class Point(BaseModel):
    x: int
    y: float = 0.5
    at: datetime | None = None
    colour: Colour = Colour.red


class Shape(BaseModel):
    name: str
    points: list[Point]
    tags: dict[str, int] = {}


CALLS: list[str] = []


@action
async def number(value: int = 3) -> int:
    CALLS.append("number")
    return value


@action
async def text(value: str) -> str:
    return value


@action
async def real(value: float) -> float:
    return value


@action
async def day() -> date:
    return date(2026, 11, 20)


@action
async def moment(value: datetime) -> datetime:
    return value


@action
async def money() -> Decimal:
    return Decimal("1.50")


@action
async def identity(value: UUID) -> UUID:
    return value


@action
async def point(x: int, colour: Colour = Colour.red) -> Point:
    return Point(x=x, colour=colour)


@action
async def shape(points: list[Point], name: str = "s") -> Shape:
    return Shape(name=name, points=points, tags={"n": len(points)})


@action
async def area(of: Shape, scale: float = 1.0) -> float:
    return len(of.points) * scale


@action
async def pick(of: Point, which: Literal["x", "y"] = "x") -> int | float:
    return of.x if which == "x" else of.y


@action
async def pair() -> tuple[int, str]:
    return 1, "one"


@action
async def names() -> set[str]:
    return {"a", "b"}


@action
async def table(keys: list[str]) -> dict[str, list[int]]:
    return {key: [1, 2] for key in keys}


@action
async def maybe(value: int | None = None) -> int | None:
    return value


ACTIONS = [
    number, text, real, day, moment, money, identity, point, shape, area, pick, pair, names, table, maybe,
]  # fmt: skip
CATALOG = ActionCatalog(ACTIONS)
PATHS = [
    "",
    ".result",
    ".x",
    ".y",
    ".colour",
    ".at",
    ".points",
    ".points[0]",
    ".points[0].x",
    ".name",
    ".tags",
    "[0]",
    "[1]",
    ".result[0]",
    ".result[1]",
]
LITERALS: list[Any] = [
    1,
    2.5,
    "red",
    "text",
    "2026-11-20T10:00:00Z",
    "12345678-1234-5678-1234-567812345678",
    [],
    ["a"],
    None,
    {"x": 1},
]


@st.composite
def plans(draw: st.DrawFn) -> CandidatePlan:
    """Plans over typed actions, wired at random; many are valid, since inputs may be left to their defaults."""
    steps: list[dict[str, Any]] = []
    for at in range(draw(st.integers(1, 6))):
        spec = CATALOG.list_actions()[draw(st.integers(0, len(CATALOG) - 1))]
        refs = [f"${{s{other}{path}}}" for other in range(at) for path in PATHS]
        inputs: dict[str, Any] = {}
        for slot in spec.inputs:
            if slot.required or draw(st.booleans()):
                fitting = [
                    one
                    for one in [*refs, *LITERALS, "${user.u}", "it is ${user.u}"]
                    if _is_valid(
                        [*steps, {"id": f"s{at}", "action": spec.name, "inputs": {**inputs, slot.name: one}}], slot.name
                    )
                ]
                choices = (
                    st.sampled_from(fitting)
                    if fitting and draw(st.integers(0, 9))
                    else st.sampled_from([*refs, *LITERALS])
                )
                inputs[slot.name] = draw(choices)
        step: dict[str, Any] = {"id": f"s{at}", "action": spec.name, "inputs": inputs}
        if draw(st.integers(0, 5)) == 0:
            step["for_each"] = [1, 2]
        steps.append(step)
    return CandidatePlan.from_dict({"steps": draw(st.permutations(steps))})


def _is_valid(steps: list[dict[str, Any]], name: str) -> bool:
    issues = validate(CandidatePlan.from_dict({"steps": steps}), CATALOG, {"u": 5}).issues
    last = steps[-1]["id"]
    return not any(issue.step_id == last and issue.field.split(".")[0].split("[")[0] == name for issue in issues)


@given(plans())
def test_a_valid_plan_runs_without_a_binding_error_and_an_invalid_one_is_never_run(plan: CandidatePlan) -> None:
    """Over fully typed actions; where a type is unknown before the run, the outcome is failed and names the path."""
    validation = validate(plan, CATALOG, {"u": 5})
    CALLS.clear()
    request = RunRequest(plan=plan, user_inputs={"u": 5}, context=RunContext(run_id="r"))
    result = asyncio.run(PlanExecutor(CATALOG).execute(request))

    if not validation.ok:
        assert (False, [], {}) == (result.ok, CALLS, result.outcomes)
        return
    for outcome in result.outcomes.values():
        if outcome.status == "failed":
            assert "BindingError" == outcome.error_type
            assert _may_be_unknown(plan), f"{outcome.step_id}: {outcome.error}"
            assert (outcome.error or "").startswith((f"{outcome.step_id}.", "item "))


def _may_be_unknown(plan: CandidatePlan) -> bool:
    """Whether a binding's type is only known at run time: a nullable or union source, a position, an enum of a text."""
    from planner.catalog import Fit, at_path, fits
    from planner.plan import parse_text
    from planner.plan.bindings import Reference, Template, texts
    from planner.plan.scope import Scope, Typed

    specs = {step.id: CATALOG.get_action_by_name(step.action or "") for step in plan.steps}
    scope = Scope(specs, frozenset(step.id for step in plan.steps if step.for_each is not None), {"u": 5}, {})
    for step in plan.steps:
        spec = specs[step.id]
        assert spec is not None
        for location, found in texts(step.inputs):
            parsed = parse_text(found)
            slot = spec.input(str(location[0]))
            if (
                isinstance(parsed, Template)
                and slot is not None
                and fits({"type": "string"}, slot.schema) is not Fit.YES
            ):
                return True
            if isinstance(parsed, Reference) and parsed.root != "user" and slot is not None:
                meaning = scope.meaning(parsed, step)
                target = at_path(slot.schema, location[1:]) or {}
                positioned = any(isinstance(part, int) for part in parsed.path)
                if positioned or (isinstance(meaning, Typed) and fits(meaning.schema, target) is not Fit.YES):
                    return True
    return False
