"""Synchronous calls: from any thread, and never a deadlock."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph

from checkpointer import DualWriteSaver, SyncCallInLoop
from storage.memory import MemoryCheckpoints
from tests.checkpointer.test_graphs import State


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def use_everything(saver: DualWriteSaver, thread: str) -> None:
    """Every synchronous method once, and what it should give."""
    stored = empty_checkpoint()
    put = saver.put(config(thread), stored, {"source": "input", "step": 0, "run_id": thread}, {})
    saver.put_writes(put, [("out", thread)], "task")
    found = saver.get_tuple(config(thread))
    assert found is not None
    assert [("task", "out", thread)] == found.pending_writes
    assert [stored["id"]] == [one.checkpoint["id"] for one in saver.list(config(thread), limit=3)]
    assert {"x": {"writes": []}} == saver.get_delta_channel_history(config=put, channels=["x"])
    saver.copy_thread(thread, f"{thread}-copy")
    assert saver.get_tuple(config(f"{thread}-copy")) is not None
    saver.prune([thread])
    saver.delete_for_runs([thread])
    assert saver.get_tuple(config(thread)) is None
    saver.delete_thread(f"{thread}-copy")
    assert [] == list(saver.list(config(f"{thread}-copy")))


async def test_a_sync_call_on_the_savers_own_loop_is_refused(saver: DualWriteSaver) -> None:
    with pytest.raises(SyncCallInLoop, match="aget_tuple"):
        saver.get_tuple(config("t"))
    with pytest.raises(SyncCallInLoop):
        list(saver.list(config("t")))
    with pytest.raises(SyncCallInLoop):
        saver.put(config("t"), empty_checkpoint(), {}, {})


async def test_many_threads_call_at_once(saver: DualWriteSaver) -> None:
    with ThreadPoolExecutor(16) as pool:
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(pool, use_everything, saver, str(uuid4())) for _ in range(32)]
        await asyncio.wait_for(asyncio.gather(*work), 60)


async def test_a_sync_graph_runs_in_a_thread(saver: DualWriteSaver) -> None:
    def node(state: State) -> State:
        return {"seen": ["sync"]}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(checkpointer=saver)
    thread = str(uuid4())

    await asyncio.to_thread(graph.invoke, {"seen": []}, config(thread))

    assert ["sync"] == (await graph.aget_state(config(thread))).values["seen"]


async def test_another_loop_can_use_the_saver(saver: DualWriteSaver) -> None:
    async def elsewhere() -> str:
        await saver.aput(config("t"), empty_checkpoint(), {"source": "input"}, {})
        found = await saver.aget_tuple(config("t"))
        return "" if found is None else found.config.get("configurable", {})["thread_id"]

    assert "t" == await asyncio.to_thread(asyncio.run, elsewhere())


def test_without_any_loop_the_saver_has_one_of_its_own() -> None:
    saver = DualWriteSaver(MemoryCheckpoints())
    use_everything(saver, "t")
    saver.close()


def test_a_forked_child_is_told_to_open_its_own(tmp_path: Path) -> None:
    with DualWriteSaver.from_conn_string(data_dir=tmp_path) as saver:
        use_everything(saver, "before the fork")
        child = os.fork()
        if child == 0:
            try:
                saver.get_tuple(config("t"))
            except RuntimeError as error:
                os._exit(7 if "open another in the child" in str(error) else 1)
            os._exit(2)
        _, status = os.waitpid(child, 0)
        assert 7 == os.waitstatus_to_exitcode(status)
        use_everything(saver, "after the fork")


def test_outside_of_a_loop_both_tiers_open_with_with(tmp_path: Path) -> None:
    with DualWriteSaver.from_conn_string(data_dir=tmp_path) as saver:
        use_everything(saver, "t")
        saver.put(config("kept"), empty_checkpoint(), {"source": "input", "step": 0}, {})
        saver.flush()
        assert saver.evict("kept")
        assert saver.get_tuple(config("kept")) is not None
        found = saver.query("SELECT thread_id, source, step FROM gg_history")
        assert [("kept", "input", 0)] == [tuple(row) for row in found.rows]
        saver.delete_thread("kept")
        assert [] == list(saver.query("SELECT * FROM gg_history").rows)


async def test_with_inside_of_a_loop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SyncCallInLoop), DualWriteSaver.from_conn_string(data_dir=tmp_path):
        pass


def test_a_saver_whose_loop_does_not_run_now_says_so() -> None:
    async def make() -> DualWriteSaver:
        return DualWriteSaver(MemoryCheckpoints())

    loop = asyncio.new_event_loop()
    saver = loop.run_until_complete(make())
    with pytest.raises(RuntimeError, match="does not run"):
        saver.get_tuple(config("t"))
    loop.close()


def test_a_listing_may_be_left_half_read_after_its_saver_was_closed(tmp_path: Path) -> None:
    with DualWriteSaver.from_conn_string(data_dir=tmp_path) as saver:
        for _ in range(3):
            saver.put(config("t"), empty_checkpoint(), {}, {})
        listing = saver.list(config("t"))
        next(listing)
    listing.close()  # pyright: ignore[reportAttributeAccessIssue]  # it is a generator


def test_a_saver_whose_loop_is_over_says_so() -> None:
    async def make() -> DualWriteSaver:
        return DualWriteSaver(MemoryCheckpoints())

    saver = asyncio.run(make())
    with pytest.raises(RuntimeError, match="open the saver again"):
        saver.get_tuple(config("t"))
