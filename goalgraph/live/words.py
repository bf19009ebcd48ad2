"""The marks, durations and values that everything shown of a run is written with."""

import json
import re
from typing import Any

MARKS = {
    "pending": ("·", "dim"),
    "open": ("·", "dim"),
    "running": ("▸", "cyan"),
    "waiting": ("?", "yellow"),
    "compensating": ("↶", "yellow"),
    "undone": ("↶", "yellow"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "unknown": ("✗", "red"),
    "cancelled": ("✗", "yellow"),
    "skipped": ("–", "yellow"),
}
"""The status of a step or a run → its sign and its colour."""
VALUE_CHARS = 60
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What moves the cursor, changes the terminal or turns the direction of a line, and no text of ours contains."""


def visible(text: str) -> str:
    """Put a sign in the place of each character that would act on the terminal instead of being shown."""
    return UNSEEN.sub("\ufffd", text)


def seconds(value: float) -> str:
    """Write a duration: `0.03 s`, `12 s`, `3 min 20 s`."""
    if value < 60:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def short(value: Any, most: int = VALUE_CHARS) -> str:
    """Write a value on one line of bounded length."""
    text = value if isinstance(value, str) and "${" in value else as_json(value)
    return cut(text, most)


def cut(text: str, most: int) -> str:
    """Write a text on one line of bounded length."""
    line = " ".join(text.split()) if "\n" in text else text
    return line if len(line) <= most else f"{line[: most - 1]}…"


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Write a value as JSON for people."""
    return json.dumps(value, ensure_ascii=False, default=_plainly, indent=indent)


def _plainly(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else str(value)
