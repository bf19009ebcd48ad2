"""The commands and their options. Nothing here imports the planner: what a command does is in a module of its own."""

import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from goalgraph.cli import options
from goalgraph.cli.exits import CommandError, Ending, Exit

EXITS = """Exit codes: 0 done · 1 the run failed · 2 wrong usage · 3 the plan is invalid · 4 an input is missing · \
5 no plan was found, or run has only a draft · 130 stopped with Ctrl-C · 143 with SIGTERM."""

app = typer.Typer(
    name="goalgraph",
    help="Turn a goal into a plan that can be read, checked and edited, and run it.",
    epilog=EXITS,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
catalog_app = typer.Typer(name="catalog", help="See which actions there are.", no_args_is_help=True)
app.add_typer(catalog_app)
runs_app = typer.Typer(name="runs", help="See what became of runs.", no_args_is_help=True)
app.add_typer(runs_app)


def main() -> None:
    """Run the command line."""
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # what it logs is in the error that we show
    logging.getLogger("goalgraph").addFilter(_tells_more)
    app()


def _tells_more(record: logging.LogRecord) -> bool:
    """Leave out the traceback of what a store says in one sentence, which a command shows itself."""
    from storage.errors import StorageError

    return not (record.exc_info and isinstance(record.exc_info[1], StorageError))


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        from goalgraph import __version__

        typer.echo(f"goalgraph {__version__}")
        raise typer.Exit


@app.callback()
def options_of_all(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""


@app.command(epilog=EXITS)
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the report goes.")] = Path("goalgraph-demo"),
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    json: options.Json = False,
) -> None:
    """Answer a question about four years of real weather: plan, run, and write a report with a chart."""
    place = _place(data_dir, redis, archive)
    _do("demo", "demo", out=out, model=model, base_url=base_url, place=place, json=json)


@app.command(epilog=EXITS)
def plan(  # noqa: PLR0913 - each is an option of the command line
    goal: Annotated[str, typer.Argument(metavar="GOAL", help="What is to be reached, in words.")],
    *,
    catalog: options.Catalog = None,
    given: options.Given = None,
    inputs: options.GivenFile = None,
    want: options.Wants = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    candidates: options.Candidates = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="PLAN.json", help="Save the plan.")] = None,
    json: options.Json = False,
) -> None:
    """Draft a plan for a goal and show it; nothing is run."""
    request = _request(goal, catalog, given, inputs, want, model, base_url, candidates)
    _do("planning", "plan", request=request, out=out, json=json)


@app.command(epilog=EXITS)
def run(  # noqa: PLR0913 - each is an option of the command line
    goal: Annotated[
        str, typer.Argument(metavar="GOAL|PLAN.json", help="A goal in words, a plan's file, or - (stdin).")
    ],
    *,
    catalog: options.Catalog = None,
    given: options.Given = None,
    inputs: options.GivenFile = None,
    want: options.Wants = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    candidates: options.Candidates = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show order, inputs and effects; call nothing.")] = False,
    run_drafts: Annotated[
        bool, typer.Option("--run-drafts", help="Also run a plan that was only guessed from words.")
    ] = False,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    json: options.Json = False,
) -> None:
    """Run a plan, or draft one for a goal and run it."""
    place = _place(data_dir, redis, archive)
    request = _request(goal, catalog, given, inputs, want, model, base_url, candidates, place=place)
    _do("running", "run", request=request, dry_run=dry_run, run_drafts=run_drafts, json=json)


@app.command(epilog=EXITS)
def check(
    plan_file: options.PlanFile,
    *,
    catalog: options.Catalog = None,
    given: options.Given = None,
    inputs: options.GivenFile = None,
    json: options.Json = False,
) -> None:
    """Say everything that is wrong with a plan, and where."""
    request = _request(plan_file, catalog, given, inputs)
    _do("checking", "check", request=request, json=json)


@app.command(epilog=EXITS)
def draw(
    plan_file: options.PlanFile,
    *,
    catalog: options.Catalog = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Instead of stdout.")] = None,
    form: Annotated[Literal["svg", "mermaid"], typer.Option("--format", "-f", help="The kind of picture.")] = "svg",
) -> None:
    """Draw a plan as SVG or Mermaid."""
    _do("checking", "draw", plan_file=plan_file, catalog=catalog, out=out, form=form)


@catalog_app.command("ls")
def catalog_ls(*, catalog: options.Catalog = None, json: options.Json = False) -> None:
    """List the actions."""
    _do("actions", "ls", catalog=catalog, json=json)


