"""What must not be shown to a model: values with the names of secrets, and texts that carry one in themselves."""

import re
from itertools import pairwise

from planner.catalog.words import split_name

SECRET_WORDS = frozenset({
    "apikeys", "auth", "authorization", "bearer", "cookie", "cookies", "cred", "creds", "cvc", "cvv", "dsn", "jwt",
    "otp", "passcode", "passwords", "pin", "totp",
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
    ("pass", "phrase"), ("pass", "word"), ("connection", "string"), ("session", "id"),
})  # fmt: skip
"""Words that are harmless alone; `primary_key` and `boarding_pass` are no secrets."""

_WORD = re.compile(r"[^\W_]+")
_USER_INFO = re.compile(r"://[^\s/?#]*@|://[^\s/?#@:]*:(?!\d+(?:[/?#]|$))\S*@")
_ASSIGNED = re.compile(r"(?:password|passwd|pwd|secret|token|api_?key|access_?key)=\S|-----BEGIN ", re.IGNORECASE)


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
