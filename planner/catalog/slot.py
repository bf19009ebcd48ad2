"""A slot: one named, typed input or output of an action."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from functools import cached_property
from typing import Any, Final, Never, cast, get_origin

import jsonschema_rs
from pydantic import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

from planner.catalog.typed_dicts import modern

JsonSchema = Mapping[str, Any]
"""A JSON Schema (draft 2020-12) with its own `$defs`; `{}` says nothing about the value."""

PYTHON_TYPE = "x-python-type"
"""The word of a schema that names a Python type with a codec, which no JSON value has."""


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

    The first five fields are in the order of aethergraph's `IOSlot`, with a whole schema where it had a coarse type.
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

    Times need no offset: pydantic's do not, and few people or models write one.

    Raises:
        ValueError: it is no valid JSON Schema.
    """
    formats = {"date-time": _is_datetime, "time": _is_time}
    return jsonschema_rs.validator_for(dict(schema), formats=formats, validate_formats=True, retriever=_refuse)


def _is_datetime(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return ":" in text


def _is_time(text: str) -> bool:
    try:
        time.fromisoformat(text)
    except ValueError:
        return False
    return ":" in text


def _refuse(uri: str) -> Never:
    raise ValueError(f"the schema refers to {uri}; bring the definition into its own $defs")


def as_slot(name: str, value: object) -> Slot:
    """Read what a caller gives as an external slot: a `Slot`, a JSON Schema, a Python type, or a coarse type's name.

    Raises:
        TypeError: it is none of these; the message says what to give.
    """
    match value:
        case Slot():
            return value
        case None:
            return Slot(name)
        case Mapping():
            return _schema_slot(name, cast("Mapping[str, Any]", value))
        case "string" | "number" | "integer" | "boolean" | "object" | "array" | "null":
            return Slot(name, {"type": value})
        case "any":
            return Slot(name)
        case _ if isinstance(value, type) or get_origin(value) is not None:  # also list[int], int | None, Annotated[…]
            return _type_slot(name, value)
        case _:
            kind = type(value).__name__
            raise TypeError(f"external slot {name!r} is a {kind}; give a Slot, a JSON Schema or a type")


def _schema_slot(name: str, schema: JsonSchema) -> Slot:
    slot = Slot(name, dict(schema))
    try:
        _ = slot.validator
    except ValueError as error:
        raise TypeError(f"external slot {name!r} has a schema that is no JSON Schema: {error}") from error
    return slot


def _type_slot(name: str, kind: Any) -> Slot:
    try:
        return Slot(name, TypeAdapter(modern(kind)).json_schema())
    except (PydanticUserError, PydanticSchemaGenerationError, PydanticInvalidForJsonSchema) as error:
        raise TypeError(f"external slot {name!r} has a type without a JSON Schema: {kind!r}") from error
