"""A slot: one named, typed input or output of an action."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, Never

import jsonschema_rs
from pydantic import TypeAdapter

JsonSchema = Mapping[str, Any]
"""A JSON Schema (draft 2020-12) with its own `$defs`; `{}` says nothing about the value."""

JsonType = Literal["string", "number", "boolean", "object", "array"]


class Missing:
    """The type of `MISSING`: a slot without a default, which is not the default `None`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class Semantic:
    """What a value means, beyond its type: `Annotated[str, Semantic("airport_code")]`.

    Inputs and outputs of the same meaning are linked even where their names differ.
    """

    name: str


@dataclass(frozen=True)
class Slot:
    """One input or output.

    The order of the first five fields is that of aethergraph's `IOSlot`, with a whole schema where it had a coarse type.
    """

    name: str
    schema: JsonSchema = field(default_factory=dict[str, Any])
    description: str | None = None
    required: bool = True
    """For an output: whether the action always gives it."""
    default: Any = MISSING
    """`MISSING` when there is none; what is not plain data is shown as text only."""
    semantic: str | None = None
    adapter: TypeAdapter[Any] | None = field(default=None, compare=False, repr=False)
    """Turns plain data into the Python type that the parameter asks for; `None` for slots known by schema only."""

    @property
    def type(self) -> str:
        """The coarse JSON type, or `any` when the schema allows several."""
        declared = self.schema.get("type")
        if isinstance(declared, str):
            return "number" if declared == "integer" else declared
        return "object" if "$ref" in self.schema or "properties" in self.schema else "any"

    @cached_property
    def validator(self) -> jsonschema_rs.Validator:
        """The compiled schema."""
        return compile_schema(self.schema)


def compile_schema(schema: JsonSchema) -> jsonschema_rs.Validator:
    """Compile a schema; formats are checked, and a reference to another document is refused, never fetched.

    Raises:
        ValueError: it is no valid JSON Schema.
    """
    return jsonschema_rs.validator_for(dict(schema), validate_formats=True, retriever=_refuse)


def _refuse(uri: str) -> Never:
    raise ValueError(f"the schema refers to {uri}; bring the definition into its own $defs")


def as_slot(name: str, value: object) -> Slot:
    """Read what a caller gives as an external slot: a `Slot`, a JSON Schema, a Python type, or a coarse type's name.

    Raises:
        TypeError: it is none of these.
    """
    match value:
        case Slot():
            return value
        case None:
            return Slot(name)
        case Mapping():
            return Slot(name, {str(key): item for key, item in value.items()})  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- a caller's mapping has no type
        case "string" | "number" | "integer" | "boolean" | "object" | "array" | "null":
            return Slot(name, {"type": value})
        case "any":
            return Slot(name)
        case type():
            return Slot(name, TypeAdapter(value).json_schema())
        case _:
            raise TypeError(f"external slot {name!r} is a {type(value).__name__}; give a Slot, a JSON Schema or a type")
