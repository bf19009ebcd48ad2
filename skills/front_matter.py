"""The front matter of a file, read as data: bounded, without anchors, with the line of each key.

The YAML comes from whoever wrote the skill. It is read event by event, so nothing is constructed, nothing refers to
something else, and nothing recurses; a text stays as it is written (`version: 1.10` is not 1.1, `no` is not `False`).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from skills.problems import quoted

LONGEST_FRONT_MATTER = 64_000
"""Characters."""
MOST_EVENTS = 10_000
DEEPEST_NODE = 20
MOST_MENDED = 5
"""Values with a colon that stand without quotes; with more of them it is not read."""
NO_BEGIN = "there is no front matter: the first line has to be ---"
NO_END = "the front matter has no end: a line --- is missing"
COLON = "the front matter is not YAML: a value with a colon in it has to stand in quotes"
LONGEST_NUMBER = 40
"""Digits; a longer one stays text, since reading numbers takes time in the square of their length."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some builds of PyYAML are without libyaml
_MARK = "---"
# YAML 1.1 ends a line at these, Markdown and YAML 1.2 do not; a line's number shall be the same for all.
_NO_LINE_ENDS = str.maketrans("\x85\u2028\u2029", "   ")
_PLAIN = "tag:yaml.org,2002:"
_COLON_IN_VALUE = "mapping values are not allowed"  # how both of PyYAML's readers begin to say it
_PLAIN_VALUE = re.compile(r"(?P<key>(?P<indent> *)[\w.-]+:[ \t]+)(?P<value>[^\s\"'\[\]{}>|*&!%#`@,].*:.*)")


class BadFrontMatter(ValueError):
    """There is no front matter, or it cannot be read."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value: as it is written, and whether YAML says that it is text."""

    text: str
    tag: str = _PLAIN + "str"

    @property
    def special(self) -> bool:
        """Whether it is `=` or `<<`, which some readers take for something else than text."""
        return self.tag in {_PLAIN + "value", _PLAIN + "merge"}

    @property
    def value(self) -> Any:
        """What YAML says it is, if JSON can say it too; otherwise the text."""
        kind = self.tag.removeprefix(_PLAIN)
        if kind == "null":
            return None
        if kind == "bool":
            return self.text.lower() in {"yes", "true", "on"}
        if kind in {"int", "float"} and len(self.text) <= LONGEST_NUMBER:
            return self._number(int if kind == "int" else float)
        return self.text

    def _number(self, kind: type[int] | type[float]) -> Any:
        try:
            number = kind(self.text)
        except ValueError:  # YAML 1.1 also writes numbers to the base of 2, 8, 16 and 60
            return self.text
        return number if math.isfinite(number) else self.text