@catalog_app.command("show")
def catalog_show(
    name: Annotated[str, typer.Argument(metavar="ACTION", help="A name, or kind:name@version.")],
    *,
    catalog: options.Catalog = None,
    json: options.Json = False,
) -> None:
    """Show what an action takes and gives, and the rules it is called under."""
    _do("actions", "show", name=name, catalog=catalog, json=json)


@catalog_app.command("search")
def catalog_search(
    goal: Annotated[str, typer.Argument(metavar="GOAL", help="What is to be reached, in words.")],
    *,
    catalog: options.Catalog = None,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, help="At most so many.")] = 10,
    json: options.Json = False,
) -> None:
    """Find the actions that a goal may need."""
    _do("actions", "search", goal=goal, catalog=catalog, count=count, json=json)


@runs_app.command("ls")
def runs_ls(  # noqa: PLR0913 - each is an option of the command line
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = 20,
    status: Annotated[options.Status | None, typer.Option("--status", help="Only those that are there now.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that other runs started.")] = False,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    json: options.Json = False,
) -> None:
    """List the runs, the one that changed last first."""
    where = _where(data_dir, redis, archive, user, org)
    _do("runs", "ls", where=where, limit=limit, status=status, everything=everything, json=json)


@runs_app.command("show")
def runs_show(
    run: options.RunId,
    *,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    json: options.Json = False,
) -> None:
    """Show a run: its steps, and what it returned or what failed."""
    _do("runs", "show", run=run, where=_where(data_dir, redis, archive, user, org), json=json)


@runs_app.command("events")
def runs_events(
    run: options.RunId,
    *,
    after: Annotated[int, typer.Option("--after", metavar="N", min=0, help="Only those after number N.")] = 0,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    json: options.Json = False,
) -> None:
    """List what happened in a run, in order."""
    _do("runs", "events", run=run, where=_where(data_dir, redis, archive, user, org), after=after, json=json)


@runs_app.command("sql")
def runs_sql(
    query: Annotated[
        str | None, typer.Argument(metavar="[SELECT]", help="What to ask; without it the views are listed.")
    ] = None,
    *,
    views: Annotated[bool, typer.Option("--views", help="List the views that can be asked.")] = False,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    json: options.Json = False,
) -> None:
    """Ask the archive of all runs in SQL; nothing can be changed this way."""
    _do("runs", "sql", query=query, where=_where(data_dir, redis, archive), views=views, json=json)


def _where(
    data_dir: Path | None, redis: str | None, archive: str | None, user: str = "local", org: str = "local"
) -> Any:
    from goalgraph.cli.runs import Where

    return Where(place=_place(data_dir, redis, archive), user=user, org=org)


def _place(data_dir: Path | None, redis: str | None, archive: str | None) -> Any:
    from goalgraph.cli.place import Place

    return Place(data_dir=data_dir, redis=redis, archive=archive)


def _request(  # noqa: PLR0913 - each is an option of the command line
    subject: str,
    catalog: str | None,
    given: list[str] | None,
    inputs: Path | None,
    want: list[str] | None = None,
    model: str | None = None,
    base_url: str | None = None,
    candidates: int = 1,
    *,
    place: Any = None,
) -> Any:
    from goalgraph.cli.place import Place
    from goalgraph.cli.request import Request

    return Request(
        subject=subject,
        catalog=catalog,
        given=tuple(given or ()),
        inputs_file=inputs,
        wants=tuple(want or ()),
        model=model,
        base_url=base_url,
        candidates=candidates,
        place=place or Place(),
    )


def _do(module: str, command: str, /, *, json: bool | None = None, **arguments: Any) -> None:
    """Import what a command needs, do it, write what is for stdout, and end with the exit code.

    Args:
        module: In this package; it has a function with the name of the command, which returns an `Ending`.
        command: The command.
        json: Whether `--json` was given; `None` where a command has no such option.
        arguments: For the function.
    """
    from goalgraph.cli import console, stopping

    with stopping.termination() as terminated:
        try:
            with console.stdout_kept_clean(json is not False):
                function: Callable[..., Ending] = getattr(import_module(f"goalgraph.cli.{module}"), command)
                ending = function(**arguments)
        except CommandError as error:
            console.complain(str(error))
            ending = Ending(code=error.code, document={"ok": False, "error": str(error)})
        except KeyboardInterrupt:
            console.complain("stopped")
            ending = Ending(code=Exit.INTERRUPTED, document={"ok": False, "error": "stopped"})
    console.answer(console.to_json(ending.document) if json else ending.text)
    raise typer.Exit(int(terminated.code if ending.code is Exit.INTERRUPTED else ending.code))
