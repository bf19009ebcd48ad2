"""Where figures go: a table on the screen, a section of README.md, and a JSON file."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.rows import Figure, Row

HERE = Path(__file__).parent
PLANNING = ("langgraph", "langgraph-checkpoint", "pydantic", "aethergraph")
STORING = ("langgraph", "langgraph-checkpoint", "redis", "hiredis", "chdb", "clickhouse-connect", "psycopg")
RUNNING = ("langgraph", "langgraph-checkpoint", "pydantic", "redis", "hiredis", "chdb", "dramatiq")
PEERS = tuple(f"langgraph-checkpoint-{peer}" for peer in ("sqlite", "postgres", "redis"))
PACKAGES: Mapping[str, Sequence[str]] = {
    "savers": STORING + PEERS,
    "graph": STORING + PEERS,
    "bytes": STORING + PEERS,
    "archive": STORING[:-1],
    **dict.fromkeys(("runs", "throughput", "latency", "sleeping", "handles"), RUNNING),
    "skills": ("pyyaml", "markdown-it-py", "bm25s", "aethergraph", "skills-ref"),
    "turns": (*RUNNING, "aethergraph"),
}
"""Whose versions stand above a table; `PLANNING` above the others."""


def machine(benchmark: str = "") -> dict[str, str]:
    """Return what the figures of a benchmark depend on."""
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": str(os.cpu_count()),
        "processor": processor(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
    }
    for package in PACKAGES.get(benchmark, PLANNING):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def processor() -> str:
    """Return the processor's name, as far as Linux tells it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def spoken(facts: dict[str, str]) -> str:
    """Return the machine in one line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def columns(rows: Sequence[Row]) -> list[str]:
    """Return the peers of all rows, in the order in which they first appear."""
    return list(dict.fromkeys(peer for row in rows for peer in row.peers))


def number(figure: Figure) -> str:
    """Write a figure with the digits that count."""
    if isinstance(figure, str):
        return figure
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    if isinstance(figure, int) or figure.is_integer():
        return str(int(figure))
    return f"{figure:.4g}" if abs(figure) >= 1 else f"{figure:.3g}"


def times(ratio: float) -> str:
    """Write how many times as much ours is."""
    return f"{ratio:,.0f}×" if ratio >= 10 else f"{ratio:.2g}×"


def cells(row: Row, peers: Sequence[str]) -> list[str]:
    """Return the texts of one line; beside a peer's figure, how many times as much ours is."""
    met = {True: "met", False: "missed", None: ""}[row.met]
    line = [row.what, f"{number(row.value)} {row.unit}".strip(), f"{row.goal} {met}".strip()]
    for peer in peers:
        ratio = row.ratio(peer)
        text = number(row.peers[peer]) if peer in row.peers else ""
        line.append(f"{text} ({times(ratio)})" if ratio is not None else text)
    return line


def show(name: str, rows: Sequence[Row], console: Console) -> None:
    """Print the table of one benchmark."""
    peers = columns(rows)
    table = Table(title=name, title_justify="left", caption="(n×): ours is n times the peer's", caption_justify="left")
    for head in ("what", "ours", "goal", *peers):
        table.add_column(head, justify="left" if head in ("what", "goal") else "right", overflow="fold")
    for row in rows:
        style = "red" if row.met is False else "green" if row.met else None
        table.add_row(*cells(row, peers), style=style)
    console.print(table)


def markdown(rows: Sequence[Row], facts: dict[str, str]) -> str:
    """Return the section of one benchmark for README.md."""
    peers = columns(rows)
    lines = [
        f"Measured: {spoken(facts)}.",
        "",
        f"| {' | '.join(('what', 'ours', 'goal', *peers))} |",
        f"|---|---:|---|{'---:|' * len(peers)}",
        *(f"| {' | '.join(cells(row, peers))} |" for row in rows),
    ]
    return "\n".join(lines)


def write_section(name: str, text: str, readme: Path) -> None:
    """Put `text` between the markers of one benchmark, which are added at the end when they are not there."""
    start, end = f"<!-- {name}: written by python -m benchmarks -->", f"<!-- {name}: end -->"
    whole = readme.read_text(encoding="utf-8")
    if start not in whole:
        whole = f"{whole.rstrip()}\n\n## {name}\n\n{start}\n{end}\n"
    before, _, rest = whole.partition(start)
    _, _, after = rest.partition(end)
    readme.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def write_json(name: str, rows: Sequence[Row], facts: dict[str, str], *, quick: bool, folder: Path) -> None:
    """Write what was measured; a quick run has a file of its own."""
    folder.mkdir(exist_ok=True)
    content = {
        "benchmark": name,
        "quick": quick,
        "machine": facts,
        "rows": [
            {
                "what": row.what,
                "value": row.value,
                "unit": row.unit,
                "goal": row.goal,
                "met": row.met,
                "peers": dict(row.peers),
                "ratios": {peer: row.ratio(peer) for peer in row.peers},
            }
            for row in rows
        ],
    }
    path = folder / f"{name}{'-quick' if quick else ''}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
