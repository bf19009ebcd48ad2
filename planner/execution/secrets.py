"""Secrets among the inputs of a run: known, so that they can be kept out of whatever is stored or told."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr

from planner.plan.bindings import texts

MASK = "**********"


def secrets_in(user_inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of every secret in `user_inputs`, however deep, with the key that it was given under."""
    found: dict[str, str] = {}
    pending: list[tuple[str, object]] = list(user_inputs.items())
    seen: set[int] = set()
    while pending:
        name, value = pending.pop()
        if id(value) in seen:
            continue
        match value:
            case SecretStr():
                found[value.get_secret_value()] = name
            case SecretBytes():
                found[value.get_secret_value().decode(errors="replace")] = name
            case str() | bytes() | int() | float() | None:
                pass
            case _:
                seen.add(id(value))
                pending.extend((name, part) for part in _parts(value))
    found.pop("", None)
    return found


def redact(text: str, secrets: Mapping[str, str]) -> str:
    """Take the values of secrets out of a message, also as `repr` and JSON write them."""
    for value, name in sorted(secrets.items(), key=lambda entry: -len(entry[0])):  # one may contain another
        for form in dict.fromkeys((value, repr(value)[1:-1], json.dumps(value)[1:-1])):
            text = text.replace(form, f"<secret {name}>")
    return text


def error_text(error: BaseException, secrets: Mapping[str, str]) -> str:
    """Say what an error says, without secrets; an error that cannot say it is named."""
    try:
        text = str(error) or repr(error)
    except Exception:  # noqa: BLE001 - an action's error may be broken itself
        text = f"{type(error).__name__}, which cannot be shown"
    return redact(text, secrets)[:4000]


def without(value: Any, secrets: Mapping[str, str]) -> Any:
    """Return plain data with the secrets in its texts replaced by their names."""
    if not secrets:
        return value
    match value:
        case str():
            return redact(value, secrets)
        case dict():
            return {key: without(part, secrets) for key, part in cast("dict[str, Any]", value).items()}
        case list() | tuple():
            return [without(part, secrets) for part in cast("list[Any]", value)]
        case _:
            return value


def secret_within(value: Any, secrets: Mapping[str, str]) -> str | None:
    """Return the name of a secret whose value stands in a text of plain data."""
    if not secrets:
        return None
    return next((secrets[secret] for _, text in texts(value) for secret in secrets if secret in text), None)


def masked(user_inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with a mask for each that is a secret or holds one."""
    return {name: MASK if secrets_in({name: value}) else value for name, value in user_inputs.items()}


def _parts(value: object) -> list[object]:
    match value:
        case Mapping():
            return list(cast("Mapping[object, object]", value).values())
        case list() | tuple() | set() | frozenset():
            return list(cast("list[object]", value))
        case BaseModel():
            return [part for _, part in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return [getattr(value, field.name) for field in fields(value)]
        case _:
            return []
