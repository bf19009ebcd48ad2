"""The rules of the Agent Skills standard for front matter, as its own validator `skills-ref` 0.1.1 has them."""

import unicodedata
from collections.abc import Iterator

from skills.front_matter import FrontMatter, Scalar
from skills.problems import quoted

FIELDS = frozenset({"allowed-tools", "compatibility", "description", "license", "metadata", "name"})
LONGEST_NAME = 64
LONGEST_DESCRIPTION = 1_024
LONGEST_COMPATIBILITY = 500
MOST_LINES = 500
"""Of a body: advice, which the validator does not check."""

Finding = tuple[str, int | None]
"""What is wrong, and the line."""


def violations(front: FrontMatter, folder: str) -> Iterator[Finding]:
    """Yield what is against the standard; `folder` is the name of the skill's folder."""
    for key in front.fields:
        if key not in FIELDS:
            yield f"{quoted(key)} is no field of the standard; other fields go into `metadata`", front.lines[(key,)]
    yield from _located(front, "name", _name(front, folder))
    yield from _located(front, "description", _description(front))
    yield from _located(front, "compatibility", _compatibility(front))


def _located(front: FrontMatter, key: str, messages: Iterator[str]) -> Iterator[Finding]:
    line = front.lines.get((key,))
    return ((message, line) for message in messages)


def _name(front: FrontMatter, folder: str) -> Iterator[str]:
    name = _text(front, "name")
    if name is None:
        yield "`name` is missing, or is no text"
        return
    name = unicodedata.normalize("NFKC", name.strip())
    if len(name) > LONGEST_NAME:
        yield f"`name` has {len(name)} characters, {LONGEST_NAME} are allowed"
    if name != name.lower():
        yield "`name` has to be in lower case"
    if name.startswith("-") or name.endswith("-") or "--" in name:
        yield "in `name`, a hyphen has to stand alone between letters or digits"
    if not all(character.isalnum() or character == "-" for character in name):
        yield "`name` may have letters, digits and hyphens only"
    if name != unicodedata.normalize("NFKC", folder):
        yield f"`name` is {quoted(name)}, but the folder is {quoted(folder)}; they have to be the same"


def _description(front: FrontMatter) -> Iterator[str]:
    description = _text(front, "description")
    if description is None:
        yield "`description` is missing, or is no text; say what the skill does and when to use it"
    elif len(description) > LONGEST_DESCRIPTION:
        yield f"`description` has {len(description)} characters, {LONGEST_DESCRIPTION} are allowed"


def _compatibility(front: FrontMatter) -> Iterator[str]:
    match front.fields.get("compatibility"):
        case None:
            pass
        case Scalar(special=False, text=text) if len(text) > LONGEST_COMPATIBILITY:
            yield f"`compatibility` has {len(text)} characters, {LONGEST_COMPATIBILITY} are allowed"
        case Scalar(special=False):
            pass
        case _:
            yield "`compatibility` has to be text"


def _text(front: FrontMatter, key: str) -> str | None:
    node = front.fields.get(key)
    return node.text if isinstance(node, Scalar) and node.text.strip() and not node.special else None
