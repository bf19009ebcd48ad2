"""The commands about runs, and their options."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from goalgraph.cli import options
from goalgraph.cli.dispatch import do, where_of

runs_app = typer.Typer(name="runs", help="See what becomes of runs, and decide it.", no_args_is_help=True)


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
    where = where_of(data_dir, redis, archive, user, org)
    do("runs", "ls", where=where, limit=limit, status=status, everything=everything, json=json)


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
    do("runs", "show", run=run, where=where_of(data_dir, redis, archive, user, org), json=json)


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
    do("runs", "events", run=run, where=where_of(data_dir, redis, archive, user, org), after=after, json=json)


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
    do("runs", "sql", query=query, where=where_of(data_dir, redis, archive), views=views, json=json)


@runs_app.command("watch")
def runs_watch(
    run: options.RunId,
    *,
    after: Annotated[int, typer.Option("--after", metavar="N", min=0, help="With --json: only after number N.")] = 0,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    json: Annotated[bool, typer.Option("--json", help="Write each event to stdout, as JSON on a line.")] = False,
) -> None:
    """Watch a run until it has ended, in whichever process it is; Ctrl-C stops only the watching."""
    where = where_of(data_dir, redis, archive, user, org)
    do("watching", "watch", run=run, where=where, after=after, lines=json, json=False)


@runs_app.command("cancel")
def runs_cancel(
    run: options.RunId,
    *,
    catalog: options.RunCatalog = None,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    json: options.Json = False,
) -> None:
    """Stop a run, in whichever process it is."""
    do("acting", "cancel", run=run, where=where_of(data_dir, redis, archive, user, org), catalog=catalog, json=json)


@runs_app.command("answer")
def runs_answer(  # noqa: PLR0913 - each is an option of the command line
    run: options.RunId,
    said: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUESTION] [VALUE]",
            help="Which question, by its step or id, if there are several; and the answer, as JSON or as text.",
        ),
    ] = None,
    *,
    yes: Annotated[bool | None, typer.Option("--yes/--no", help="Agree, or refuse.")] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why you agree or refuse.")] = "",
    value_file: Annotated[
        Path | None, typer.Option("--value-file", metavar="FILE", help="Read the answer from a file.")
    ] = None,
    catalog: options.RunCatalog = None,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    role: options.Roles = None,
    json: options.Json = False,
) -> None:
    """Answer what a run asks; without an answer, you are asked here."""
    where = where_of(data_dir, redis, archive, user, org, role)
    given = {"said": tuple(said or ()), "yes": yes, "reason": reason, "value_file": value_file}
    do("acting", "answer", run=run, where=where, catalog=catalog, given=given, json=json)


@runs_app.command("decide")
def runs_decide(  # noqa: PLR0913 - each is an option of the command line
    run: options.RunId,
    step: Annotated[str, typer.Argument(metavar="STEP", help="Of which nobody knows what became of it.")],
    decision: Annotated[Literal["retry", "succeeded", "failed"], typer.Argument(help="What counts.")],
    *,
    value: Annotated[
        str | None, typer.Option("--value", metavar="JSON", help="What a step returned that succeeded.")
    ] = None,
    error: Annotated[str, typer.Option("--error", metavar="TEXT", help="Why it failed.")] = "",
    catalog: options.RunCatalog = None,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    role: options.Roles = None,
    json: options.Json = False,
) -> None:
    """Say what became of a step that was in flight when its process died."""
    where = where_of(data_dir, redis, archive, user, org, role)
    said = {"step": step, "decision": decision, "value": value, "error": error}
    do("acting", "decide", run=run, where=where, catalog=catalog, said=said, json=json)


@runs_app.command("resume")
def runs_resume(  # noqa: PLR0913 - each is an option of the command line
    run: options.RunId,
    *,
    catalog: options.RunCatalog = None,
    given: options.Given = None,
    inputs: options.GivenFile = None,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    json: options.Json = False,
) -> None:
    """Go on with a run here; inputs that are not recorded, such as secrets, are given or asked for."""
    where = where_of(data_dir, redis, archive, user, org)
    do("acting", "resume", run=run, where=where, catalog=catalog, given=given, inputs=inputs, json=json)


@runs_app.command("retry")
def runs_retry(  # noqa: PLR0913 - each is an option of the command line
    run: options.RunId,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Only undo again what could not be undone.")] = False,
    catalog: options.RunCatalog = None,
    given: options.Given = None,
    inputs: options.GivenFile = None,
    data_dir: options.DataDir = None,
    redis: options.RedisUrl = None,
    archive: options.ArchiveUrl = None,
    user: options.User = "local",
    org: options.Org = "local",
    json: options.Json = False,
) -> None:
    """Begin a run anew that failed or was cancelled; what still holds is kept."""
    where = where_of(data_dir, redis, archive, user, org)
    do("acting", "retry", run=run, where=where, catalog=catalog, given=given, inputs=inputs, undo=undo, json=json)
