"""The command line: `goalgraph demo`, `plan`, `run`, `check`, `draw`, `catalog`, `runs`, `worker` and `doctor`.

What is for people goes to stderr, what is for programs (`--json`) to stdout. What a command needs is imported when it
runs, so that `--help` answers at once.
"""

from goalgraph.cli.app import main

__all__ = ["main"]
