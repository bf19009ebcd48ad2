"""Secrets among the inputs of a run: known, so that they can be taken out of every message."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import SecretBytes, SecretStr


def secrets_in(user_inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of every secret in `user_inputs`, however deep, with the key that it was given under."""
    found: dict[str, str] = {}
    pending: list[tuple[str, object]] = list(user_inputs.items())
    while pending:
        name, value = pending.pop()
        match value:
            case SecretStr():
                found[value.get_secret_value()] = name
            case SecretBytes():
                found[value.get_secret_value().decode(errors="replace")] = name
            case Mapping():
                pending.extend((name, item) for item in cast("Mapping[object, object]", value).values())
            case list() | tuple():
                pending.extend((name, item) for item in cast("list[object]", value))
            case _:
                pass
    found.pop("", None)
    return found


def redact(text: str, secrets: Mapping[str, str]) -> str:
    """Take the values of secrets out of a message; `secrets` maps each value to its name."""
    for value, name in sorted(secrets.items(), key=lambda entry: -len(entry[0])):  # one may contain another
        text = text.replace(value, f"<secret {name}>")
    return text
