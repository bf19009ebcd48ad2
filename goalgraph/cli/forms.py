"""Typed questions: a value of a JSON Schema is asked for at the terminal, an object part by part."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from rich.console import Console
from rich.text import Text

from goalgraph.cli.request import read_value
from planner.dialogue.phrases import yes_or_no

DEEPEST = 8
"""Objects in objects, whose parts are asked for one by one; what is below is read as JSON."""


class Read(Protocol):
    """Reads a line that somebody types."""

    def __call__(self, label: Text, *, hidden: bool = False) -> str:
        """Return the line, without the spaces around it; `hidden`: it is not shown.

        Raises:
            EOFError: nothing more can be read.
        """
        ...


def read_on(console: Console) -> Read:
    """Return what reads lines at a console."""

    def read(label: Text, *, hidden: bool = False) -> str:
        return console.input(label, password=hidden).encode(errors="replace").decode().strip()

    return read


def ask_for(schema: Mapping[str, Any], label: str, read: Read, deep: int = 0) -> Any:
    """Ask for one value of a schema, once; of an object for its parts, where one that may be empty and is, is left out.

    What does not fit the type is returned as it was typed: whoever checks the value says what is wrong.

    Args:
        schema: JSON Schema. `writeOnly` and `format: password` mark what is not shown while it is typed.
        label: Stands before it.
        read: Reads a line.
        deep: How many objects this one is in.
    """

    def line(text: str) -> str:
        return read(Text.assemble((text, "bold"), ": "), hidden=is_secret(schema))

    choices = cast("list[Any]", schema.get("enum") or [])
    if choices:
        text = line(f"{label} ({', '.join(str(one) for one in choices)})")
        return next((one for one in choices if str(one) == text), text)
    match schema.get("type"):
        case "boolean":
            return _truth(line(f"{label} (y/n)"))
        case "object" if schema.get("properties") and deep < DEEPEST:
            parts = cast("Mapping[str, Mapping[str, Any]]", schema["properties"])
            needed = cast("Sequence[str]", schema.get("required", ()))
            values = {
                name: ask_for(part, _label(name, part, name in needed), read, deep + 1) for name, part in parts.items()
            }
            return {name: value for name, value in values.items() if value != "" or name in needed}
        case "string":
            return line(label)
        case "array":
            return _several(line(label), schema.get("items"))
        case _:
            return read_value(line(label))


def _truth(text: str) -> Any:
    """Read a yes or a no, in the languages of the chat."""
    value = yes_or_no(text)
    return text if value is None else value


def _several(text: str, items: Any) -> Any:
    """Read a list: as JSON, or as people write it, with commas between; by the type of its items where that is said."""
    value = read_value(text)
    if isinstance(value, list) or not text:
        return cast("Any", value)
    kind: Any = cast("Mapping[str, Any]", items).get("type") if isinstance(items, Mapping) else None
    kinds = set(cast("list[str]", kind) if isinstance(kind, list) else [kind]) - {"null"}
    read: Callable[[str], Any] = str if kinds == {"string"} else _truth if kinds == {"boolean"} else read_value
    return [read(part) for one in text.split(",") if (part := one.strip())]


def is_secret(schema: Mapping[str, Any]) -> bool:
    """Tell whether a value is hidden while it is typed."""
    return schema.get("writeOnly") is True or schema.get("format") == "password"


def _label(name: str, part: Mapping[str, Any], needed: bool) -> str:  # noqa: FBT001 - a fact about the part
    about = part.get("description") or part.get("type") or ""
    return f"{name}{f' ({about})' if about else ''}{'' if needed else ', may be empty'}"
