"""What a value that is there tells of its type."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import SecretStr

from planner.catalog import JsonSchema

SHOWN_FIELDS = 30
"""An object with more is only called one."""


def schema_of(value: Any, depth: int = 0) -> JsonSchema:
    """Return the JSON Schema that a value shows, of a list the schema of its first item."""
    match value:
        case None:
            return {"type": "null"}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str() | SecretStr():
            return {"type": "string"}
        case list() | tuple() if depth < 3:
            items = cast("Sequence[Any]", value)
            return {"type": "array", **({"items": schema_of(items[0], depth + 1)} if items else {})}
        case Mapping() if depth < 3 and len(cast("Mapping[Any, Any]", value)) <= SHOWN_FIELDS:
            fields = {str(key): schema_of(item, depth + 1) for key, item in cast("Mapping[Any, Any]", value).items()}
            return {"type": "object", "properties": fields, "required": list(fields)}
        case Mapping():
            return {"type": "object"}
        case _:
            return {}
