"""Reading what the stores say of a run, in both tiers and in the archive alone."""

from collections.abc import Sequence

from checkpointer import DualWriteSaver
from planner.context import RequestIdentity
from planner.errors import RunNotFound
from planner.execution import Runs
from storage.redis.eviction import evict_record
from tests.chaos.run_checks import Line, RunStory
from tests.chaos.run_plan import Journal

KINDS = ("run", "event")


def lines_of(journal: Journal) -> dict[str, list[Line]]:
    """What was written down, by run."""
    lines: dict[str, list[Line]] = {}
    for one in journal.read():
        facts = {name: one[name] for name in ("kind", "pid", "name", "token", "status") if name in one}
        lines.setdefault(one["run"], []).append(Line(**facts))
    return lines


async def read_story(saver: DualWriteSaver, run: str, lines: Sequence[Line]) -> RunStory:
    """Gather what is known of a run; `lines` are those of the journal."""
    runs = Runs(saver.storage.records)
    try:
        record = await runs.get(run, RequestIdentity())
    except RunNotFound:
        return RunStory(run, lines, None)
    events = await runs.events(run, RequestIdentity())
    return RunStory(
        run,
        lines,
        record.status,
        dict(record.outputs),
        [(event.phase, event.step_id) for event in events],
        await checkpoints(saver, run),
        "; ".join(record.errors),
    )


async def checkpoints(saver: DualWriteSaver, run: str) -> list[tuple[str, str, str | None]]:
    """Namespace, id and parent of each, in both tiers."""
    found: list[tuple[str, str, str | None]] = []
    async for one in saver.alist({"configurable": {"thread_id": run}}):
        place, before = [(config or {}).get("configurable", {}) for config in (one.config, one.parent_config)]
        found.append((place["checkpoint_ns"], place["checkpoint_id"], before.get("checkpoint_id")))
    return found


async def archive_differs(saver: DualWriteSaver, run: str) -> str | None:
    """Say how the archive differs from Redis for a run of which everything is archived, or `None`."""
    storage = saver.storage
    hot = {kind: await storage.records.latest(kind, run) for kind in KINDS}
    events, places = await storage.records.read("event", run), await checkpoints(saver, run)
    for kind in KINDS:
        if hot[kind] is not None and not await evict_record(storage.client, kind, run):
            return f"its {kind} cannot be evicted after all was archived"
    if places and not await storage.archiver.evict_thread(run):
        return "its thread cannot be evicted after all was archived"
    if hot != {kind: await storage.records.latest(kind, run) for kind in KINDS}:
        return "its newest record or event is another one"
    if events != await storage.records.read("event", run):
        return "it has other events"
    return None if places == await checkpoints(saver, run) else "it has other checkpoints"
