"""A process that measures one thing at a time, so that what hangs or eats memory can be ended.

Peers write files where they run and start services that never end: each gets a process and a folder of its own.
"""

import importlib
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from benchmarks.rows import Unmeasured

ROOT = Path(__file__).parents[1]
MEMORY = 6 * 2**30
"""Bytes of address space that one process may take."""


class Worker:
    """One child process, made again after one that had to be ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def call(self, function: str, *arguments: Any, limit: float) -> Any:
        """Return what `module:function` of `benchmarks` returns in the child; arguments and answer are JSON.

        Raises:
            Unmeasured: it took longer than `limit` seconds, or failed.
        """
        child = self._child = self._child or start()
        questions, answers = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
        questions.write(json.dumps([function, arguments]).encode() + b"\n")
        ready, _, _ = select.select([answers], [], [], limit)
        if not ready:
            self.close()
            raise Unmeasured(f"over {limit:g} s")
        line = answers.readline()
        if not line:
            self.close()
            raise Unmeasured("its process died")
        answer = json.loads(line)
        if "error" in answer:
            raise Unmeasured(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start() -> subprocess.Popen[bytes]:
    """Start a child that answers `main`'s questions."""
    command = [sys.executable, "-m", "benchmarks.worker"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, cwd=ROOT
    )


def main() -> None:
    """Answer each line of the input with one of the output; what else is printed goes nowhere."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        for line in sys.stdin:
            function, arguments = json.loads(line)
            module, _, name = function.partition(":")
            try:
                value = getattr(importlib.import_module(f"benchmarks.{module}"), name)(*arguments)
                answer = {"value": value}
            except Unmeasured as error:
                answer = {"error": str(error)}
            except Exception as error:  # noqa: BLE001 - a peer may raise anything, and that is what is measured
                answer = {"error": type(error).__name__}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
