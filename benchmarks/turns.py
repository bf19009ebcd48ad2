"""What a turn of a conversation costs when the model answers at once, and what of it is planning and running."""

import asyncio
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

from benchmarks.rows import Figure, Row
from benchmarks.turn_systems import ASKED, CHAT, DIRECT, NO_STORE, OPENED, PEER, PLANNED, QUICK, STORES, SYSTEMS
from benchmarks.worker import in_turns

ROUNDS, QUICK_ROUNDS = 200, 40
REPEATS = 3
HISTORIES, QUICK_HISTORIES = (10, 1_000, 10_000), (10, 1_000)
LIMIT = 180.0
EVERY = 20
"""Rounds in one session, so that it stays about as long as it began."""
WARM = 10
"""Rounds before those that are measured; in them a long conversation is summarised, a part in each turn."""
FEW = 40
"""Rounds with messages before: few, so that there are about as many in the end."""
SHARES = (("p50", 0.5), ("p99", 0.99))


def measure(system: str, rounds: int, before: int = 0) -> dict[str, list[float]]:
    """Return milliseconds of each turn by kind, sorted.

    Args:
        system: One of `SYSTEMS`.
        rounds: Of one turn of each kind, in turns.
        before: Messages that were said before; with them, there is one session, and only what reads them is measured.
    """
    return asyncio.run(_measure(system, rounds, before))


async def _measure(system: str, rounds: int, before: int) -> dict[str, list[float]]:
    async with SYSTEMS[system](before) as ways:
        chosen = [PLANNED, OPENED] if before else list(ways.turns)
        took: dict[str, list[float]] = {name: [] for name in chosen}
        for number in range(-WARM, rounds):
            if number == -WARM or (number % EVERY == 0 and not before):
                await ways.begin()
            if number == 0:
                gc.collect()
                gc.freeze()
            for name in chosen:
                began = time.perf_counter()
                await ways.turns[name]()
                if number >= 0:
                    took[name].append(1000 * (time.perf_counter() - began))
        return {name: sorted(several) for name, several in took.items()}


def run(*, quick: bool = False, rounds: int | None = None, histories: Sequence[int] | None = None) -> list[Row]:
    """Measure each system in processes of its own, in turns."""
    count = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    repeats = 1 if quick else REPEATS
    found, reasons = in_turns(tuple(SYSTEMS), repeats, "turns:measure", count, limit=LIMIT)

    def figure(system: str, of: Callable[[Mapping[str, list[float]]], float]) -> Figure:
        return reasons.get(system) or round(median(map(of, found[system])), 3)

    def row(where: str, what: str, of: Callable[[Mapping[str, list[float]]], float], *, peer: bool) -> Row:
        peers = {PEER: figure(PEER, of)} if peer and where == NO_STORE else {}
        return Row(what=f"{where}: {what}", value=figure(where, of), unit="ms", peers=peers)

    rows: list[Row] = []
    for where in (NO_STORE, STORES):
        for name in (CHAT, QUICK, PLANNED, DIRECT, ASKED, OPENED):
            both = name in {QUICK, PLANNED, DIRECT}
            rows += [
                row(where, f"{name}, {word}", partial(at, name=name, share=share), peer=both) for word, share in SHARES
            ]
        rows.append(row(where, "what the dialogue adds to a plan and its run, p50", added, peer=True))
    chosen = histories if histories is not None else QUICK_HISTORIES if quick else HISTORIES
    return rows + [line for before in chosen for line in with_history(before, min(count, FEW), repeats)]


def with_history(before: int, rounds: int, repeats: int) -> list[Row]:
    """Measure in a session in which so many messages were said before."""
    places = (NO_STORE, STORES)
    found, reasons = in_turns(places, repeats, "turns:measure", rounds, before, limit=LIMIT)
    return [
        Row(
            what=f"{where}, {before:,} messages before: {name}, {word}",
            value=reasons.get(where) or round(median(at(each, name=name, share=share) for each in found[where]), 3),
            unit="ms",
        )
        for where in places
        for name in (PLANNED, OPENED)
        for word, share in SHARES
    ]


def at(took: Mapping[str, list[float]], *, name: str, share: float) -> float:
    """Return the time that this share of the turns did not exceed."""
    return took[name][int(share * (len(took[name]) - 1))]


def added(took: Mapping[str, list[float]]) -> float:
    """Return the difference that the dialogue makes."""
    return at(took, name=PLANNED, share=0.5) - at(took, name=DIRECT, share=0.5)
