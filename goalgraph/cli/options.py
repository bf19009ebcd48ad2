"""The options that several commands share, and the values that they become."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Catalog = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        "-c",
        metavar="WHERE",
        help="The actions: [bold]module[:name][/bold] or [bold]path/to/file.py[:name][/bold], where the name is an "
        "ActionCatalog or a list of actions; without it all @action functions. Try goalgraph.demo.",
    ),
]
RunCatalog = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        "-c",
        metavar="WHERE",
        help="The run's actions: go on with it here, unless somebody else does. Without it, whoever has them does.",
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="KEY=VALUE",
        help="A value for ${user.KEY}, as JSON if it is, else as text ('zip=\"00123\"' for digits that are text).",
    ),
]
GivenFile = Annotated[
    Path | None, typer.Option("--inputs", metavar="FILE.json", help="Values for ${user.…}, as one JSON object.")
]
Wants = Annotated[
    list[str] | None,
    typer.Option("--want", "-w", metavar="NAME", help="An output to reach; plans by types, without a model."),
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="The language model (else GOALGRAPH_MODEL).")
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="Its OpenAI-compatible server (else GOALGRAPH_BASE_URL)."),
]
Skills = Annotated[
    Path | None,
    typer.Option(
        "--skills",
        metavar="DIR",
        help="A folder of skills, as data to the model (else GOALGRAPH_SKILLS, .agents/skills).",
    ),
]
Candidates = Annotated[
    int, typer.Option("--candidates", metavar="N", min=1, max=16, help="Plans to draft in parallel; the best is used.")
]
Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout, and nothing else there.")]
PlanFile = Annotated[str, typer.Argument(metavar="PLAN.json", help="The plan's file, or - for stdin.")]

Session = Annotated[
    str | None,
    typer.Option("--session", metavar="ID", help="A conversation to take up or to begin; else the one of the user."),
]
Review = Annotated[
    Literal["always", "effects", "never"],
    typer.Option("--review", help="Plans that are shown before they run: all, those that change something, or none."),
]

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where the runs are kept (else GOALGRAPH_DATA_DIR, .goalgraph)."),
]
RedisUrl = Annotated[
    str | None,
    typer.Option("--redis", metavar="URL", help="A Redis server instead (else GOALGRAPH_STORAGE__REDIS_URL)."),
]
ArchiveUrl = Annotated[
    str | None,
    typer.Option("--archive", metavar="URL", help="A ClickHouse server (else GOALGRAPH_STORAGE__ARCHIVE_URL)."),
]
User = Annotated[str, typer.Option("--user", metavar="ID", help="Whose runs.")]
Org = Annotated[str, typer.Option("--org", metavar="ID", help="Their tenant.")]
Roles = Annotated[list[str] | None, typer.Option("--role", metavar="NAME", help="A role of whoever answers.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or enough of its beginning.")]
Status = Literal["pending", "running", "waiting", "compensating", "succeeded", "failed", "cancelled"]
