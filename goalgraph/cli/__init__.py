"""The command line: `goalgraph demo`, `plan`, `run`, `check`, `draw` and `catalog`.

Results for people go to stderr, results for programs (`--json`) to stdout. What a command needs is imported when it runs,
so that `--help` answers at once.
"""

from goalgraph.cli.app import main

__all__ = ["main"]
