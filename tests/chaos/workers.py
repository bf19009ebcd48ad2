"""The campaign's side of its worker processes."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HUNG_SECONDS = 60.0


class Unknown(Exception):
    """Nobody can say whether it was done: the worker died, or a store did not answer."""


class Bug(Exception):
    """A worker raised what it must not, or did not answer at all."""


class Worker:
    """A process that is started again whenever it has died.

    Args:
        complain: Told what it logs as an error.
        module: Of the process.
        arguments: Of the process, chosen anew whenever it is started.
    """

    def __init__(self, complain: Callable[[str], None], module: str, arguments: Callable[[], Sequence[str]]) -> None:
        self._module = module
        self._arguments = arguments
        self._complain = complain
        self._process: asyncio.subprocess.Process | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = count()
        self._ready = asyncio.Event()
        self._told_to_end = False
        self.leaving = False
        """Whether it is not started again after it has ended as it was told."""

    async def run(self) -> None:
        """Keep it running until this is cancelled."""
        try:
            while True:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    self._module,
                    *self._arguments(),
                    cwd=ROOT,
                    stdin=asyncio.subprocess.PIPE,  # it ends when this is closed, so also when the campaign is killed
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    limit=1 << 22,
                    start_new_session=True,  # Ctrl-C is for the campaign
                )
                await self._read(self._process)
                code = await self._process.wait()
                as_told = self._told_to_end and code in {0, -signal.SIGTERM}  # the latter before it was ready
                if code != -signal.SIGKILL and not as_told:
                    self._complain(f"a worker ended by itself, with {code}")
                if self._told_to_end and self.leaving:
                    return
                self._told_to_end = False
        finally:
            self.kill()
            if self._process is not None:
                await self._process.wait()

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def end(self) -> None:
        """SIGTERM: it ends in good order, with 0."""
        self._told_to_end = True
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    @property
    def ready(self) -> bool:
        """Whether it answers, as far as one knows."""
        return self._ready.is_set()

    async def until_ready(self) -> None:
        async with asyncio.timeout(HUNG_SECONDS):
            await self._ready.wait()

    async def ask(self, do: str, **arguments: object) -> Any:
        """Let it do something and return the answer.

        Raises:
            Unknown: it was perhaps done. Bug: it is wrong in any case.
        """
        process, name = self._process, next(self._ids)
        if process is None or process.stdin is None or not self.ready:
            raise Unknown("no worker")
        answer = self._answers[name] = asyncio.get_running_loop().create_future()
        try:
            process.stdin.write(json.dumps({"id": name, "do": do, **arguments}).encode() + b"\n")
            async with asyncio.timeout(HUNG_SECONDS):
                said = await answer
        except TimeoutError as error:
            raise Bug(f"{do} {arguments} hangs") from error
        except OSError as error:
            raise Unknown("the worker is dead") from error
        finally:
            self._answers.pop(name, None)
        if "bug" in said:
            raise Bug(f"{do} {arguments}: {said['bug']}")
        if "error" in said:
            raise Unknown(said["error"])
        return said["ok"]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            try:
                said = json.loads(line)
            except ValueError:  # the last one, torn
                continue
            if "ready" in said:
                self._ready.set()
            elif "log" in said:
                self._complain(said["log"])
            elif "id" in said and said["id"] in self._answers and not self._answers[said["id"]].done():
                self._answers[said["id"]].set_result(said)
        self._ready.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Unknown("the worker was killed"))
