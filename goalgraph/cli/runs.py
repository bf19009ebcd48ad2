"""`goalgraph runs ls`, `show`, `events` and `sql`: what runs left behind."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from rich.text import Text

from goalgraph.cli.console import people
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.options import Status
from goalgraph.cli.place import Place, program, read_settings, told
from goalgraph.cli.show_runs import answer_table, events_table, run_details, runs_table
from goalgraph.cli.stopping import abandoned_when_stopped
from goalgraph.live.view import utc_now
from goalgraph.live.words import seconds
from goalgraph.settings import Settings
from goalgraph.stores import OpenStores, open_stores
from planner.context import RequestIdentity
from planner.errors import RunNotFound
from planner.execution import Found, PendingInterrupt, RunEvent, RunRecord, Runs, steps_of
from planner.runs.access import open_questions
from storage.clickhouse.views import VIEWS
from storage.errors import ArchiveUnavailable
from storage.protocols import Table

MARKER = "format"
"""The file by which a folder is known to be a data directory."""
START = "start one with: goalgraph run GOAL --catalog WHERE, or goalgraph demo"
LONG = 60.0
"""Seconds after which it is said that nothing was heard of a run that goes on."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which runs a command is about: where they are kept, and whose they are."""

    place: Place
    user: str = RequestIdentity.user_id
    org: str = RequestIdentity.org_id
    roles: tuple[str, ...] = ()

    @property
    def identity(self) -> RequestIdentity:
        """Who asks."""
        return RequestIdentity(user_id=self.user, org_id=self.org, roles=self.roles)

    @property
    def owner(self) -> str:
        """Who asks, for people."""
        return self.user if self.org == RequestIdentity.org_id else f"{self.user} of {self.org}"

    def own(self, name: str) -> str:
        """Return a name that others who use the same stores do not have; the local user's is the name itself."""
        local = (self.user, self.org) == (RequestIdentity.user_id, RequestIdentity.org_id)
        return name if local else f"{name}-{self.org}-{self.user}"

    @property
    def options(self) -> str:
        """How it is typed."""
        named = {"--user": (self.user, RequestIdentity.user_id), "--org": (self.org, RequestIdentity.org_id)}
        told = "".join(f" {shlex.join([name, given])}" for name, (given, usual) in named.items() if given != usual)
        return f"{told}{self.place.options}"

    def command(self, name: str, run_id: str) -> str:
        """Return what to type to do something else with a run."""
        return f"{program()} runs {name} {shlex.quote(run_id)}{self.options}"

    def how_to_go_on(self, run: RunRecord) -> str:
        """Return what to type to go on with a run here: as its owner, with the inputs that its record lacks."""
        owners = replace(self, user=run.user_id, org=run.org_id)
        lacking = "".join(f" --input {shlex.quote(name)}=…" for name in run.request.get("missing", ()))
        return f"{owners.command('resume', run.id)} --catalog WHERE{lacking}"

    def how_to_answer(self, run_id: str) -> Callable[[PendingInterrupt], str]:
        """Return what says how to answer a question of a run."""

        def how(question: PendingInterrupt) -> str:
            name = shlex.quote(question.id)
            match question.kind:
                case "approval":
                    return f"{self.command('answer', run_id)} {name} --yes (or --no --reason WHY)"
                case "unknown":
                    return f"{self.command('decide', run_id)} {shlex.quote(question.step_id)} retry|succeeded|failed"
                case _:
                    return f"{self.command('answer', run_id)} {name} VALUE"

        return how

    def settings(self) -> Settings:
        """Return the settings of the environment, with what the options say in their place."""
        return self.place.within(read_settings())


def ls(where: Where, limit: int, status: Status | None, everything: bool) -> Ending:  # noqa: FBT001 - by name
    """List the runs, the one that changed last first."""

    async def read(stores: OpenStores) -> Found[RunRecord]:
        runs = Runs(stores.records, stores.codec)
        return await runs.list(where.identity, status=status, inline=everything, limit=limit)

    found = ask(where, read)
    if found:
        people().print(runs_table(found))
    elif found is None:
        people().print(f"no runs in {_place(where)} yet; {START}", markup=False, soft_wrap=True)
    elif status is None:
        people().print(f"no runs of {where.owner} here; {START}", markup=False, soft_wrap=True)
    else:
        people().print(f"no run here is {status}; goalgraph runs ls shows all")
    if found is not None and found.missing is not None:
        people().print(_incomplete(found.missing), markup=False, soft_wrap=True)
    return Ending(document=[_summary(run) for run in found or ()])


