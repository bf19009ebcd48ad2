"""The sections of a Markdown text: its level-2 headings, and the code blocks in them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

from markdown_it import MarkdownIt

BODY = "body"
"""The section before the first heading."""
MOST_PARSED = 100_000
"""Characters that are parsed as CommonMark, 7 µs each at worst; a longer text is read line by line."""

# Blocks only, since nothing here depends on what is inside a line; without `reference`, `[a]: b` stays text.
_MARKDOWN = MarkdownIt("zero", {"html": True}).enable(
    ["heading", "fence", "code", "list", "blockquote", "html_block", "hr"]
)
_MARKDOWN.core.ruler.enableOnly(["normalize", "block"])

_HEADING = re.compile(r"##[ \t]+(?P<title>\S.*)")
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Span:
    """Where a section stands in a text: by characters, and by the line where its own text begins, all from 0."""

    key: str
    heading: int
    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """A code block between two fences."""

    mark: str
    """The first word behind its fence, in lower case: `json`."""
    text: str
    line: int
    """Where its text begins."""


class Sections(Mapping[str, str]):
    """Key → text of a Markdown text's sections, in its order; they are found when they are first asked for.

    A section begins at a level-2 heading (`## chat.system`) that stands on its own: not in a code block, a list, a
    quotation or HTML. Its key is the heading when that has a dot, otherwise in lower case with `_` for spaces. What is
    before the first is `body`. Headings that occur twice make one section, and empty sections are left out.

    Args:
        text: The file, or the Markdown alone; its lines end with a line feed. Only this is kept, and where parts begin:
            a skill has its text once in memory.
        first_line: Of the Markdown in its file, from 1.
        begin: Of the Markdown in `text`, in characters.
    """

    def __init__(self, text: str, first_line: int = 1, begin: int = 0) -> None:
        self.first_line = first_line
        self._text = text
        self._begin = begin

    @property
    def markdown(self) -> str:
        """All of it."""
        return self._text[self._begin :]

    def __getitem__(self, key: str) -> str:
        return "\n\n".join(self._own(span) for span in self._filled[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._filled)

    def __len__(self) -> int:
        return len(self._filled)

    def __repr__(self) -> str:
        return f"Sections({dict(self)!r})"

    def without(self, key: str) -> str:
        """Return the Markdown without one section and its heading."""
        return "".join(self._text[span.heading : span.end] for span in self._spans if span.key != key).strip()

    def line(self, key: str) -> int:
        """Return the line of a section's first heading in the file, from 1."""
        return self.first_line + self._filled[key][0].line - 1

    def blocks(self, key: str) -> list[Block]:
        """Return the code blocks in the first 100,000 characters of a section, with their lines in the file."""
        if "." in key and self._text.find(key, self._begin) < 0:  # such a key is kept as written: nothing to parse
            return []
        found: list[Block] = []
        room = MOST_PARSED
        for span in self._filled.get(key, ()):
            end = min(span.end, span.start + room)
            room -= end - span.start
            first = self.first_line + span.line
            found += [replace(block, line=first + block.line) for block in blocks(self._text[span.start : end])]
        return found

    def _own(self, span: Span) -> str:
        return self._text[span.start : span.end].strip()

    @cached_property
    def _spans(self) -> list[Span]:
        markdown = self.markdown
        titles = list(_titles(markdown) if len(markdown) <= MOST_PARSED else _titles_by_line(markdown))
        starts = _line_starts(markdown, self._begin) if titles else []
        spans: list[Span] = []
        key, heading, start, line = BODY, self._begin, self._begin, 0
        for title, at in titles:
            spans.append(Span(key, heading, start, starts[at], line))
            key, heading, start, line = section_key(title), starts[at], starts[at + 1], at + 1
        return [*spans, Span(key, heading, start, len(self._text), line)]

    @cached_property
    def _filled(self) -> dict[str, list[Span]]:
        filled: dict[str, list[Span]] = {}
        for span in self._spans:
            if self._own(span):
                filled.setdefault(span.key, []).append(span)
        return filled


def section_key(title: str) -> str:
    """Return the key of a heading."""
    return title if "." in title else title.lower().replace(" ", "_")


def blocks(markdown: str) -> list[Block]:
    """Return the code blocks in the first 100,000 characters of a text, with their lines in it, from 0."""
    if "```" not in markdown and "~~~" not in markdown:
        return []
    return [
        Block(next(iter(token.info.lower().split()), ""), token.content, token.map[0] + 1)
        for token in _MARKDOWN.parse(markdown[:MOST_PARSED])
        if token.type == "fence" and token.map
    ]


def _titles(markdown: str) -> Iterator[tuple[str, int]]:
    """Yield the level-2 headings of a text and their lines."""
    if "##" not in markdown:  # most have none, and parsing takes a hundred times as long as reading the file
        return
    tokens = _MARKDOWN.parse(markdown)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h2" and token.level == 0 and token.map and inline.content:
            yield inline.content, token.map[0]


def _titles_by_line(markdown: str) -> Iterator[tuple[str, int]]:
    fence = ""
    for number, line in enumerate(markdown.split("\n")):
        if found := _FENCE.match(line):
            if not fence:
                fence = found["fence"]
            elif found["fence"].startswith(fence) and not line[found.end() :].strip():
                fence = ""
        elif not fence and (heading := _HEADING.fullmatch(line)):
            yield heading["title"].rstrip(), number


def _line_starts(markdown: str, begin: int) -> list[int]:
    """Return where each line begins, and where one more would; the last one has no line feed."""
    lengths = (len(line) + 1 for line in markdown.split("\n"))
    return [min(start, begin + len(markdown)) for start in accumulate(lengths, initial=begin)]
