"""Text that others wrote, for a terminal and for lists."""

import re
import unicodedata

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_JOINERS = "\u200c\u200d"
"""Without them, words of Persian or Sinhala are written wrong."""


def clean(text: str) -> str:
    """Return text without control characters, which a terminal would obey, and without what is there and not seen.

    The latter are format characters, such as those that turn the direction of writing or have no width: what people
    read is then what a model reads.
    """
    text = _CONTROL.sub(" ", text)
    if not text.isascii():
        text = "".join(one for one in text if unicodedata.category(one) != "Cf" or one in _JOINERS)
    return text.strip()
