"""A small catalog, and validation's answer in a form that is easy to compare."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from planner.catalog import ActionCatalog, action
from planner.plan import CandidatePlan, ValidationResult, validate


class Group(BaseModel):
    name: str
    size: int


@dataclass
class Table:
    rows: list[dict[str, float]]
    groups: list[Group]
    total: float


def load(path: str) -> Table: ...
def count(items: list[str]) -> int: ...
def scale(value: float, factor: float = 1.0) -> float: ...
def plot(group: Group, title: str = "") -> str: ...
def anything(value: Any) -> Any: ...
def when_is(moment: datetime, limit: Annotated[int, Field(gt=0)] = 1) -> str: ...
def pick(groups: list[Group]) -> Group: ...


@action(effect="external")
def send(text: str, files: list[str] | None = None) -> str: ...


@action(roles=["admin"], effect="write", undo="restore")
def erase(name: str) -> None: ...


@action(flow_id="kitchen", cost=3)
def brew(cups: int) -> str: ...


CATALOG = ActionCatalog([load, count, scale, plot, anything, when_is, pick, send, erase, brew])


def step(step_id: str, name: str | None = "anything", /, **fields: Any) -> dict[str, Any]:
    """A step; what is not one of its other fields is an input."""
    own = {
        field: fields.pop(field) for field in ("for_each", "when", "after", "optional", "action_ref") if field in fields
    }
    return {"id": step_id, "action": name, "inputs": fields, **own}


def checked(*steps: dict[str, Any], outputs: dict[str, Any] | None = None, **options: Any) -> ValidationResult:
    """Validate a plan of these steps against `CATALOG`."""
    plan = CandidatePlan.from_dict({"steps": list(steps), "outputs": outputs or {}})
    return validate(plan, options.pop("catalog", CATALOG), options.pop("user_inputs", {}), **options)


def faults(*steps: dict[str, Any], **options: Any) -> list[tuple[str, str, str]]:
    """Kind, step and field of every structural issue."""
    issues = checked(*steps, **options).issues
    return [(issue.kind, issue.step_id, issue.field) for issue in issues if issue.is_structural]
