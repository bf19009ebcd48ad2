"""A plan as data: frozen values that read and write the JSON that people and models exchange."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from planner.catalog import ActionCatalog, ActionSpec
from planner.catalog.catalog import in_group
from planner.errors import InvalidPlan, UnknownAction

if TYPE_CHECKING:
    from planner.plan.drawing.draw import Drawing

Operator = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "exists", "truthy"]


class PlanValue(BaseModel):
    """Base of everything in a plan: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Condition(PlanValue):
    """A comparison that decides whether a step runs; not a program."""

    ref: str
    """A binding such as `${total.amount}`."""
    op: Operator = "truthy"
    value: Any = None
    """What to compare with; may itself be a binding. `exists` and `truthy` need none."""


class After(PlanValue):
    """An order without data: wait for `step`, and unless `required` is false, only go on if it did not fail."""

    step: str
    required: bool = True


class PlanStep(PlanValue):
    """One call of one action."""

    id: str
    action: str | None = None
    """The action's name; the newest version is meant."""
    action_ref: str | None = None
    """`kind:name@version`; either this or `action` is needed, and where both are given they must agree."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Literals and bindings, by input name."""
    extras: dict[str, Any] = Field(default_factory=dict)
    """Whatever the caller keeps with the step; the planner does not look at it."""
    for_each: Any = None
    """A list, or a binding to one: the step runs once for each item, bound as `${item}`."""
    when: Condition | None = None
    after: tuple[After, ...] = ()
    optional: bool = False
    """Its failure skips what depends on it and fails nothing else."""
    priority: int = 0
    """Among steps that are ready at the same time, the lowest starts first."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        """Accept a step's id alone in `after`, and ids given as numbers, as models do."""
        if not isinstance(data, Mapping):
            return data
        given = dict(cast("Mapping[str, Any]", data))
        if type(given.get("id")) is int:
            given["id"] = str(given["id"])
        after = given.get("after")
        if isinstance(after, str):
            after = [after]
        if isinstance(after, Sequence):
            entries = cast("Sequence[Any]", after)
            given["after"] = tuple({"step": entry} if isinstance(entry, str) else entry for entry in entries)
        for name in ("inputs", "extras", "after"):
            if given.get(name, ...) is None:
                del given[name]
        return given

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PlanStep":
        """Read a step.

        Raises:
            pydantic.ValidationError (a ValueError): a field is missing, unknown or of the wrong type.
        """
        return cls.model_validate(data)

    def to_dict(self) -> dict[str, Any]:
        """Return the shape that `from_dict` reads: a seed's fields, and the others where they are set; a copy."""
        shape: dict[str, Any] = {
            "id": self.id,
            "action": self.action,
            "action_ref": self.action_ref,
            "inputs": copied(self.inputs),
            "extras": copied(self.extras),
        }
        if self.for_each is not None:
            shape["for_each"] = copied(self.for_each)
        if self.when is not None:
            shape["when"] = {"ref": self.when.ref, "op": self.when.op, "value": copied(self.when.value)}
        if self.after:
            shape["after"] = [item.step if item.required else item.model_dump() for item in self.after]
        if self.optional:
            shape["optional"] = True
        if self.priority:
            shape["priority"] = self.priority
        return shape


