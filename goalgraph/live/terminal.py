"""The console for people, on which no text can do more than be read."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from goalgraph.live.words import visible

PIPE_WIDTH = 160
"""Columns where there is no terminal to fit in."""


class PeopleConsole(Console):
    """A console on which no text, whoever wrote it, can do more than be read."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render with the control characters of texts made visible; what rich writes to move the cursor stays."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def people() -> Console:
    """Return the console for people. It is made when it is asked for, so that it writes to the stderr of now."""
    console = PeopleConsole(stderr=True, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    return console
