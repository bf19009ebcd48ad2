"""Annotations given as text, in a module that says `from __future__ import annotations`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import BaseModel

from planner.catalog import ActionCatalog, ActionContext, action
from planner.errors import RegistrationError


def test_local_classes_are_found_where_the_decorator_stands() -> None:
    """As written inside a test, a notebook's function or a factory."""

    @dataclass
    class Request:
        name: str
        times: int = 1

    class Answer(BaseModel):
        text: str

    @action
    def greet(request: Request, ctx: ActionContext) -> Answer:
        return Answer(text=request.name * request.times)

    spec = ActionCatalog([greet]).get_action("action:greet")

    assert ["request"] == [slot.name for slot in spec.inputs]
    assert {"name", "times"} == spec.inputs[0].schema["properties"].keys()
    assert ["text"] == [slot.name for slot in spec.outputs]


def test_local_models_that_name_each_other_are_read() -> None:
    """Pydantic remembers where a model was defined, though `typing` does not."""

    class Part(BaseModel):
        size: int

    class Whole(BaseModel):
        parts: list[Part]

    @action(effect="write")
    def make(parts: list[Part]) -> Whole:
        return Whole(parts=parts)

    spec = ActionCatalog([make]).get_action("action:make")

    assert ["parts"] == [slot.name for slot in spec.outputs]
    assert {"Part"} == spec.outputs[0].schema["$defs"].keys()


def test_a_local_class_without_the_decorator_is_refused_with_its_name() -> None:
    """A plain function does not say where it was defined."""

    @dataclass
    class Hidden:
        name: str

    def act(value: Hidden) -> None: ...

    with pytest.raises(RegistrationError, match="'Hidden' is not defined"):
        ActionCatalog([act])
