"""`goalgraph runs watch`: a run as it goes, in whichever process it is."""

import asyncio
from dataclasses import asdict

from rich.text import Text

from goalgraph.cli.console import answer, people, to_json
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.place import told
from goalgraph.cli.running import exit_code
from goalgraph.cli.runs import Where, absent, anything_there, resolve
from goalgraph.cli.show import show_result
from goalgraph.cli.stopping import abandoned_when_stopped
from goalgraph.live import RunProgress, followed
from goalgraph.stores import open_stores
from planner.errors import RunNotFound
from planner.execution import RunRecord, Runs
from planner.execution.read_result import result_of_record
from planner.plan import CandidatePlan
from planner.runs import follow
from planner.runs.following import as_told


def watch(run: str, where: Where, after: int, lines: bool) -> Ending:  # noqa: FBT001 - by name
    """Watch a run until it has ended."""
    try:
        return asyncio.run(_watch(run, where, after, lines=lines))
    except KeyboardInterrupt:
        return Ending(code=Exit.INTERRUPTED)
    except RunNotFound as error:
        failed = absent(error.run_id)
    except CommandError as error:
        failed = error
    if lines:
        answer(to_json({"ok": False, "error": str(failed)}, indent=None))
    raise failed


async def _watch(run: str, where: Where, after: int, *, lines: bool) -> Ending:
    settings = where.settings()
    if not anything_there(settings):
        raise absent(run)
    async with told(open_stores(settings), settings) as stores:
        with abandoned_when_stopped():
            runs = Runs(stores.records, stores.codec)
            run_id = await resolve(runs, run, where)
            try:
                ended = await _lines(runs, run_id, where, after) if lines else await _picture(runs, run_id, where)
            except asyncio.CancelledError:
                again = where.command("watch", run_id)
                people().print(Text(f"the run goes on; watch it again: {again}"), soft_wrap=True)
                raise
    result = result_of_record(ended)
    if not lines:
        show_result(result, people())
    return Ending(code=exit_code(result, interrupted=False))


async def _picture(runs: Runs, run_id: str, where: Where) -> RunRecord:
    """Show the events on the terminal, in a picture if it is one."""
    record = await runs.get(run_id, where.identity)
    plan = CandidatePlan.from_dict(record.plan)
    with RunProgress(plan, people(), where.how_to_answer(run_id)) as progress:
        async for event in followed(lambda after: follow(runs, run_id, where.identity, after=after)):
            progress(as_told(event))
    return await runs.get(run_id, where.identity)


async def _lines(runs: Runs, run_id: str, where: Where, after: int) -> RunRecord:
    """Write the events to stdout."""
    async for event in followed(lambda after: follow(runs, run_id, where.identity, after=after), after):
        answer(to_json(asdict(event), indent=None))
    return await runs.get(run_id, where.identity)
