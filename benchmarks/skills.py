"""What 1,000 skills cost: to load, to read, to keep, to check, and to choose from for a draft."""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import Figure, Row, Unmeasured
from benchmarks.skill_folders import names, write
from benchmarks.systems import load as load_peer
from benchmarks.three_steps import PLAN, catalog
from benchmarks.worker import in_turns
from planner import PlannerService
from planner.drafting import ScriptedModel
from skills import SkillRegistry, check, load
from skills.skill import EXAMPLES

COUNT, QUICK_COUNT = 1_000, 200
REPEATS = 3
DRAFTS = 20
LIMIT = 120.0
WITH, WITHOUT = "with skills", "no skills"
STANDARD, SINGLE, AETHERGRAPH, REFERENCE = "ours", "ours, one file each", "aethergraph", "skills-ref"

Loaded = Sequence[Any]
"""What a system keeps of a folder's skills."""


def ours(folder: Path) -> Loaded:
    """Load a folder with `skills.load`."""
    return load(folder).all()


def aethergraph(folder: Path) -> Loaded:
    """Load single files with aethergraph's own registry."""
    return load_peer("services.skills.skill_registry").SkillRegistry().load_path(folder)


def reference(folder: Path) -> Loaded:
    """Read front matters as the standard's reference library does; it keeps no text."""
    read = skills_ref().read_properties
    return [read(each) for each in sorted(folder.iterdir())]


LOADERS: dict[str, Callable[[Path], Loaded]] = {
    STANDARD: ours,
    SINGLE: ours,
    AETHERGRAPH: aethergraph,
    REFERENCE: reference,
}


CHECKS: dict[str, Callable[[Path], Sequence[object]]] = {
    STANDARD: check,
    REFERENCE: lambda folder: [problem for each in sorted(folder.iterdir()) for problem in skills_ref().validate(each)],
}


def skills_ref() -> Any:
    """Import the standard's reference library."""
    try:
        return import_module("skills_ref")
    except ModuleNotFoundError as error:
        raise Unmeasured("not installed") from error


def measure(system: str, count: int) -> dict[str, float]:
    """Return milliseconds to load, to read every section for the first time and to check, and kB that are kept."""
    folder = Path.cwd() / "skills"
    write(folder, count, single=system in {SINGLE, AETHERGRAPH})
    write(Path.cwd() / "warm", 3, single=system in {SINGLE, AETHERGRAPH})
    LOADERS[system](Path.cwd() / "warm")
    return times(system, folder, count) | kept(system, folder)


def times(system: str, folder: Path, count: int) -> dict[str, float]:
    """Return milliseconds."""
    took: dict[str, float] = {}
    loaded = timed(took, "load", lambda: LOADERS[system](folder))
    if len(loaded) != count:
        raise Unmeasured(f"loaded {len(loaded)} of {count}")
    if system != REFERENCE:
        read = timed(took, "read", lambda: [text for skill in loaded for text in skill.sections.values()])
        if len(read) < 4 * count:
            raise Unmeasured(f"{len(read)} sections")
    if system in CHECKS:
        found = timed(took, "check", lambda: CHECKS[system](folder))
        if found:
            raise Unmeasured(f"{len(found)} problems")
    return took


def timed(took: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """Do `work`, and note how many milliseconds it took."""
    gc.collect()
    began = time.perf_counter()
    done = work()
    took[name] = 1000 * (time.perf_counter() - began)
    return done


def kept(system: str, folder: Path) -> dict[str, float]:
    """Return kB of memory that Python allocated for what stays: once loaded, and once all sections were read."""
    gc.collect()
    tracemalloc.start()
    loaded = LOADERS[system](folder)
    gc.collect()
    sizes = {"kept": tracemalloc.get_traced_memory()[0] / 1000}
    if system != REFERENCE:
        for skill in loaded:
            list(skill.sections.values())
        gc.collect()
        sizes["kept, read"] = tracemalloc.get_traced_memory()[0] / 1000
    tracemalloc.stop()
    return sizes


def run(*, quick: bool = False, count: int | None = None) -> list[Row]:
    """Measure each system in processes of its own, in turns."""
    count = count or (QUICK_COUNT if quick else COUNT)
    repeats = 1 if quick else REPEATS
    found, reasons = in_turns(tuple(LOADERS), repeats, "skills:measure", count, limit=LIMIT)

    def figure(system: str, *keys: str) -> Figure:
        return reasons.get(system) or round(median(sum(each[key] for key in keys) for each in found[system]), 1)

    def row(what: str, unit: str, *keys: str, single: bool = False, peer: str = "") -> Row:
        form = "single files" if single else "folders with SKILL.md"
        return Row(
            what=f"{count:,} {form}: {what}",
            value=figure(SINGLE if single else STANDARD, *keys),
            unit=unit,
            peers={peer: figure(peer, *keys)} if peer else {},
        )

    return [
        row("load", "ms", "load", peer=REFERENCE),
        row("read every section then", "ms", "read"),
        row("check", "ms", "check", peer=REFERENCE),
        row("memory, loaded", "kB", "kept", peer=REFERENCE),
        row("memory, every section read", "kB", "kept, read"),
        row("load", "ms", "load", single=True, peer=AETHERGRAPH),
        row("load and read every section", "ms", "load", "read", single=True, peer=AETHERGRAPH),
        row("memory, loaded", "kB", "kept", single=True, peer=AETHERGRAPH),
        row("memory, every section read", "kB", "kept, read", single=True, peer=AETHERGRAPH),
        *telling(count, repeats),
    ]


def telling(count: int, repeats: int) -> list[Row]:
    """Return what skills add to a draft whose model answers at once: what it is told has to be chosen."""
    found, reasons = in_turns((WITH, WITHOUT), repeats, "skills:draft", count, limit=LIMIT)

    def row(what: str, key: str, unit: str) -> Row:
        values: dict[str, Figure] = {
            name: reasons.get(name) or round(median(each[key] for each in found[name]), 2) for name in (WITH, WITHOUT)
        }
        return Row(what=f"a draft, {count:,} skills: {what}", value=values.pop(WITH), unit=unit, peers=values)

    return [
        row("the first", "first", "ms"),
        row("each further one, p50", "further", "ms"),
        row("prompt", "prompt", "bytes"),
    ]


def draft(system: str, count: int) -> dict[str, float]:
    """Return milliseconds of the first draft in a process and of those after it, each for another goal."""
    folder = Path.cwd() / "skills"
    write(folder, count, single=False)
    registry = load(folder) if system == WITH else None
    if registry is not None and not any(skill.has_section(EXAMPLES) for skill in registry.all()):
        raise Unmeasured("no examples")
    goals = [f"Count, and {title.lower()} for my aunt" for _, title in names(count)]
    return asyncio.run(_drafts(registry, goals[:: max(1, count // DRAFTS)]))


async def _drafts(registry: SkillRegistry | None, goals: Sequence[str]) -> dict[str, float]:
    model = ScriptedModel([PLAN], repeat=True)
    warm = PlannerService(catalog(), model)
    await warm.plan(goal="Count")
    model.calls.clear()
    service = PlannerService(catalog(), model, skills=registry)
    took: list[float] = []
    for goal in goals:
        began = time.perf_counter()
        result = await service.plan(goal=goal)
        took.append(1000 * (time.perf_counter() - began))
        if result.plan is None:
            raise Unmeasured("no plan")
    await warm.aclose()
    await service.aclose()
    size = median(len(call.prompt.encode()) for call in model.calls)
    return {"first": took[0], "further": median(took[1:]), "prompt": size}
