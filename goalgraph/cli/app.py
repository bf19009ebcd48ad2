"""The commands and their options. Nothing here imports the planner: what a command does is in a module of its own."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from goalgraph.cli import options
from goalgraph.cli.dispatch import do, place_of, where_of
from goalgraph.cli.run_commands import runs_app
from goalgraph.cli.skills_commands import skills_app

EXITS = """Exit codes: 0 done · 1 the run failed · 2 wrong usage · 3 the plan is invalid · 4 an input is missing · \
5 no plan was found, or run has only a draft · 130 stopped with Ctrl-C · 143 with SIGTERM."""
CHAT_EXITS = "Exit codes: 0 left · 1 a store failed · 2 wrong usage · 130 left with Ctrl-C · 143 with SIGTERM."

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
app.add_typer(runs_app)
app.add_typer(skills_app)


def main() -> None:
    """Run the command line."""
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # what it logs is in the error that we show
    logging.getLogger("goalgraph").addFilter(_tells_more)
    logging.lastResort = _ToPeople(logging.WARNING)
    app()


class _ToPeople(logging.Handler):
    """Shows what is logged and nobody else takes, so that no text acts on the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        from goalgraph.live.words import visible

        sys.stderr.write(f"{visible(self.format(record))}\n")  # which a live picture takes in, above itself


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
    place = place_of(data_dir, redis, archive)
    do("demo", "demo", out=out, model=model, base_url=base_url, place=place, json=json)


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
    skills: options.Skills = None,
    candidates: options.Candidates = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="PLAN.json", help="Save the plan.")] = None,
    json: options.Json = False,
) -> None:
    """Draft a plan for a goal and show it; nothing is run."""
    request = _request(goal, catalog, given, inputs, want, model, base_url, candidates, skills=skills)
    do("planning", "plan", request=request, out=out, json=json)


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
    skills: options.Skills = None,
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
    place = place_of(data_dir, redis, archive)
    request = _request(goal, catalog, given, inputs, want, model, base_url, candidates, skills=skills, place=place)
    do("running", "run", request=request, dry_run=dry_run, run_drafts=run_drafts, json=json)


@app.command(epilog=CHAT_EXITS)
def chat(  # noqa: PLR0913 - each is an option of the command line
    *,
    catalog: options.Catalog = None,
    session: options.Session = None,
    new: Annotated[bool, typer.Option("--new", help="Begin another conversation, under an id of its own.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List your conversations, and begin none.")] = False,
    review: options.Review = "always",
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    skills: options.Skills = None,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    role: options.Roles = None,
    json: Annotated[bool, typer.Option("--json", help="Write each turn to stdout, as JSON on a line.")] = False,
) -> None:
    """Talk: say what you want, see the plan, change it, run it; leave with Ctrl-D, and take it up again later.

    From a pipe each line is a message.
    """
    where = where_of(data_dir, redis, archive, user, org, role)
    if listed:
        do("chat_sessions", "ls", where=where, json=json)
    request = _request("", catalog, None, None, None, model, base_url, skills=skills, place=where.place)
    asked = {"session": session, "new": new, "review": review}
    do("chatting", "chat", request=request, where=where, lines=json, json=False, **asked)


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
    do("checking", "check", request=request, json=json)


@app.command(epilog=EXITS)
def draw(
    plan_file: options.PlanFile,
    *,
    catalog: options.Catalog = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Instead of stdout.")] = None,
    form: Annotated[Literal["svg", "mermaid"], typer.Option("--format", "-f", help="The kind of picture.")] = "svg",
) -> None:
    """Draw a plan as SVG or Mermaid."""
    do("checking", "draw", plan_file=plan_file, catalog=catalog, out=out, form=form)


@catalog_app.command("ls")
def catalog_ls(*, catalog: options.Catalog = None, json: options.Json = False) -> None:
    """List the actions."""
    do("actions", "ls", catalog=catalog, json=json)


