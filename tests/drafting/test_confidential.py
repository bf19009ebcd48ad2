"""What is secret by its name, and what a text carries of secrets."""

import pytest

from planner.drafting.confidential import has_secret, is_secret_name, redacted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("log in with password=hunter2, as joe", "log in with password=•••, as joe"),
        ("/login user=ann, password = hunter2", "/login user=ann, password = •••"),
        ("api_key: hunter2 please", "api_key: ••• please"),
        ("my API key: hunter2", "my API key: •••"),
        ("the token is: hunter2", "the token is: •••"),
        ("DB_PASSWORD='hunter2 and more' x", "DB_PASSWORD=••• x"),
        ('{"user": "ann", "password": "hunter 2", "pin": 4711}', '{"user": "ann", "password": •••, "pin": •••}'),
        ("Authorization: Bearer hunter2", "Authorization: •••"),
        ("at https://joe:hunter2@host/x and https://host:80/y", "at https://•••@host/x and https://host:80/y"),
        ("-----BEGIN KEY-----\nhunter2\n-----END KEY----- x", "••• x"),
        ("-----BEGIN KEY-----\nhunter2", "•••"),
        ("meet at 10:30, day: Friday, see https://host/a=b", "meet at 10:30, day: Friday, see https://host/a=b"),
    ],
    ids=["assigned", "spaces", "colon", "two words", "is", "quotes", "json", "header", "address", "key", "open key",
         "none"],
)  # fmt: skip
def test_a_secret_that_a_text_names_is_masked(text: str, told: str) -> None:
    assert told == redacted(text)
    assert told == redacted(told)
    assert not has_secret(told)


@pytest.mark.parametrize(
    "text", ["://:" * 50_000, "a-" * 100_000, 'x="' * 70_000, "a:" * 100_000, "-----BEGIN " * 20_000]
)
def test_a_long_text_is_read_in_reasonable_time(text: str) -> None:
    """Work that grows with the square would meet the timeout of the tests."""
    assert redacted(text)


def test_numbers_of_cards_and_people_are_secret() -> None:
    assert all(map(is_secret_name, ("card_number", "creditCardNumber", "ssn", "user-SSN")))
    assert not any(map(is_secret_name, ("card", "number", "iban", "session", "assn")))
