"""Forms at the terminal: what is typed becomes what the schema wants, or stays as it was typed."""

from typing import Any

import pytest
from rich.text import Text

from goalgraph.cli.forms import ask_for


def typed(schema: dict[str, Any], line: str) -> Any:
    """What comes of a line that somebody types."""

    def read(label: Text, *, hidden: bool = False) -> str:
        return line

    return ask_for(schema, "answer", read)


@pytest.mark.parametrize(
    ("items", "line", "value"),
    [
        ({"type": "string"}, "1, 2, true", ["1", "2", "true"]),
        ({"type": "string"}, '["a, b", "c"]', ["a, b", "c"]),
        ({"type": "string"}, "[a, b", ["[a", "b"]),
        ({"type": "integer"}, "1, 2,", [1, 2]),
        ({"type": "boolean"}, "ja, no, maybe", [True, False, "maybe"]),
        ({}, "1, b", [1, "b"]),
        (None, "1, b", [1, "b"]),
        (True, "1, b", [1, "b"]),
        ({"type": ["string", "null"]}, "1", ["1"]),
        ({"type": ["string", "integer"]}, "1", [1]),
    ],
)
def test_a_list_is_read_by_the_type_of_its_items(items: Any, line: str, value: list[Any]) -> None:
    schema = {"type": "array"} | ({} if items is None else {"items": items})

    assert typed(schema, line) == value


@pytest.mark.parametrize(
    ("line", "value"),
    [
        *(("y", True), ("Ja", True), ("true", True), ("n", False), ("nein", False), ("да", True), ("FALSE", False)),
        *(("", ""), ("perhaps", "perhaps"), ("1", "1")),
    ],
)
def test_yes_and_no_are_those_of_the_chat(line: str, value: object) -> None:
    assert typed({"type": "boolean"}, line) == value
