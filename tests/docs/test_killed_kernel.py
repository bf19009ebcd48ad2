"""A run that is started in a notebook whose kernel is killed, and found again by the kernel of another notebook."""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from tests.support.command_line import own_environment

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "03_background_runs.ipynb"
STARTS = "execute_background("
"""Stands in the cell that starts the first run; those before it define the actions and open the planner."""
UNTIL_IN_FLIGHT = """
async for event in handle.events():
    if event.step_id == "address" and event.phase == "step_success":
        break
print(diary.read_text(), end="")
"""
FIND = """
handle = await planner.get_run("gift-for-ada")
seen = await watch(handle)
print(seen.status, [question.step_id for question in seen.interrupts])
"""
ANSWER = """
await handle.answer(True)
result = await watch(handle)
print(result.status, result.outputs)
print(diary.read_text(), end="")
await planner.aclose()
"""


def first_cells() -> tuple[Sequence[str], str]:
    """The code that opens the planner, and the cell that starts the first run."""
    code = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    starts = next(number for number, source in enumerate(code) if STARTS in source)
    return code[:starts], code[starts]


class Kernel:
    """A notebook that is open, and the kernel behind it."""

    def __init__(self, client: NotebookClient) -> None:
        self._client = client

    async def run(self, *sources: str) -> str:
        """Execute code in cells of their own, and return what the last of them printed."""
        printed = ""
        for source in sources:
            cell = new_code_cell(source)
            self._client.nb.cells.append(cell)
            await self._client.async_execute_cell(cell, len(self._client.nb.cells) - 1)
            printed = "".join(output["text"] for output in cell.outputs if output.output_type == "stream")
        return printed

    async def kill(self) -> None:
        """End the kernel as `kill -9` does."""
        os.kill(int(await self.run("import os\nprint(os.getpid())")), signal.SIGKILL)


@asynccontextmanager
async def opened(folder: Path, temporary: str) -> AsyncIterator[Kernel]:
    client = NotebookClient(new_notebook(), timeout=60, resources={"metadata": {"path": str(folder)}})
    environment = {
        **own_environment(),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": temporary,
        "GOALGRAPH_RUNS__LEASE": "1",
    }
    async with client.async_setup_kernel(env=environment):
        yield Kernel(client)


def processes_of(folder: str) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if folder in " ".join(one.info["cmdline"] or ())]


@pytest.mark.timeout(120)
async def test_a_run_outlives_the_kernel_that_started_it(tmp_path: Path) -> None:
    """The frame is bought once; only the photos, which were being developed when the kernel died, are begun again."""
    opening, start = first_cells()
    with TemporaryDirectory(prefix="gg-") as temporary:  # pytest's own folders are too deep for a socket's path
        async with opened(tmp_path, temporary) as first:
            before = await first.run(*opening, start, UNTIL_IN_FLIGHT)
            await first.kill()
        async with opened(tmp_path, temporary) as second:
            found = await second.run(*opening, FIND)
            ended = await second.run(ANSWER)
        _, left = psutil.wait_procs(processes_of(temporary) + processes_of(str(tmp_path)), timeout=10)

    assert sorted(before.splitlines()) == ["bought a small frame", "developing 8 photos"]
    assert found.splitlines() == ["waiting ['parcel']"]
    outcome, *done = ended.splitlines()
    assert outcome.startswith("succeeded {'result': '8 photos in a small frame are on their way")
    assert sorted(done) == [
        "bought a small frame",
        "developing 8 photos",
        "developing 8 photos",
        "sent a parcel to 12 Harbour Street",
    ]
    assert left == []
