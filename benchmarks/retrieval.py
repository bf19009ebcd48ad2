"""Finding the actions of a goal: recall, refusals and time on Seal-Tools, beside plain `bm25s` and SQLite FTS5."""

import re
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import bm25s  # pyright: ignore[reportMissingTypeStubs]  # it is untyped

from benchmarks.corpora import Query, described, nestful_goals, seal_tools
from benchmarks.remarks import REMARKS
from benchmarks.rows import Figure, Row
from planner.catalog import ActionCatalog, ActionSpec, Slot
from planner.catalog.producers import ProducerIndex
from planner.catalog.search import ActionSearch
from planner.catalog.words import clauses, split_name, tokens
from planner.drafting import PlanningContext
from planner.drafting.offer import Offer

Find = Callable[[str, int], Sequence[str]]
DEPTHS = (10, 20, 50)
LARGE = 10_000


def run(*, quick: bool = False) -> list[Row]:
    """Measure; `quick` takes a fifth of the queries."""
    specs, queries = seal_tools()
    if not specs:
        specs, queries = synthetic()
    queries = queries[:: 5 if quick else 1]
    many = [query for query in queries if len(query.gold) > 1]
    systems = {"bm25s": plain_bm25(specs), "FTS5": full_text(specs)}
    search = ActionSearch(specs, ProducerIndex(specs))
    rows: list[Row] = []
    for name, chosen in (("one action", [query for query in queries if len(query.gold) == 1]), ("several", many)):
        rows += quality(name, chosen, found_by(search), systems)
    closed = [{hit.action.name for hit in search.find(query.text, 20)} for query in many]
    share = per_cent(query.gold <= found for query, found in zip(many, closed, strict=True))
    rows.append(Row(what="several: all found in the first 20 and their producers", value=share, unit="%"))
    rows += refusals(search, queries)
    rows += drafts(specs, queries)
    rows += speed(len(specs), queries, found_by(search), systems)
    large = enlarged(specs)
    larger = {"bm25s": plain_bm25(large), "FTS5": full_text(large)}
    return rows + speed(len(large), queries, found_by(ActionSearch(large, ProducerIndex(large))), larger)


def quality(name: str, queries: Sequence[Query], ours: Find, peers: dict[str, Find]) -> list[Row]:
    """Return recall and completeness at each depth."""
    rows: list[Row] = []
    for depth in DEPTHS:
        recall: dict[str, Figure] = {}
        complete: dict[str, Figure] = {}
        for system, find in {"ours": ours, **peers}.items():
            found = [query.gold.intersection(list(find(query.text, depth))[:depth]) for query in queries]
            shares = [len(one) / len(query.gold) for one, query in zip(found, queries, strict=True)]
            recall[system] = round(100 * statistics.fmean(shares), 1)
            complete[system] = per_cent(one == query.gold for one, query in zip(found, queries, strict=True))
        goal = "≥ 93" if name == "several" and depth == 20 else ""
        rows.append(Row(what=f"{name}: recall@{depth}", value=recall.pop("ours"), unit="%", peers=recall))
        rows.append(
            Row(
                what=f"{name}: all in the first {depth}",
                value=complete.pop("ours"),
                unit="%",
                goal=goal,
                peers=complete,
            )
        )
    return rows


def refusals(search: ActionSearch, queries: Sequence[Query]) -> list[Row]:
    """Return how often the floor refuses what it should not, and what it should."""
    texts = [query.text for query in queries]
    short = [clause for text in texts for clause in clauses(text, 3) if 2 <= len(tokens(split_name(clause))) <= 5]
    rows = [
        refused("goals refused although an action serves them", search, texts, "< 1"),
        refused("their clauses of two to five words, as short goals", search, short),
        refused("remarks refused", search, REMARKS),
    ]
    for catalog, goals in nestful_goals():
        name = f"NESTFUL, {len(catalog)} actions"
        rows.append(refused(f"{name}: goals refused", catalog.view.search, goals, "< 1"))
        rows.append(refused(f"{name}: remarks refused", catalog.view.search, REMARKS))
    return rows


def refused(what: str, search: ActionSearch, texts: Sequence[str], goal: str = "") -> Row:
    """Return how many of `texts` find nothing."""
    return Row(
        what=what, value=per_cent(not search.find(text, 20) for text in texts), unit=f"% of {len(texts)}", goal=goal
    )


def drafts(specs: Sequence[ActionSpec], queries: Sequence[Query]) -> list[Row]:
    """Return what a draft is offered, beside all that there is."""
    catalog = ActionCatalog(replace(spec, name=spec.name.replace(" ", "_")) for spec in specs)
    Offer(catalog, PlanningContext(goal=queries[0].text))  # builds the index
    sizes: list[int] = []
    times: list[float] = []
    complete: dict[bool, list[bool]] = {False: [], True: []}
    for query in queries:
        began = time.perf_counter()
        offer = Offer(catalog, PlanningContext(goal=query.text))
        times.append((time.perf_counter() - began) * 1000)
        sizes.append(len(offer.first))
        complete[len(query.gold) > 1].append(query.gold <= {spec.name for spec in offer.first})
    of = f"of {len(catalog):,}"
    return [
        Row(what="draft, one action: it is offered", value=per_cent(complete[False]), unit="%"),
        Row(what="draft, several: all are offered", value=per_cent(complete[True]), unit="%", goal="≥ 93"),
        Row(what="draft: actions offered, median", value=statistics.median(sizes), unit=of),
        Row(what="draft: choosing them, p50", value=round(statistics.median(times), 3), unit="ms"),
    ]


