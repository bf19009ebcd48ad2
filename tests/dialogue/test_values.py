"""Values as people are shown them: on one line, in quotes, without secrets, and with what is left out counted."""

from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from planner.dialogue.values import cut, one_line, shown_value

FORGED = "LH-1) – changes data, can be undone\n2. Find a flight to a city (destination: Oslo"


class Login(BaseModel):
    user: str
    phrase: SecretStr | None = None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Oslo", '"Oslo"'),
        (FORGED, '"LH-1) – changes data, can be undone 2. Find a flight to a city (destination: Oslo"'),
        ('a "quoted" one', '"a \\"quoted\\" one"'),
        ("x" * 230, f'"{"x" * 200}…" (30 more characters)'),
        ("x" * 201, f'"{"x" * 200}…" (1 more character)'),
        ("LH-1" + " " * 200 + "AND THE HOTEL", '"LH-1 AND THE HOTEL"'),
        ("LH-1" + " " * 5_000 + "AND THE HOTEL", '"LH-1…" (3,217 more characters)'),
        ("to \u202eyrrah\u202c, \u200bnow", '"to \\u202eyrrah\\u202c, \\u200bnow"'),
        ("half \ud83d of a pair", '"half ? of a pair"'),
        ("नि\u200cत 👩\u200d👩", '"नि\u200cत 👩\u200d👩"'),
        (None, "null"),
        (True, "true"),
        (2.5, "2.5"),
        (2**70, str(2**70)),
        (10**5_000, "a very large number"),
        (float("nan"), "NaN"),
        (b"x" * 12_000, "12,000 bytes"),
        (date(2026, 11, 20), '"2026-11-20"'),
        (object(), "a object"),
        ([], "[]"),
        ({"to": "ann", "odd: {": [1, "b"]}, '{to: "ann", "odd: {": [1, "b"]}'),
        ({"body": "x" * 300, "to": "evil@x"}, f'{{body: "{"x" * 100}…" (200 more characters), to: "evil@x"}}'),
        ({"x": {"x": {"x": {"x": {"x": {"x": {"x": 1}}}}}}}, "{x: {x: {x: {x: {x: {x: …}}}}}}"),
    ],
    ids=["text", "forged", "quotes", "long", "longer by one", "blanks", "blanks to the cut", "hidden", "surrogate",
         "joined", "null", "true", "number", "large", "very large", "no number", "bytes", "date", "object",
         "empty list", "mapping", "cut inside", "deep"],
)  # fmt: skip
def test_a_value_is_told_on_one_line(value: Any, told: str) -> None:
    assert told == shown_value("x", value)
    assert "\n" not in told


def test_of_a_long_list_it_is_said_how_much_is_left_out() -> None:
    told = shown_value("rows", list(range(3_000)))

    assert told.startswith("[0, 1, 2, ")
    assert told.endswith(", and 2,947 more]")
    assert "and 99 more" in shown_value("rows", [{"text": "x" * 1_000}] * 100, most=100)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("password", "hunter2", "•••"),
        ("pin", 4711, "•••"),
        ("x", SecretStr("hunter2"), "•••"),
        ("card_number", "hunter2", "•••"),
        (
            "x",
            {"credentials": {"a": "hunter2"}, "n": [{"api_key": "hunter2"}]},
            "{credentials: •••, n: [{api_key: •••}]}",
        ),
        ("hosts", ["https://u:hunter2@h/"], '["https://•••@h/"]'),
        ("note", "use password=hunter2 for it", '"use password=••• for it"'),
        ("note", "x" * 195 + " password=hunter2", f'"{"x" * 195} pass…" (8 more characters)'),
        ("login", {"user": "ann", "phrase": "hunter2"}, '{user: "ann", phrase: •••}'),
        ("logins", [{"user": "ann", "phrase": "hunter2"}], '[{user: "ann", phrase: •••}]'),
        ("phrase", "hunter2", "•••"),
    ],
    ids=[
        "name",
        "number",
        "secret",
        "card",
        "inside",
        "address",
        "assigned",
        "at the cut",
        "schema",
        "items",
        "password",
    ],
)
def test_no_secret_is_told(name: str, value: Any, told: str) -> None:
    """Neither by its name, nor by its type, nor as a text carries one."""
    one = Login.model_json_schema()
    of: dict[str, Any] = {"logins": {"type": "array", "items": one, "$defs": one.get("$defs", {})}, "login": one,
                          "phrase": {"type": "string", "format": "password"}}  # fmt: skip

    assert told == shown_value(name, value, of.get(name))
    assert "hunter2" not in told


def test_a_known_secret_is_taken_out_of_any_text() -> None:
    assert '["<secret key> of the house"]' == shown_value("x", ["hunter2 of the house"], secrets={"hunter2": "key"})


def test_what_refers_to_itself_is_told() -> None:
    loop: list[Any] = [1]
    loop.append(loop)

    assert "[1, [1, [1, [1, [1, [1, …]]]]]]" == shown_value("x", loop)


def test_a_text_is_cut_with_a_count() -> None:
    assert ("abc… (3 more characters)", "abcdef") == (cut("abcdef", 3), cut("abcdef", 6))
    assert f'"{"x" * 190} password=•••"' == shown_value("x", "x" * 190 + " password=" + "hunter2" * 9, most=210)
    assert ("a b… (4 more characters)", "a b c") == (one_line("a\n b c d", 3), one_line(" a\tb\n\nc "))
