"""`goalgraph doctor`: looks at everything that runs need, makes a test run, and says what to do."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from time import monotonic

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from goalgraph.cli.checks import Finding, archive, checked, limits, model, redis, runs, versions
from goalgraph.cli.console import people
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.place import Place, read_settings
from goalgraph.cli.stopping import abandoned_when_stopped
from goalgraph.live.words import seconds
from goalgraph.settings import Settings
from goalgraph.stores import open_stores
from planner.catalog import ActionCatalog, action
from planner.context import RequestIdentity, RunVisibility
from planner.errors import PlannerError
from planner.plan import CandidatePlan
from planner.service import PlannerService
from storage.dual import DualStorage
from storage.errors import ArchiveUnavailable, StorageError

MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}
LAST_STATUS = """
SELECT columns['status'] FROM gg_entries WHERE kind = 'run' AND owner = {run:String} ORDER BY seq DESC LIMIT 1
"""
PLAN = {
    "goal": "goalgraph doctor: a test run",
    "steps": [
        {"id": "one", "action": "count_letters", "inputs": {"word": "goal"}},
        {"id": "two", "action": "count_letters", "inputs": {"word": "graph"}, "after": ["one"]},
    ],
}


@action
def count_letters(word: str) -> int:
    """Count the letters of a word."""
    return len(word)


def doctor(place: Place, *, model: bool, replay: str | None, test_run: bool) -> Ending:
    """Check everything, or deliver a callback again."""
    settings = place.within(read_settings())
    if replay is not None:
        return asyncio.run(_replay(settings, replay))
    findings = asyncio.run(_findings(settings, ask_model=model, test_run=test_run))
    people().print(_table(findings))
    failed = any(finding.health == "fail" for finding in findings)
    document = {"ok": not failed, "checks": [asdict(finding) for finding in findings]}
    return Ending(code=Exit.FAILED if failed else Exit.OK, document=document)


async def _findings(settings: Settings, *, ask_model: bool, test_run: bool) -> list[Finding]:
    found = [*versions(), limits(settings.limits)]
    if not (settings.storage.redis_url and settings.storage.archive_url):
        found.append(Finding("data directory", "ok", str(settings.data_dir)))
    try:
        async with open_stores(settings) as stores:
            with abandoned_when_stopped():
                storage = stores.archive
                if isinstance(storage, DualStorage):
                    found += await checked("redis", lambda: redis(storage))
                    found += await checked("archive", lambda: archive(storage))
                found += await checked("runs", lambda: runs(stores, RequestIdentity.org_id))
        if test_run:
            found += await checked("test run", lambda: _test_run(settings))
    except (StorageError, OSError) as error:
        found.append(Finding("stores", "fail", str(error), "see the sentence above; nothing can be run until then"))
    if ask_model:
        found.append(await model(settings))
    return found


async def _test_run(settings: Settings) -> list[Finding]:
    """Run a plan under a lease as any other, read it back, and erase it."""
    began = monotonic()
    policy = replace(settings.runs, advance=False)
    async with open_stores(settings) as stores:
        service = PlannerService(
            ActionCatalog([count_letters]),
            checkpointer=stores.checkpointer,
            blobs=stores.blobs,
            stores=stores.run_stores,
            policy=policy,
        )
        try:
            result = await service.execute_plan(CandidatePlan.from_dict(PLAN), visibility=RunVisibility.hidden)
            ran = monotonic() - began
            if not result.ok:
                told = next((event.error for event in result.errors if event.error), result.status)
                return [Finding("test run", "fail", f"it ended as {result.status}: {told}", "please report it")]
            archived = await _archived(stores.archive, result.run_id)
        except PlannerError as error:
            return [Finding("test run", "fail", str(error), "see the stores above")]
        finally:
            await service.aclose()
    return [Finding("test run", "ok", f"2 steps in {seconds(ran)}"), archived]


async def _archived(storage: object, run_id: str) -> Finding:
    """Read a run back from the archive, and erase it."""
    name = "test run, archived"
    if not isinstance(storage, DualStorage):
        return Finding(name, "ok", "there is no archive")
    try:
        rows = await storage.query(LAST_STATUS, {"run": run_id})
        await storage.erase("event", run_id)
        await storage.erase("run", run_id)
        await storage.erase("thread", run_id)
    except ArchiveUnavailable as error:
        if error.owner is not None:
            told = f"process {error.owner} has the archive open, so it is not read back, and the run is kept"
            return Finding(name, "ok", told)
        return Finding(name, "fail", str(error), "bring the archive back")
    if [row[0] for row in rows.rows] != ["succeeded"]:
        return Finding(name, "fail", "the archive does not have it as it ended", "please report it")
    return Finding(name, "ok", "read back and erased")


async def _replay(settings: Settings, call_id: str) -> Ending:
    try:
        async with open_stores(settings) as stores:
            known = stores.runs is not None and await stores.runs.replay(call_id)
    except StorageError as error:
        raise CommandError(str(error), Exit.FAILED) from None
    if not known:
        raise CommandError(f"no callback {call_id!r} was given up; goalgraph doctor lists those that were")
    people().print(f"{call_id} is due again; a worker or an open planner delivers it", markup=False, soft_wrap=True)
    return Ending(document={"ok": True, "replayed": call_id})


def _table(findings: Sequence[Finding]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = MARKS[finding.health]
        told = Text(finding.told)
        if finding.advice:
            told.append(f"\n→ {finding.advice}", style=style if finding.health != "ok" else "dim")
        table.add_row(Text.assemble((mark, style), f" {finding.health}"), Text(finding.check, style="bold"), told)
    return table
