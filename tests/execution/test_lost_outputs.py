"""Outputs that were too large for a record, and are gone or damaged when a run is resumed."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from planner.catalog import Codecs, action
from planner.execution.blobs import decode
from planner.limits import Limits
from storage import MemoryBlobStore
from storage.blobs import FsspecBlobStore
from storage.errors import CorruptRecord, ForbiddenType
from storage.protocols import BlobStore
from tests.support.running import Runner, make_plan


class _Crash(BaseException):
    """As if the process ended."""


PLAN = make_plan({"id": "m", "action": "make"}, {"id": "c", "action": "count", "inputs": {"text": "${m.result}"}})
TEXT = "x" * 5000


class Interrupted:
    """A run that broke off after its first step had put its output into `blobs`."""

    def __init__(self) -> None:
        self.crash, self.made = True, 0
        self.saver = InMemorySaver()

    async def run(self, blobs: BlobStore) -> object:
        @action
        async def make() -> str:
            self.made += 1
            return TEXT

        @action
        async def count(text: str) -> int:
            if self.crash:
                raise _Crash
            return len(text)

        runner = Runner(make, count, saver=self.saver, limits=Limits(blob_bytes=1000), blobs=blobs)
        return (await runner.run(PLAN)).outputs

    async def start(self, blobs: BlobStore) -> None:
        with pytest.raises(_Crash):
            await self.run(blobs)
        self.crash = False


async def test_a_lost_output_names_its_step_and_the_run_goes_on_with_the_right_store() -> None:
    run, blobs = Interrupted(), MemoryBlobStore()
    await run.start(blobs)

    with pytest.raises(CorruptRecord, match=r"output of step m.*no blob is stored under [0-9a-f]{64}; was the run"):
        await run.run(MemoryBlobStore())
    assert {"result": 5000} == await run.run(blobs)
    assert 1 == run.made


async def test_a_damaged_output_is_never_handed_to_the_next_step(tmp_path: Path) -> None:
    run, blobs = Interrupted(), FsspecBlobStore(tmp_path)
    await run.start(blobs)
    (digest,) = [digest async for digest in blobs.digests()]
    file = tmp_path / digest[:2] / digest[2:]
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"x", b"y", 1))

    with pytest.raises(CorruptRecord, match=r"output of step m.*another digest"):
        await run.run(blobs)
    file.write_bytes(whole)
    assert {"result": 5000} == await run.run(blobs)


@dataclass
class Note:
    text: str


def test_an_output_that_names_a_class_is_refused() -> None:
    """The store vouches for the digest; that the content is plain data is checked where it is read."""
    content = JsonPlusSerializer().dumps_typed([Note("hi")])[1]

    with pytest.raises(ForbiddenType, match=r"output of step m.*Note"):
        decode(content, "", Codecs(), "m")