@catalog_app.command("show")
def catalog_show(
    name: Annotated[str, typer.Argument(metavar="ACTION", help="A name, or kind:name@version.")],
    *,
    catalog: options.Catalog = None,
    json: options.Json = False,
) -> None:
    """Show what an action takes and gives, and the rules it is called under."""
    do("actions", "show", name=name, catalog=catalog, json=json)


@catalog_app.command("search")
def catalog_search(
    goal: Annotated[str, typer.Argument(metavar="GOAL", help="What is to be reached, in words.")],
    *,
    catalog: options.Catalog = None,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, help="At most so many.")] = 10,
    json: options.Json = False,
) -> None:
    """Find the actions that a goal may need."""
    do("actions", "search", goal=goal, catalog=catalog, count=count, json=json)


@catalog_app.command("explain")
def catalog_explain(
    goal: Annotated[str, typer.Argument(metavar="GOAL", help="What is to be reached, in words.")],
    *,
    catalog: options.Catalog = None,
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=1, help="At most so many; a draft is offered 25.")
    ] = 25,
    flow: Annotated[
        list[str] | None, typer.Option("--flow", metavar="ID", help="Only this group, and actions of none.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option("--role", metavar="NAME", help="A role of whoever asks.")] = None,
    json: options.Json = False,
) -> None:
    """Show which actions are retrieved for a goal and why, and which are left out."""
    do("explaining", "explain", goal=goal, catalog=catalog, count=count, flows=flow or (), roles=role or (), json=json)


@app.command()
def worker(  # noqa: PLR0913 - each is an option of the command line
    *,
    catalog: options.Catalog = None,
    processes: Annotated[int, typer.Option("--processes", "-p", metavar="N", min=1, help="Processes to start.")] = 1,
    slots: Annotated[
        int | None, typer.Option("--slots", metavar="N", min=1, help="Runs that each advances at the same time.")
    ] = None,
    engine: Annotated[
        Literal["dramatiq", "local"], typer.Option("--engine", help="How it hears of runs; local: by looking for them.")
    ] = "dramatiq",
    broker_url: Annotated[
        str | None, typer.Option("--broker-url", metavar="URL", help="Redis database of the queue (else the next one).")
    ] = None,
    lease: Annotated[
        float | None,
        typer.Option("--lease", metavar="S", min=0.1, help="Seconds until others take up the runs of one that died."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", metavar="P", min=1, help="Serve figures for Prometheus; N processes: P, P+1, …"),
    ] = None,
    health_file: Annotated[
        Path | None,
        typer.Option("--health-file", metavar="F", help="Write each health line there; N processes: F.0, F.1, …"),
    ] = None,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    json: Annotated[bool, typer.Option("--json", help="Write health lines and logs as JSON, on stderr.")] = False,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Advance the runs that other processes start, until SIGTERM or Ctrl-C; a second one ends it at once."""
    do(
        "worker",
        "worker",
        catalog=catalog,
        processes=processes,
        slots=slots,
        engine=engine,
        broker_url=broker_url,
        lease=lease,
        metrics_port=metrics_port,
        health_file=health_file,
        place=place_of(data_dir, redis, archive),
        child=child,
        lines=json,
        json=None if child else json,
    )


@app.command(epilog=EXITS)
def doctor(
    *,
    model: Annotated[bool, typer.Option("--model", help="Ask the language model as well.")] = False,
    replay: Annotated[
        str | None, typer.Option("--replay", metavar="ID", help="Deliver a callback again that was given up.")
    ] = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="Leave out the test run.")] = False,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    json: options.Json = False,
) -> None:
    """Check versions, stores, what is waiting, and a test run; say what to do."""
    place = place_of(data_dir, redis, archive)
    do("doctor", "doctor", place=place, model=model, replay=replay, test_run=not no_run, json=json)


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
    skills: Path | None = None,
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
        skills=skills,
        candidates=candidates,
        place=place or Place(),
    )
