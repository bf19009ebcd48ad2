"""`python -m tests.chaos`, as a test runs it, and its workers one by one."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from checkpointer import DualWriteSaver
from planner.catalog import ActionCatalog
from tests.chaos.run_checks import RunStory
from tests.chaos.run_plan import Journal, make_catalog
from tests.chaos.run_stories import lines_of, read_story
from tests.chaos.workers import Worker

ROOT = Path(__file__).parents[2]
SECONDS = 100.0


async def chaos(*arguments: str, interrupt_after: bytes | None = None) -> tuple[int, str]:
    """Run it and return its exit code and what it said; send Ctrl-C once a line begins with `interrupt_after`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.chaos", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(SECONDS):
            async for line in process.stdout:
                said += line
                if interrupt_after is not None and line.strip().startswith(interrupt_after):
                    process.send_signal(signal.SIGINT)
                    interrupt_after = None
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return code, said.decode()


class RunWorkers:
    """Processes that advance runs; `journal` has what they did."""

    def __init__(self, redis: str, archive: str, folder: Path) -> None:
        self.journal = Journal(folder)
        self.complaints: list[str] = []
        """What they logged as an error."""
        self._given = {"redis": redis, "archive": archive, "folder": str(folder), "engine": "local"}
        self._keeping: dict[Worker, asyncio.Task[None]] = {}

    async def start(
        self, module: str = "run_worker", *, lease: float = 1.0, fence: bool = True, clock: float = 0.0
    ) -> Worker:
        """Start one, and return when it takes runs up; `forking` is one that comes back whenever it dies."""
        given = json.dumps({**self._given, "lease": lease, "fence": fence})
        arguments = (str(clock), f"tests.chaos.{module}", given)
        worker = Worker(self.complaints.append, "tests.chaos.wrong_clock", lambda: arguments)
        worker.leaving = True
        self._keeping[worker] = asyncio.create_task(worker.run())
        await worker.until_ready()
        return worker

    async def kill(self, worker: Worker) -> None:
        """`kill -9`, and no other one in its place, which could be as quick as those that are there."""
        task = self._keeping.pop(worker)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def aclose(self) -> None:
        """Kill them."""
        for task in self._keeping.values():
            task.cancel()
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)
        self.journal.close()

    async def calls(self, worker: Worker | None = None, *, run: str = "r", after: int = 0) -> list[str]:
        """What was called of a run, in its order, by one worker or by all, from a line of the journal on."""
        lines = [line for line in self.journal.read()[after:] if line["kind"] == "call" and line["run"] == run]
        return [line["name"] for line in lines if worker is None or line["pid"] == worker.pid]

    async def takes(self, run: str = "r") -> list[int]:
        """The processes that were given a run to advance."""
        return [line["pid"] for line in self.journal.read() if line["kind"] == "take" and line["run"] == run]

    async def story(self, saver: DualWriteSaver, run: str = "r") -> RunStory:
        """What is known of a run."""
        return await read_story(saver, run, lines_of(self.journal).get(run, []))

    def catalog(self) -> ActionCatalog:
        """That of the workers."""
        return make_catalog(self.journal)

    async def told(self, run: str = "r") -> list[str]:
        """With which status a run's callback was called."""
        return [line["status"] for line in self.journal.read() if line["kind"] == "told" and line["run"] == run]


@asynccontextmanager
async def run_workers(redis: str, archive: str, folder: Path) -> AsyncIterator[RunWorkers]:
    """Open a place for workers, and kill them in the end."""
    workers = RunWorkers(redis, archive, folder)
    try:
        yield workers
    finally:
        await workers.aclose()
