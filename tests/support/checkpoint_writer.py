"""A process that stores steps until it is killed, and says so of each that is acknowledged.

`python -m tests.support.checkpoint_writer '{"redis": …, "archive": …, "folder": …, "thread": …, "stop": …}'`

It prints `step N` after each acknowledged step. `stop` says where archiving comes to a halt, for which it prints
`stopped`: "before" the first insert, "within" it (after its first table), or "after" it, before it is acknowledged.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from storage.clickhouse import ClickHouseArchive, ClickHouseClient
from storage.records import Batch
from tests.support.steps import open_saver, put_step, write_step

ROOT = Path(__file__).parents[2]
SECONDS = 40.0


async def write(given: dict[str, Any]) -> None:
    stop_archiving(given.get("stop"))
    async with open_saver(given["redis"], given["archive"], data_dir=Path(given["folder"])) as saver:
        for number in count():
            if number == given["most"]:
                say("enough")
                await asyncio.Event().wait()
            await put_step(saver, given["thread"], number, parent=number - 1 if number else None, root=0)
            await write_step(saver, given["thread"], number)
            say(f"step {number}")


def stop_archiving(instant: str | None) -> None:
    """Let the archiver come to a halt for ever at one instant."""
    insert, insert_rows = ClickHouseArchive.insert, ClickHouseClient.insert
    tables: list[str] = []

    async def halt() -> None:
        say("stopped")
        await asyncio.Event().wait()

    async def halting_insert(self: ClickHouseArchive, batch: Batch) -> None:
        if instant == "before":
            await halt()
        await insert(self, batch)
        if instant == "after":
            await halt()

    async def halting_rows(self: ClickHouseClient, table: str, columns: Sequence[str], rows: bytes) -> None:
        if instant == "within" and tables:
            await halt()
        tables.append(table)
        await insert_rows(self, table, columns, rows)

    ClickHouseArchive.insert = halting_insert
    ClickHouseClient.insert = halting_rows


def say(what: str) -> None:
    print(what, flush=True)


# ---------------------------------------------------------------------------------------------- in the test's process


@dataclass
class Writer:
    """The process; `async with writing(…)` ends it."""

    process: asyncio.subprocess.Process
    acknowledged: int = 0
    """Steps 0 to this, without it."""

    async def until(self, wanted: str) -> None:
        """Read what it says up to a line."""
        async with asyncio.timeout(SECONDS):
            while (line := await self._line()) != wanted:
                assert line, f"the writer ended before it said {wanted!r}"

    async def until_step(self, number: int) -> None:
        await self.until(f"step {number}")

    async def kill(self) -> int:
        """`kill -9`; returns how many steps it has acknowledged."""
        if self.process.returncode is None:
            self.process.kill()
        async with asyncio.timeout(SECONDS):
            while await self._line():
                pass
            await self.process.wait()
        return self.acknowledged

    async def _line(self) -> str:
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        if line.startswith("step ") and line.endswith("\n"):
            self.acknowledged = int(line.split()[1]) + 1
        return line.strip()


async def start_writer(
    redis: str | None,
    archive: str | None,
    folder: Path,
    *,
    thread: str = "t",
    stop: str | None = None,
    most: int | None = None,
) -> Writer:
    """Start a writer; kill it in the end."""
    given = json.dumps(
        {"redis": redis, "archive": archive, "folder": str(folder), "thread": thread, "stop": stop, "most": most}
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.checkpoint_writer", given),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,  # it ends when this is closed, so also when the tests are killed
        stdout=asyncio.subprocess.PIPE,
    )
    return Writer(process)


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    asyncio.run(write(json.loads(sys.argv[1])))
