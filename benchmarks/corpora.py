"""Public data with gold plans, when it lies beside the checkout; a small made-up catalog otherwise."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from planner.catalog import ActionCatalog, ActionSpec, Slot, make_ref
from planner.plan import CandidatePlan, validate

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

NESTFUL_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
SEAL_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}


@dataclass(frozen=True)
class Query:
    """A goal in words and the actions that it needs."""

    text: str
    gold: frozenset[str]


def described(name: str, description: str, inputs: tuple[Slot, ...], outputs: tuple[Slot, ...]) -> ActionSpec:
    """Return an action that can be planned with, not run."""
    return ActionSpec(
        name=name,
        ref=make_ref("action", name, "1"),
        kind="action",
        version="1",
        inputs=inputs,
        outputs=outputs,
        description=description,
        single_output=False,
        returns=Slot("result", {"type": "object", "properties": {slot.name: dict(slot.schema) for slot in outputs}}),
    )


def nestful() -> list[tuple[ActionCatalog, list[CandidatePlan]]]:
    """Return each split's catalog with its plans that are right by their own catalog; empty without the data."""
    found: list[tuple[ActionCatalog, list[CandidatePlan]]] = []
    for catalog, tasks in _nestful_splits():
        plans = [_nestful_plan(task) for task in tasks]
        found.append((catalog, [plan for plan in plans if plan.steps and validate(plan, catalog).ok]))
    return found


def nestful_goals() -> list[tuple[ActionCatalog, list[str]]]:
    """Return each split's catalog with the goals that its actions serve; empty without the data."""
    return [(catalog, [task["input"] for task in tasks]) for catalog, tasks in _nestful_splits()]


def _nestful_splits() -> Iterator[tuple[ActionCatalog, list[Any]]]:
    folder = DATA / "nestful"
    for split in ("glaive", "sgd") if folder.is_dir() else ():
        specs = json.loads((folder / f"non-executable-{split}-spec.json").read_text(encoding="utf-8"))
        tasks = json.loads((folder / f"non-executable-{split}-data.json").read_text(encoding="utf-8"))
        yield ActionCatalog({spec["name"]: _nestful_action(spec) for spec in specs}.values()), tasks


def _nestful_action(spec: Mapping[str, Any]) -> ActionSpec:
    given: dict[str, Any] = {}
    for part in ("query_parameters", "path_parameters", "parameters", "arguments"):
        given |= spec.get(part) or {}
    inputs = tuple(_nestful_slot(name, slot, required=bool(slot.get("required"))) for name, slot in given.items())
    results: dict[str, Any] = spec.get("output_parameters") or {}
    outputs = tuple(_nestful_slot(name, slot, required=True) for name, slot in results.items())
    return described(spec["name"], spec.get("description", ""), inputs, outputs)


def _nestful_slot(name: str, slot: Mapping[str, Any], *, required: bool) -> Slot:
    schema: dict[str, Any] = {}
    kind = str(slot.get("type", "string")).lower()  # the sgd split has no types; all its values are text
    if kind in NESTFUL_TYPES:
        schema["type"] = kind
    choices = slot.get("enum") or slot.get("allowed_values")
    if choices:
        schema["enum"] = choices
    return Slot(name, schema, slot.get("description"), required=required)


def _nestful_plan(task: Mapping[str, Any]) -> CandidatePlan:
    *calls, last = cast("list[dict[str, Any]]", task["output"])
    if last["name"] != "var_result":
        calls, last = [*calls, last], dict[str, Any](arguments={})
    steps = [{"id": call["label"], "action": call["name"], "inputs": _bound(call["arguments"])} for call in calls]
    return CandidatePlan.from_dict({"goal": task["input"], "steps": steps, "outputs": _bound(last["arguments"])})


def _bound(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bound(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_bound(item) for item in cast("list[Any]", value)]
    if isinstance(value, str) and value.startswith("$") and value.endswith("$") and len(value) > 2:
        return f"${{{value.strip('$')}}}"
    return value


def seal_tools() -> tuple[list[ActionSpec], list[Query]]:
    """Return the actions and the queries of the dev set; empty without the data."""
    folder = DATA / "seal_tools"
    if not folder.is_dir():
        return [], []
    with (folder / "tool.jsonl").open(encoding="utf-8") as lines:
        specs = {spec.name: spec for spec in (_seal_action(json.loads(line)) for line in lines)}
    with (folder / "dev.jsonl").open(encoding="utf-8") as lines:
        tasks = [json.loads(line) for line in lines]
    queries = [Query(task["query"], frozenset(call["api"] for call in task["calling"])) for task in tasks]
    return list(specs.values()), [query for query in queries if query.gold <= specs.keys()]


def _seal_action(tool: Mapping[str, Any]) -> ActionSpec:
    required = set(tool.get("required") or ())
    inputs = tuple(_seal_slot(name, slot, required=name in required) for name, slot in tool["parameters"].items())
    outputs = tuple(_seal_slot(name, slot, required=True) for name, slot in tool["responses"].items())
    return described(tool["api_name"], tool["api_description"], inputs, outputs)


def _seal_slot(name: str, slot: Mapping[str, Any], *, required: bool) -> Slot:
    kind = SEAL_TYPES.get(str(slot.get("type")))
    return Slot(name, {"type": kind} if kind else {}, slot.get("description"), required=required)


def synthetic_plans() -> list[tuple[ActionCatalog, list[CandidatePlan]]]:
    """Return a small catalog with right plans over it, for a checkout without the data."""
    nouns = ["invoice", "route", "report", "weather", "playlist", "booking", "contract", "survey", "recipe", "garden"]
    text, number = {"type": "string"}, {"type": "number"}
    specs: list[ActionSpec] = []
    plans: list[CandidatePlan] = []
    for at, noun in enumerate(nouns):
        find = described(
            f"find_{noun}",
            f"Find a {noun} by its name",
            (Slot(f"{noun}_name", text), Slot("limit", {"type": "integer"}, required=False)),
            (Slot(f"{noun}_id", text), Slot(f"{noun}_price", number)),
        )
        rate = described(
            f"rate_{noun}",
            f"Rate a {noun} by its price",
            (Slot(f"{noun}_id", text), Slot("price", number)),
            (Slot(f"{noun}_rating", number),),
        )
        specs += [find, rate]
        steps = [
            {"id": "s1", "action": find.name, "inputs": {f"{noun}_name": f"the {noun}", "limit": at + 1}},
            {
                "id": "s2",
                "action": rate.name,
                "inputs": {f"{noun}_id": f"${{s1.{noun}_id}}", "price": f"${{s1.{noun}_price}}"},
            },
        ]
        plans.append(
            CandidatePlan.from_dict(
                {"goal": f"Rate the {noun}", "steps": steps, "outputs": {"rating": f"${{s2.{noun}_rating}}"}}
            )
        )
    return [(ActionCatalog(specs), plans)]