class CandidatePlan(PlanValue):
    """Steps that together reach a goal, in any order: bindings and `after` say what waits for what."""

    steps: tuple[PlanStep, ...]
    extras: dict[str, Any] = Field(default_factory=dict)
    goal: str = ""
    outputs: dict[str, Any] = Field(default_factory=dict)
    """What the run returns, by name; without it, the outputs of the last step."""

    @model_validator(mode="before")
    @classmethod
    def _absent_is_empty(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = dict(cast("Mapping[str, Any]", data))
        given.pop("plan_version", None)  # aethergraph's models write it
        return {key: value for key, value in given.items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CandidatePlan":
        """Read a plan.

        Raises:
            pydantic.ValidationError (a ValueError): a field is missing, unknown or of the wrong type.
        """
        return cls.model_validate(data)

    def to_dict(self) -> dict[str, Any]:
        """Return the shape that `from_dict` reads; a copy."""
        shape: dict[str, Any] = {"steps": [step.to_dict() for step in self.steps], "extras": copied(self.extras)}
        if self.goal:
            shape = {"goal": self.goal, **shape}
        if self.outputs:
            shape["outputs"] = copied(self.outputs)
        return shape

    @cached_property
    def id(self) -> str:
        """`plan-` and 16 hexadecimal digits of the content: the same plan has the same id."""
        text = json.dumps(self.to_dict(), sort_keys=True, default=repr, ensure_ascii=False)
        return f"plan-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> "CandidatePlan":
        """Copy the plan; one that was changed has another id."""
        copy = super().model_copy(update=update, deep=deep)
        vars(copy).pop("id", None)  # else the copy would keep the one that was worked out before
        return copy

    def step(self, step_id: str) -> PlanStep | None:
        """Return the step with this id."""
        return next((step for step in self.steps if step.id == step_id), None)

    def draw(self, states: Mapping[str, str] | None = None, catalog: ActionCatalog | None = None) -> "Drawing":
        """Draw the plan as one SVG and as Mermaid text; a notebook shows the picture.

        Args:
            states: Step id → its status, to colour the steps, as in an `ExecutionResult`'s outcomes.
            catalog: Shows effects, approvals and unknown actions as well.
        """
        from planner.plan.drawing.draw import draw_plan  # noqa: PLC0415 - the picture is drawn from this model

        return draw_plan(self, states, catalog)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Show the picture in a notebook."""
        return self.draw().mimebundle()

    def resolve_actions(
        self, catalog: ActionCatalog, *, flow_ids: Sequence[str] | None = None, include_global: bool = True
    ) -> "CandidatePlan":
        """Return the plan with both `action` and `action_ref` set in every step.

        Raises:
            UnknownAction: a step names an action that the catalog does not have.
            InvalidPlan: a step names two different actions.
        """
        groups = None if flow_ids is None else set(flow_ids)
        steps: list[PlanStep] = []
        for step in self.steps:
            spec = resolve_step(step, catalog)
            if step.action is not None and step.action != spec.name:
                raise InvalidPlan(
                    f"step {step.id!r} names the action {step.action!r} and the reference {step.action_ref!r}"
                )
            if not in_group(spec, groups, include_global=include_global):
                visible = catalog.iter_actions(flow_ids=flow_ids, include_global=include_global)
                raise UnknownAction(spec.name, [other.name for other in visible])
            steps.append(step.model_copy(update={"action": spec.name, "action_ref": spec.ref}))
        return self.model_copy(update={"steps": tuple(steps)})


def copied(value: Any) -> Any:
    """Copy the lists and dictionaries of `value`, however deep, and nothing else."""
    root = [value]
    seen: dict[int, Any] = {}  # what contains itself is copied as that
    pending: list[tuple[Any, Any]] = [(root, 0)]
    while pending:
        holder, key = pending.pop()
        current = holder[key]
        if not issubclass(type(current), dict | list):
            continue
        if id(current) not in seen:
            copy = seen[id(current)] = current.copy()
            pending.extend((copy, at) for at in (copy if issubclass(type(copy), dict) else range(len(copy))))
        holder[key] = seen[id(current)]
    return root[0]


def resolve_step(step: PlanStep, catalog: ActionCatalog) -> ActionSpec:
    """Return the action that `step` calls: the one its reference names, else the newest of that name.

    Raises:
        InvalidRef: `action_ref` is no reference.
        UnknownAction: the catalog does not have it, or the step names none.
    """
    if step.action_ref is not None:
        return catalog.get_action(step.action_ref)
    spec = catalog.get_action_by_name(step.action or "")
    if spec is None:
        raise UnknownAction(step.action or "", list(catalog.view.by_name))
    return spec
