"""What must not be shown: values with the names of secrets, and what texts carry of them."""

import re
from itertools import pairwise

from planner.catalog.words import split_name

SECRET_WORDS = frozenset({
    "apikeys", "auth", "authorization", "bearer", "cookie", "cookies", "cred", "creds", "cvc", "cvv", "dsn", "jwt",
    "otp", "passcode", "passwords", "pin", "ssn", "totp",
})  # fmt: skip

SECRET_ENDINGS = (
    "accesskey", "apikey", "credential", "credentials", "passphrase", "passwd", "password", "passwords", "privatekey",
    "pwd", "secret", "secretkey", "secrets", "token", "tokens",
)  # fmt: skip
"""Of a word: people also write `dbpassword` and `PGPASSWORD`."""

SECRET_PAIRS = frozenset({
    *((word, key) for key in ("key", "keys") for word in (
        "access", "account", "api", "auth", "encryption", "master", "private", "secret", "service", "shared", "signing",
        "ssh", "storage", "subscription",
    )),
    *((word, "pass") for word in ("db", "ftp", "login", "mail", "my", "mysql", "proxy", "redis", "smtp", "user")),
    ("card", "number"), ("pass", "phrase"), ("pass", "word"), ("connection", "string"), ("session", "id"),
})  # fmt: skip
"""Words that are harmless alone; `primary_key` and `boarding_pass` are no secrets."""

MASK = "•••"
"""Stands where a secret was."""

_WORD = re.compile(r"[^\W_]+")
_USER_INFO = re.compile(
    r"://(?!•••@)(?:[^\s/?#]{0,500}@|[^\s/?#@:]{0,500}:(?!\d+(?:[/?#]|$))\S{0,500}@)"  # bounded: tried at each place
)
_ASSIGNED = re.compile(
    r"(?:password|passwd|pwd|secret|token|api_?key|access_?key)=(?!•••)\S|-----BEGIN ", re.IGNORECASE
)
_PRIVATE_KEY = re.compile(r"-----BEGIN .*?(?:-----END [^-\n]*-----|\Z)", re.DOTALL)
_NAMED = re.compile(
    r"""(?P<name>(?<![^\W_])[^\W\d][\w-]{0,60}(?:[ .][^\W\d][\w-]{0,30})?)(?P<sign>["']?\s{0,3}[=:]\s{0,3})"""
    r"""(?P<value>"[^"\n]*"|'[^'\n]*'|(?:bearer|basic)\s+[^\s,;]+|[^\s,;"'}\]]+)""",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Tell whether a value of this name is likely a secret: `AWS_SECRET_ACCESS_KEY`, `accessToken`, `my password`."""
    words = _WORD.findall(split_name(name).lower())
    return (
        any(word in SECRET_WORDS or word.endswith(SECRET_ENDINGS) for word in words)
        or not SECRET_PAIRS.isdisjoint(pairwise(words))
        or words == ["pass"]
    )


def has_secret(text: str) -> bool:
    """Tell whether a short text carries a secret: a URL with user and password, `password=…`, a private key."""
    return bool(_USER_INFO.search(text) or _ASSIGNED.search(text))


def redacted(text: str) -> str:
    """Return `text` with a mask for each secret that it names: `password=…`, `api key: …`, a URL's user, a private key.

    What is no more than a word in a sentence is not found: "hunter2 is my password" stays as it is.
    """
    text = _USER_INFO.sub(f"://{MASK}@", _PRIVATE_KEY.sub(MASK, text))
    return _NAMED.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    return f"{found['name']}{found['sign']}{MASK}" if is_secret_name(found["name"]) else found[0]