def show(run: str, where: Where) -> Ending:
    """Show one run."""

    async def read(stores: OpenStores) -> tuple[RunRecord, Sequence[RunEvent]]:
        runs = Runs(stores.records, stores.codec)
        found = await runs.get(await resolve(runs, run, where), where.identity)
        known = found.steps and (found.ended or open_questions(found))
        return found, () if known else await runs.events(found.id, where.identity)

    found, happened = _need(ask(where, read), run)
    steps = steps_of([step["id"] for step in found.plan.get("steps", ())], found, happened)
    details = run_details(found, steps, where.how_to_answer(found.id))
    people().print(details)
    for line in _standing(found, happened, where):
        people().print(Text(line, style="dim"), soft_wrap=True)
    states = {step_id: {**asdict(state), "seconds": state.seconds} for step_id, state in steps.items()}
    document = {**asdict(found), "steps": states}
    del document["request"]  # for other processes
    return Ending(document=document)


def _standing(run: RunRecord, happened: Sequence[RunEvent], where: Where) -> Iterator[str]:
    """Say of a live run how long nothing was heard of it, and what it takes to go on with it."""
    if run.ended:
        return
    if missing := run.request.get("missing", ()):
        yield f"its record does not hold {', '.join(missing)}; whoever goes on with it has to give that"
    here, heard = where.how_to_go_on(run), max((event.at for event in happened), default=run.started_at)
    silent = (utc_now() - heard).total_seconds()
    if open_questions(run):
        if missing:
            yield f"once it is answered: {here}"
    elif run.status in ("pending", "waiting") or silent >= LONG:  # answered, and nobody has taken it up yet
        ago = f"last heard of {seconds(max(silent, 0))} ago"
        yield f"{ago}; when nobody advances it: {here}, or start a worker that has its actions"


def events(run: str, where: Where, after: int) -> Ending:
    """List what happened in a run."""

    async def read(stores: OpenStores) -> Sequence[RunEvent]:
        runs = Runs(stores.records, stores.codec)
        return await runs.events(await resolve(runs, run, where), where.identity, after=after)

    found = _need(ask(where, read), run)
    people().print(events_table(found) if found else f"nothing after {after}")
    return Ending(document=[asdict(event) for event in found])


def sql(query: str | None, where: Where, views: bool) -> Ending:  # noqa: FBT001 - by name
    """Ask the archive, or list its views."""

    async def read(stores: OpenStores) -> Table:
        return await stores.archive.query(VIEWS if views or not query else query)

    answer = ask(where, read)
    if answer is None:
        raise CommandError(f"there is nothing in {_place(where)} yet; {START}", Exit.FAILED)
    people().print(answer_table(answer))
    if views or not query:
        people().print(Text('ask one of them: goalgraph runs sql "SELECT * FROM …"', style="dim"))
    return Ending(document={"columns": list(answer.columns), "rows": [list(row) for row in answer.rows]})


def ask(where: Where, read: Callable[[OpenStores], Awaitable[T]]) -> T | None:
    """Return what `read` finds in the stores, or `None` when there is not even a data directory."""
    settings = where.settings()
    if not anything_there(settings):
        return None

    async def ask() -> T:
        async with told(open_stores(settings), settings) as stores:
            with abandoned_when_stopped():
                return await read(stores)

    try:
        return asyncio.run(ask())
    except RunNotFound as error:
        raise absent(error.run_id) from None


def anything_there(settings: Settings) -> bool:
    """Tell whether there is a store to look into; opening a data directory that is not there would make it."""
    storage, folder = settings.storage, settings.data_dir
    if storage.redis_url or storage.archive_url:
        return True
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} is not a folder; name the data directory with --data-dir")
    return (folder / MARKER).exists()


async def resolve(runs: Runs, run: str, where: Where) -> str:
    """Return the id that `run` is, or is the beginning of.

    Raises:
        RunNotFound: there is none.
        CommandError: there are several, or it cannot be told because the archive cannot be read.
    """
    if not run.strip():
        raise CommandError("an empty id names no run; goalgraph runs ls shows what there is")
    found = await runs.find(run, where.identity)
    if len(found) > 1:
        raise CommandError(f"{run!r} is the beginning of several runs: {', '.join(found)}")
    if found.missing is not None and not found:
        raise CommandError(f"{RunNotFound(run)} that is live; {_incomplete(found.missing)}", Exit.FAILED)
    if found.missing is not None:
        people().print(_incomplete(found.missing), markup=False, soft_wrap=True)
    return found[0] if found else run


def _incomplete(error: ArchiveUnavailable) -> str:
    why = str(error) if error.owner is None else f"process {error.owner} holds the archive"
    return f"older runs may be missing, because {why}"


def _need(found: T | None, run: str) -> T:
    if found is None:
        raise absent(run)
    return found


def absent(run: str) -> CommandError:
    """Return what is said of a run that is not there."""
    return CommandError(f"{RunNotFound(run)}; goalgraph runs ls shows what there is")


def _place(where: Where) -> str:
    settings = where.settings()
    return settings.storage.redis_url or str(settings.data_dir)


def _summary(run: RunRecord) -> dict[str, Any]:
    """Return what a list shows of a run, as JSON."""
    left = {"plan", "inputs", "outputs", "left_out", "steps", "questions", "answers", "request"}
    return {name: value for name, value in asdict(run).items() if name not in left}
