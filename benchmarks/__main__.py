"""`python -m benchmarks [--quick] [name …]`: measure, show, and write down what was measured."""

import argparse
import importlib
import signal
import sys
import time
import traceback

from rich.console import Console

from benchmarks.report import HERE, machine, markdown, show, spoken, write_json, write_section
from benchmarks.rows import Row

NAMES = (
    "makespan", "overhead", "validation", "retrieval", "repair", "savers", "graph", "bytes", "archive",
    "runs", "throughput", "latency", "sleeping", "handles",
    "skills", "turns",
)  # fmt: skip


def main() -> int:
    """Run the benchmarks that were named, else all; one that fails does not keep the others from being measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="about three minutes in all; README.md is left as it is")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    signal.signal(signal.SIGTERM, end)
    console = Console(width=None if sys.stdout.isatty() else 160)
    failed = [name for name in arguments.names or NAMES if not measure(name, quick=arguments.quick, console=console)]
    if failed:
        console.print(f"not measured: {', '.join(failed)}", style="red")
    return 1 if failed else 0


def end(*_: object) -> None:
    """Leave as an exception does: the servers and workers that were started are ended, and their folders removed."""
    sys.exit(1)


def measure(name: str, *, quick: bool, console: Console) -> bool:
    """Run one benchmark; tell whether it could be measured."""
    facts = machine(name)
    console.print(f"{name}: {spoken(facts)}", style="dim", highlight=False)
    began = time.perf_counter()
    try:
        found = importlib.import_module(f"benchmarks.{name}").run(quick=quick)
    except Exception:  # noqa: BLE001 - whatever is wrong with one benchmark, the others are measured
        traceback.print_exc()
        return False
    rows = [Row.of(row) for row in found]
    show(name, rows, console)
    console.print(f"{name} took {time.perf_counter() - began:.0f} s\n", style="dim")
    write_json(name, rows, facts, quick=quick, folder=HERE / "results")
    if not quick:
        write_section(name, markdown(rows, facts), HERE / "README.md")
    return True


if __name__ == "__main__":
    sys.exit(main())
