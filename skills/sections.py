"""The sections of a Markdown text: its level-2 headings, and the code blocks in them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

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
    """Where a section stands in the lines of a text, from 0."""

    key: str
    heading: int
    start: int
    end: int


class Sections(Mapping[str, str]):
    """Key → text of a Markdown text's sections, in its order; they are found when they are first asked for.

    A section begins at a level-2 heading (`## chat.system`) that stands on its own: not in a code block, a list, a
    quotation or HTML. Its key is the heading when that has a dot, otherwise in lower case with `_` for spaces. What is
    before the first is `body`. Headings that occur twice make one section, and empty sections are left out.

    Args:
        markdown: The text; its lines end with a line feed.
        first_line: Of `markdown` in its file, from 1.
    """

    def __init__(self, markdown: str, first_line: int = 1) -> None:
        self.markdown = markdown
        self.first_line = first_line

    def __getitem__(self, key: str) -> str:
        return self._texts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        return f"Sections({self._texts!r})"

    def without(self, key: str) -> str:
        """Return the Markdown without one section and its heading."""
        kept: list[str] = []
        for span in self._spans:
            if span.key != key:
                kept += self._lines[span.heading : span.end]
        return "\n".join(kept).strip()

    def fenced(self, key: str, language: str) -> list[tuple[str, int]]:
        """Return the code blocks of a section that are marked as `language`, each with its first line in the file."""
        if "." in key and key not in self.markdown:  # such a key is kept as it is written, so nothing need be parsed
            return []
        return [
            (text, self.first_line + span.start + line)
            for span in self._spans
            if span.key == key
            for text, line in fenced("\n".join(self._lines[span.start : span.end]), language)
        ]

    @cached_property
    def _lines(self) -> list[str]:
        return self.markdown.split("\n")

    @cached_property
    def _spans(self) -> list[Span]:
        titles = _titles(self.markdown) if len(self.markdown) <= MOST_PARSED else _titles_by_line(self._lines)
        spans: list[Span] = []
        key, heading, start = BODY, 0, 0
        for title, line in titles:
            spans.append(Span(key, heading, start, line))
            key, heading, start = section_key(title), line, line + 1
        return [*spans, Span(key, heading, start, len(self._lines))]

    @cached_property
    def _texts(self) -> dict[str, str]:
        texts: dict[str, list[str]] = {}
        for span in self._spans:
            if text := "\n".join(self._lines[span.start : span.end]).strip():
                texts.setdefault(span.key, []).append(text)
        return {key: "\n\n".join(parts) for key, parts in texts.items()}


def section_key(title: str) -> str:
    """Return the key of a heading."""
    return title if "." in title else title.lower().replace(" ", "_")


def fenced(markdown: str, language: str) -> list[tuple[str, int]]:
    """Return the code blocks that are marked as `language`, each with the line where its text begins, from 0."""
    return [
        (token.content, token.map[0] + 1)
        for token in _MARKDOWN.parse(markdown[:MOST_PARSED])
        if token.type == "fence" and token.map and token.info.lower().split()[:1] == [language]
    ]


def _titles(markdown: str) -> Iterator[tuple[str, int]]:
    """Yield the level-2 headings of a text and their lines."""
    if "##" not in markdown:  # most have none, and parsing takes a hundred times as long as reading the file
        return
    tokens = _MARKDOWN.parse(markdown)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h2" and token.level == 0 and token.map and inline.content:
            yield inline.content, token.map[0]


def _titles_by_line(lines: list[str]) -> Iterator[tuple[str, int]]:
    fence = ""
    for number, line in enumerate(lines):
        if found := _FENCE.match(line):
            if not fence:
                fence = found["fence"]
            elif found["fence"].startswith(fence) and not line[found.end() :].strip():
                fence = ""
        elif not fence and (heading := _HEADING.fullmatch(line)):
            yield heading["title"].rstrip(), number
