"""The benchmarks of the savers measure something at a tiny size, without the peers' servers. No figure is judged."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import archive, graph, savers
from benchmarks import bytes as sizes
from benchmarks.conversation import Conversation
from benchmarks.rows import Row, Unmeasured
from benchmarks.saver_systems import ALONE, MEMORY, OURS, PEERS, SAVERS, SYNC
from benchmarks.servers import url
from benchmarks.worker import Worker, end_servers
from storage.embedded.server import ask

HOLD = """
import asyncio, sys
from pathlib import Path
from storage.embedded import DataDirectory, open_redis

async def main():
    directory = DataDirectory(Path(sys.argv[1]))
    async with open_redis(directory):
        print(directory.socket(), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
SOME = (OURS, MEMORY, "postgres")
NOWHERE = {"postgres": "not here"}


def assert_measured(rows: Sequence[Row]) -> None:
    """Ours is a number in every row, and so is what needs no server; a peer whose server is not there says so."""
    assert [row for row in rows if isinstance(row.value, str)] == []
    for row in rows:
        for name, figure in row.peers.items():
            assert isinstance(figure, str) == (name in NOWHERE), (row.what, name, figure)
            assert figure in {NOWHERE.get(name, figure), "not installed"}, "which also depends on the extra `bench`"


def test_savers_gives_rows_for_both_halves() -> None:
    rows = savers.run(cells=(("async", 2, 2), ("sync", 2, 2)), quick=True, systems=SOME, places=NOWHERE)

    assert_measured(rows)
    assert len(rows) == 16
    assert {peer for row in rows for peer in row.peers} == set(SOME) - {OURS}


def test_graph_gives_rows_for_each_durability() -> None:
    rows = graph.run(quick=True, nodes=2, systems=(OURS, MEMORY), places=NOWHERE)

    assert_measured(rows)
    assert [row.what for row in rows if not row.what.partition(": ")[2]] == [
        f"2 nodes, {durability}" for durability in ("sync", "async", "exit")
    ]


def test_bytes_gives_rows_for_both_tiers() -> None:
    rows = sizes.run(steps=5, systems=SOME, places=NOWHERE)

    assert_measured(rows)
    assert [row.what.split()[2] for row in rows] == ["the", "hot,", "hot,", "archive,", "of", "archive,"]


def test_archive_gives_rows_for_each_part() -> None:
    rows = archive.run(backlog=(2, 2), writer=(2, 2), evicted=(2, 2), repeats=1)

    assert_measured(rows)
    assert rows[0].what == "archiving 24 rows"
    assert len(rows) == 20


def test_every_saver_can_be_opened_in_both_ways() -> None:
    assert SAVERS.keys() == SYNC.keys() == {OURS, *PEERS}
    assert {ALONE, MEMORY} <= set(PEERS)


async def test_a_saver_that_reads_something_else_is_not_measured() -> None:
    async with SAVERS[MEMORY]({}) as saver:
        talk = Conversation(saver, steps=2)
        for turn in talk.turns():
            talk.parent = await saver.aput(talk.parent, turn.checkpoint, turn.metadata, turn.versions)
        found = await saver.aget_tuple(talk.newest)

        with pytest.raises(Unmeasured, match="lost writes"):
            talk.check(found)
        with pytest.raises(Unmeasured, match="something else"):
            talk.check(None)


def test_a_server_that_is_not_there_is_a_reason() -> None:
    with pytest.raises(Unmeasured, match="not here"):
        url(NOWHERE, "postgres")
    assert url({"postgres": "postgresql://somewhere"}, "postgres") == "postgresql://somewhere"


def test_a_worker_that_is_ended_leaves_no_folder() -> None:
    with Worker() as worker:
        worker.call("graph:measure", graph.NONE, NOWHERE, 2, 1, limit=60)
        assert worker._folder is not None
        folder = Path(worker._folder.name)
        assert folder.is_dir()

    assert not folder.exists()


def test_a_server_that_a_killed_process_left_is_ended(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "data"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        socket = Path(holder.stdout.readline().decode().strip())
        holder.kill()
    assert ask(socket, "PING") == "PONG"

    end_servers(tmp_path)

    assert ask(socket, "PING") is None
