"""A process that measures one thing at a time, so that what hangs or eats memory can be ended.

Peers write files where they run and start services that never end: each gets a process and a folder of its own.
"""

import asyncio
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from benchmarks.rows import Unmeasured
from storage.embedded import DataDirectory, open_redis
from storage.errors import StorageError

ROOT = Path(__file__).parents[1]
MEMORY = 6 * 2**30
"""Bytes of address space that one process may take."""


class Worker:
    """One child process, made again after one that had to be ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def call(self, function: str, *arguments: Any, limit: float) -> Any:
        """Return what `module:function` of `benchmarks` returns in the child; arguments and answer are JSON.

        Raises:
            Unmeasured: it took longer than `limit` seconds, or failed.
        """
        if self._child is None:
            self._folder = tempfile.TemporaryDirectory(prefix="gg-bench-", ignore_cleanup_errors=True)
            self._child = start(Path(self._folder.name))
        child = self._child
        questions, answers = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
        questions.write(json.dumps([function, arguments]).encode() + b"\n")
        ready = wait([answers.fileno()], limit)
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
        """End the child, what it left running, and remove what it wrote."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()
        folder, self._folder = self._folder, None
        if folder is not None:
            end_servers(Path(folder.name))
            folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def in_turns(
    systems: Sequence[str], repeats: int, function: str, *arguments: Any, limit: float
) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Call `function(system, …)` in a new process for each system and repetition; a busy minute hits all of them.

    Returns:
        What the calls returned, and for systems without figures why there are none.
    """
    found: dict[str, list[Any]] = {name: [] for name in systems}
    reasons: dict[str, str] = {}
    for _ in range(repeats):
        for name, answers in found.items():
            if name not in reasons:
                try:
                    with Worker() as worker:
                        answers.append(worker.call(function, name, *arguments, limit=limit))
                except Unmeasured as error:
                    reasons[name] = str(error)
    return found, reasons


def end_servers(folder: Path) -> None:
    """End the redis-servers of a child that was killed: the last one out of a data directory stops its server."""

    async def come_and_go(data: Path) -> None:
        async with open_redis(DataDirectory(data)):
            pass

    for found in folder.glob("*/redis/redis.pid"):
        with suppress(StorageError):
            asyncio.run(come_and_go(found.parents[1]))


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a child that answers `main`'s questions, and works in `folder`."""
    command = [sys.executable, "-m", "benchmarks.worker", str(folder)]
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
    os.chdir(sys.argv[1])
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
