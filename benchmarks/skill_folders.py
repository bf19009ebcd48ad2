"""Folders of made-up skills, always the same: in the standard's form, and in aethergraph's of one file each."""

import random
from pathlib import Path

VERBS = ("arrange", "audit", "book", "compare", "draft", "explain", "forecast", "review", "sort", "translate")
THINGS = ("budget", "cargo", "contract", "flight", "harvest", "invoice", "lecture", "museum", "recipe", "violin")
PLACES = (
    "abroad",
    "at night",
    "by post",
    "for children",
    "in winter",
    "offline",
    "on site",
    "overseas",
    "yearly",
    "twice",
)
WORDS = """
    account answer before begin check clear column customer date detail early each entry figure first follow general
    group hand issue keep letter limit list market message month name note number office order other page paper part
    person place plan point question reason record report result round rule same second several sheet short side
    source state step table term text third title total under unit value week when word year
""".split()  # noqa: SIM905 - a page of words reads better than a page of quotation marks
SEED = 5
FENCE = "```text\n## no heading, since it stands in a fence\n```"
EXAMPLES = 10
"""Every tenth skill has a worked example."""
EXAMPLE = """\
```json
{"goal": "GOAL", "steps": [
  {"id": "a", "action": "first", "inputs": {"value": 1}},
  {"id": "b", "action": "second", "inputs": {"value": "${a.result}"}}
], "outputs": {"result": "${b.result}"}}
```"""
"""Over the actions of `three_steps`."""


def names(count: int) -> list[tuple[str, str]]:
    """Return ids and titles, each of which says something else."""
    titles = [f"{verb} a {thing} {place}" for place in PLACES for thing in THINGS for verb in VERBS]
    return [(title.replace(" ", "-"), title.capitalize()) for title in titles[:count]]


def text(rng: random.Random, size: int) -> str:
    """Return sentences of about `size` bytes in all."""
    lines: list[str] = []
    while sum(map(len, lines)) < size:
        lines.append(f"{' '.join(rng.choices(WORDS, k=rng.randint(8, 16))).capitalize()}.")
    return "\n".join(lines)


def body(rng: random.Random, title: str, example: str) -> str:
    """Return some 1.8 kB of Markdown: an opening, three sections, a fence."""
    opening = f"# {title}\n\n{text(rng, 400)}\n\n{FENCE}\n"
    sections = [f"## {key}\n\n{text(rng, 400)}\n" for key in ("When to use", "Steps", "planning.instruction")]
    return "\n".join([opening, *sections, *([f"## planning.examples\n\n{example}\n"] if example else [])])


def write(folder: Path, count: int, *, single: bool) -> None:
    """Write `count` skills of about 2 kB below `folder`.

    Args:
        folder: Is made.
        count: At most 1,000.
        single: As one file each, with `id`, `title`, `tags` and `modes`; else as folders with a `SKILL.md`.
    """
    rng = random.Random(SEED)
    for at, (name, title) in enumerate(names(count)):
        about = f"{title}. Use it when somebody wants to {title.lower()}, or asks how that is done."
        content = body(rng, title, EXAMPLE.replace("GOAL", title) if at % EXAMPLES == 0 else "")
        if single:
            head = f"id: {name}\ntitle: {title}\ndescription: {about}\ntags: [made-up]\nmodes: [planning]"
            path = folder / f"{name}.md"
        else:
            head = f"name: {name}\ndescription: {about}\nlicense: Apache-2.0\nmetadata:\n  planner.modes: planning"
            path = folder / name / "SKILL.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"---\n{head}\n---\n\n{content}", encoding="utf-8")
