"""The benchmarks of runs measure something at a tiny size. No figure is judged."""

from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks import handles, throughput
from benchmarks.prototype import Fenced, Prototype
from benchmarks.run_systems import OURS, PROTOTYPE, SYSTEMS
from benchmarks.three_steps import graph
from storage.embedded import DataDirectory, open_redis

COUNT = {"value": 0}


@pytest.fixture
async def prototype(tmp_path: Path) -> AsyncGenerator[Prototype]:
    async with open_redis(DataDirectory(tmp_path)) as url:
        runs = Prototype(url, graph)
        yield runs
        await runs.redis.aclose()


async def test_a_run_of_the_prototype_ends_once(prototype: Prototype) -> None:
    run_id = uuid4().hex
    await prototype.submit(run_id)

    assert await prototype.advance(run_id)
    assert not await prototype.advance(run_id)

    assert await prototype.redis.lrange("outbox", 0, -1) == [run_id.encode()]
    assert await prototype.redis.hget(f"run:{run_id}", "result") == b"3"


async def test_the_prototype_refuses_writes_with_an_old_token(prototype: Prototype) -> None:
    """Otherwise it would be cheaper than what it stands for."""
    run_id = uuid4().hex
    await prototype.submit(run_id)
    assert await prototype.advance(run_id)

    with pytest.raises(Fenced):
        await prototype.graph.ainvoke(COUNT, {"configurable": {"thread_id": run_id, "token": 1}}, durability="sync")


async def test_the_prototype_goes_on_where_a_run_stopped(prototype: Prototype) -> None:
    run_id = uuid4().hex
    await prototype.submit(run_id)
    await prototype.redis.hset(f"run:{run_id}", "token", "7")
    config = {"configurable": {"thread_id": run_id, "token": "7"}}
    await prototype.graph.ainvoke(COUNT, config, durability="sync", interrupt_after=["b"])

    assert await prototype.advance(run_id)

    assert (await prototype.graph.aget_state(config)).values == {"value": 3}


def test_throughput_gives_a_share_of_the_prototype() -> None:
    rows = throughput.run(quick=True, systems=(OURS, PROTOTYPE), workers=(1,), runs=3)

    assert [row.what for row in rows] == ["1 worker, 3 runs", "1 worker, 3 runs: of the prototype"]
    assert {type(figure) for row in rows for figure in (row.value, *row.peers.values())} <= {float, int}


def test_handles_gives_rows_with_and_without_stores() -> None:
    rows = handles.run(quick=True, runs=2)

    assert [row.what.partition(",")[0].partition(":")[0] for row in rows] == [
        place for place in handles.PLACES for _ in range(4)
    ]
    assert [row for row in rows if isinstance(row.value, str)] == []


def test_the_systems_are_those_that_the_readme_names() -> None:
    text = (Path(throughput.__file__).parent / "README.md").read_text(encoding="utf-8")

    assert [name for name in SYSTEMS if f"| {name} |" not in text] == []