Node = Scalar | list["Node"] | dict[str, "Node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something in YAML that this reader takes and others do not."""

    message: str
    line: int
    lenient: bool = False
    """Whether it is said where reading is lenient, too: nobody can want it."""


@dataclass(slots=True)
class FrontMatter:
    """The fields at the top of a file.

    Attributes:
        fields: By key, in order; of a key that is there twice, the last.
        lines: By path of keys, such as `("metadata", "version")`: from 1, in the file.
        notes: What the standard's strict YAML refuses.
    """

    fields: dict[str, Node] = field(default_factory=dict[str, Node])
    lines: dict[tuple[str, ...], int] = field(default_factory=dict[tuple[str, ...], int])
    notes: list[Note] = field(default_factory=list[Note])


def plain(node: Node) -> Any:
    """Return what JSON could hold."""
    match node:
        case Scalar():
            return node.value
        case list():
            return [plain(one) for one in node]
        case dict():
            return {key: plain(one) for key, one in node.items()}


def split(text: str) -> tuple[str, str, int]:
    """Split a file into its front matter, the rest, and the line of the file where the rest begins, from 1.

    Raises:
        BadFrontMatter: there is none, or its end is missing.
    """
    lines = text.split("\n")
    if lines[0].rstrip() != _MARK:
        raise BadFrontMatter(NO_BEGIN, 1)
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == _MARK:
            return "\n".join(lines[1:number]), "\n".join(lines[number + 1 :]), number + 2
    raise BadFrontMatter(NO_END, 1)


def parse(text: str, first_line: int = 2, *, strict: bool = False) -> FrontMatter:
    """Read front matter.

    A plain text with a colon in it (`description: Use when: …`) is the most common fault of skills, and means nothing
    else: it is read as if it stood in quotes, which is noted.

    Args:
        text: What stands between the lines `---`.
        first_line: Where it begins in the file.
        strict: Refuse such texts, and what the standard's validator refuses and libyaml lets pass: tabs between a key
            and its value.

    Raises:
        BadFrontMatter: it is no YAML, no mapping of text to something, has anchors or tags, or is too large or deep.
    """
    if len(text) > LONGEST_FRONT_MATTER:
        raise BadFrontMatter(f"the front matter is longer than {LONGEST_FRONT_MATTER:,} characters", first_line)
    mended: list[Note] = []
    while True:
        try:
            found = _parse(text, first_line, strict=strict)
        except _Colon as error:
            line = error.line or first_line
            with_quotes = _in_quotes(text, line - first_line)
            if with_quotes is None:
                raise
            if strict or len(mended) == MOST_MENDED:
                raise BadFrontMatter(COLON, line) from None
            text = with_quotes
            mended.append(Note(message=COLON, line=line, lenient=True))
            continue
        found.notes[:0] = mended
        return found


def _in_quotes(text: str, line: int) -> str | None:
    """Return `text` with the value that begins in a line in quotes; `None` if there is no plain text."""
    lines = text.split("\n")
    found = _PLAIN_VALUE.fullmatch(lines[line]) if line < len(lines) else None
    if found is None:
        return None
    indent, end = len(found["indent"]), line + 1
    while end < len(lines) and lines[end].strip() and len(lines[end]) - len(lines[end].lstrip(" ")) > indent:
        end += 1  # it goes on there
    value = "\n".join([found["value"], *lines[line + 1 : end]]).rstrip().replace("'", "''")
    return "\n".join([*lines[:line], f"{found['key']}'{value}'", *lines[end:]])


class _Colon(BadFrontMatter):
    """A value has a colon, or a line is indented like one that goes on."""


def _parse(text: str, first_line: int, *, strict: bool) -> FrontMatter:
    try:
        loader: Any = (yaml.SafeLoader if strict else _Loader)(text.translate(_NO_LINE_ENDS))
        return _Reading(first_line).read(loader)
    except BadFrontMatter:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else first_line + int(mark.line)
        kind = _Colon if (error.problem or "").startswith(_COLON_IN_VALUE) else BadFrontMatter
        raise kind(f"the front matter is not YAML: {error.problem or error.context}", line) from None
    except yaml.YAMLError as error:  # of its reader: a character that YAML does not have
        line = first_line + text.count("\n", 0, int(getattr(error, "position", 0) or 0))
        reason = getattr(error, "reason", None) or error
        raise BadFrontMatter(f"the front matter is not YAML: {reason}", line) from None
    except (OverflowError, ValueError) as error:  # the slow loader, of an escape or a version beyond all numbers
        raise BadFrontMatter(f"the front matter is not YAML: {error}", first_line) from None


@dataclass(slots=True)
class _Open:
    """A list or mapping that has not ended."""

    node: "list[Node] | dict[str, Node]"
    path: tuple[str, ...]
    key: str | None = None
    inner_column: int | None = None
    """Where the mappings in this mapping begin."""


class _Reading:
    """One reading of one front matter."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._open: list[_Open] = []
        self._found = FrontMatter()
        self._root: Node | None = None

    def read(self, loader: Any) -> FrontMatter:
        try:
            for event in _events(loader, self._first_line):
                self._take(event, loader)
        finally:
            loader.dispose()
        if not isinstance(self._root, dict):
            what = "empty" if self._root is None else "a list" if isinstance(self._root, list) else "a text"
            raise BadFrontMatter(f"the front matter is {what}; it has to be lines `key: value`", self._first_line)
        self._found.fields = self._root
        return self._found

    def _take(self, event: Any, loader: Any) -> None:
        line = self._first_line + int(event.start_mark.line)
        match event:
            case yaml.AliasEvent() | yaml.NodeEvent(anchor=str()):
                raise BadFrontMatter("anchors and aliases (& and *) are not read; write the value out", line)
            case yaml.ScalarEvent():
                self._refuse_tag(event, line)
                tag: str = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
                self._scalar(Scalar(_text(event.value, line), tag), line)
            case yaml.CollectionStartEvent():
                self._refuse_tag(event, line)
                self._begin(event, line)
            case yaml.CollectionEndEvent():
                self._open.pop()
            case yaml.DocumentStartEvent() if self._root is not None:
                raise BadFrontMatter("the front matter has a second document", line)
            case _:
                pass

    def _refuse_tag(self, event: Any, line: int) -> None:
        if event.tag is not None:
            raise BadFrontMatter(f"the tag {quoted(event.tag)} is not read; write the value without it", line)

    def _scalar(self, scalar: Scalar, line: int) -> None:
        here = self._open[-1] if self._open else None
        if here is None or not isinstance(here.node, dict) or here.key is not None:
            self._put(scalar, line)
            return
        here.key = scalar.text
        self._found.lines[(*here.path, scalar.text)] = line
        if scalar.special:
            self._found.notes.append(
                Note(message="<< and = mean something else to some readers; put the key in quotes", line=line)
            )
        if scalar.text in here.node:
            message = f"the key {quoted(scalar.text)} is there twice; the last one counts"
            self._found.notes.append(Note(message=message, line=line, lenient=True))

    def _begin(self, event: Any, line: int) -> None:
        if len(self._open) == DEEPEST_NODE:
            raise BadFrontMatter(f"the front matter is nested more than {DEEPEST_NODE} deep", line)
        if event.flow_style:
            message = "a list or mapping in brackets is not in the YAML of the standard; write it on lines of its own"
            self._found.notes.append(Note(message=message, line=line))
        mapping = isinstance(event, yaml.MappingStartEvent)
        column = int(event.start_mark.column)
        above = self._open[-1] if self._open else None
        if above is not None and isinstance(above.node, dict) and above.key is None:
            raise BadFrontMatter("a key has to be text", line)
        if mapping and above is not None and isinstance(above.node, dict):
            if above.inner_column not in {None, column}:
                self._found.notes.append(Note(message="mappings side by side are indented differently", line=line))
            above.inner_column = column
        path = (*above.path, above.key or "") if above is not None else ()
        node: list[Node] | dict[str, Node] = {} if mapping else []
        self._put(node, line)
        self._open.append(_Open(node, path))

    def _put(self, node: Node, line: int) -> None:
        if not self._open:
            self._root = node
            return
        here = self._open[-1]
        if isinstance(here.node, list):
            here.node.append(node)
        else:
            here.node[here.key or ""] = node
            here.key = None


def _events(loader: Any, first_line: int) -> Iterator[Any]:
    for _ in range(MOST_EVENTS):
        if not loader.check_event():
            return
        yield loader.get_event()
    raise BadFrontMatter(f"the front matter has more than {MOST_EVENTS:,} parts", first_line)


def _text(value: str, line: int) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:  # by an escape, where libyaml is not there
        raise BadFrontMatter("half of a surrogate pair is no character", line) from None
    return value
