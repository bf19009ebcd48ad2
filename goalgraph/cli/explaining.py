"""`goalgraph catalog explain`."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.console import people, to_json
from goalgraph.cli.exits import Ending
from goalgraph.cli.show import print_lines
from goalgraph.live.words import cut
from planner.catalog.explanation import Explanation, MatchedWord
from planner.catalog.search import ALL_ACTIONS, RETRIEVED
from planner.context import RequestIdentity

SHOWN_CHARS = 300
"""Of the goal and of each clause; `--json` has all."""
SHOWN_WORDS = 8
SHOWN_CLAUSES = 12


def explain(goal: str, catalog: str | None, count: int, flows: Sequence[str], roles: Sequence[str]) -> Ending:
    """Show what a draft for a goal would be offered of a catalog and why, and what is left out."""
    actions = load_catalog(catalog)
    found = actions.explain(goal, count, flow_ids=list(flows) or None, identity=RequestIdentity(roles=tuple(roles)))
    console = people()
    known = sorted({spec.flow_id for spec in actions.iter_actions() if spec.flow_id is not None})
    unknown = [flow for flow in dict.fromkeys(flows) if flow not in known]
    if unknown:
        named, there = (_cut(", ".join(names)) for names in (unknown, known))
        console.print(Text.assemble(("! ", "yellow"), f"no action is of the flow {named}; there is: {there or 'none'}"))
    print_lines(console, _head(found))
    if found.found:
        console.print(_found_table(found))
    print_lines(console, _foot(found))
    return Ending(document={**found.to_dict(), "unknown_flows": unknown})


def _head(found: Explanation) -> Iterable[Text]:
    yield Text.assemble(("goal      ", "dim"), _shown(found.goal))
    for number, clause in enumerate(found.clauses[:SHOWN_CLAUSES], 1):
        yield Text.assemble((f"clause {number:<3}", "dim"), _shown(clause))
    if len(found.clauses) > SHOWN_CLAUSES:
        yield Text(f"… and {len(found.clauses) - SHOWN_CLAUSES} more", style="dim")
    mark, style = ("✗ ", "red") if found.refused else ("✓ ", "green")
    if found.sends_all and found.refused:
        yield Text.assemble(("! ", "yellow"), f"a search finds nothing, but a draft does not search here ({_all()})")
        yield Text.assemble(("search    ", "dim"), found.verdict)
    else:
        yield Text.assemble((mark, style), found.verdict)


def _found_table(found: Explanation) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("#", "Action", "Score", "Why", "Words of the goal: weight, clause"):
        right = heading in ("#", "Score")
        table.add_column(heading, overflow="fold", no_wrap=heading == "Action", justify="right" if right else "left")
    for one in found.found:
        table.add_row(
            str(one.rank),
            Text(one.name, style="bold cyan"),
            f"{one.score:.2f}",
            Text(one.reason),
            Text(_matched(one.words), style="dim"),
        )
    return table


def _matched(words: Sequence[MatchedWord]) -> str:
    more = [f"and {len(words) - SHOWN_WORDS} more"] if len(words) > SHOWN_WORDS else []
    return ", ".join(
        [*(f"{cut(word.text, 30)} {word.weight:.1f} ({word.clause})" for word in words[:SHOWN_WORDS]), *more]
    )


def _foot(found: Explanation) -> Iterable[Text]:
    if found.unknown_words:
        words = ", ".join(cut(word, 30) for word in found.unknown_words)
        yield Text.assemble(("no action has: ", "dim"), _cut(words))
    for one in found.left_out:
        yield Text.assemble(("left out: ", "dim"), (one.name, "bold"), f"  {one.reason}")
    usable = f"{found.allowed:,} of {found.actions:,} actions may be used"
    if found.sends_all:
        yield Text(f"{usable}; a draft is offered all {found.allowed:,} of them ({_all()})", style="bold")
    elif found.refused:
        yield Text(f"{usable}; a draft with a model asks it once for the goal in the catalog's words", style="bold")
    else:
        yield Text(f"{usable}; a draft is offered the first {RETRIEVED} and the producers of what they require")


def _all() -> str:
    return f"up to {ALL_ACTIONS} are offered without a search"


def _shown(text: str) -> str:
    """Write a text in quotes, with what would act on the terminal escaped."""
    return to_json(_cut(text), indent=None)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