def speed(size: int, queries: Sequence[Query], ours: Find, peers: dict[str, Find]) -> list[Row]:
    """Return the median and the slowest hundredth, in milliseconds."""
    taken = {name: timed(find, queries) for name, find in {"ours": ours, **peers}.items()}
    rows: list[Row] = []
    for what, at, goal in (("p50", 0.5, "≤ 1" if size >= LARGE else ""), ("p99", 0.99, "")):
        values: dict[str, Figure] = {name: round(times[int(at * (len(times) - 1))], 3) for name, times in taken.items()}
        rows.append(Row(what=f"{size:,} actions: {what}", value=values.pop("ours"), unit="ms", goal=goal, peers=values))
    return rows


def timed(find: Find, queries: Sequence[Query]) -> list[float]:
    """Return how long each query takes, sorted; the first round is not counted."""
    times: list[float] = []
    for _ in range(2):
        times.clear()
        for query in queries:
            began = time.perf_counter()
            find(query.text, 20)
            times.append((time.perf_counter() - began) * 1000)
    return sorted(times)


def found_by(search: ActionSearch) -> Find:
    """Return our own search, without the producers behind the hits."""
    return lambda goal, depth: [hit.action.name for hit in search.find(goal, depth)][:depth]


def plain_bm25(specs: Sequence[ActionSpec]) -> Find:
    """Return `bm25s` as one would use it at first: name and description, its own tokenizer and retrieval."""
    names = [spec.name for spec in specs]
    tokenize = cast("Any", bm25s).tokenize  # untyped
    index: Any = bm25s.BM25()
    index.index(
        tokenize([f"{spec.name} {spec.description}" for spec in specs], show_progress=False), show_progress=False
    )

    def find(goal: str, depth: int) -> list[str]:
        words = tokenize(goal, show_progress=False)
        found, _ = index.retrieve(words, k=min(depth, len(names)), show_progress=False)
        return [names[int(at)] for at in found[0]]

    return find


def full_text(specs: Sequence[ActionSpec]) -> Find:
    """Return SQLite's full-text search over split names, weighed double, and descriptions."""
    base = sqlite3.connect(":memory:")
    base.execute(
        "CREATE VIRTUAL TABLE actions USING fts5(key UNINDEXED, name, description, tokenize='porter unicode61')"
    )
    rows = [(spec.name, split_name(spec.name), spec.description) for spec in specs]
    base.executemany("INSERT INTO actions VALUES (?, ?, ?)", rows)

    def find(goal: str, depth: int) -> list[str]:
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(re.findall(r"\w+", goal.lower())))
        if not words:
            return []
        query = "SELECT key FROM actions WHERE actions MATCH ? ORDER BY bm25(actions, 0, 2.0, 1.0) LIMIT ?"
        return [key for (key,) in base.execute(query, (words, depth))]

    return find


def enlarged(specs: Sequence[ActionSpec]) -> list[ActionSpec]:
    """Return 10,000 actions: the given ones, and further ones of the same words under other names."""
    rounds = -(-LARGE // len(specs))
    copies = [
        spec if number == 0 else replace(spec, name=f"{spec.name}V{number}", ref=f"{spec.ref}.{number}")
        for number in range(rounds)
        for spec in specs
    ]
    return copies[:LARGE]


def synthetic() -> tuple[list[ActionSpec], list[Query]]:
    """Return a small made-up set, for a checkout without the data."""
    verbs = ["find", "book", "cancel", "rate", "compare", "print", "translate", "archive", "measure", "paint"]
    nouns = ["flight", "hotel", "invoice", "recipe", "garden", "engine", "violin", "contract", "museum", "river"]
    specs = [
        described(f"{verb}_{noun}", f"{verb.title()} a {noun}", (Slot(f"{noun}_name"),), (Slot(f"{noun}_{verb}"),))
        for verb in verbs
        for noun in nouns
    ]
    pairs = [(one, other) for one in specs[::7] for other in specs[3::11]]
    queries = [
        Query(f"{one.description}. Then {other.description.lower()}.", frozenset({one.name, other.name}))
        for one, other in pairs
    ]
    return specs, queries + [Query(spec.description, frozenset({spec.name})) for spec in specs]


def per_cent(happened: Iterable[bool]) -> float:
    """Return how often something happened, in per cent."""
    listed = list(happened)
    return round(100 * sum(listed) / max(len(listed), 1), 1)
