"""The clauses that LangGraph's main branch adds about delta channels (checkpointer.md, section 2), and real graphs."""

from typing import Annotated, Any, TypedDict
from uuid import uuid4

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.graph import START, StateGraph

from checkpointer import DualWriteSaver


class Chain:
    """Checkpoints one after the other, with writes on each."""

    def __init__(self, saver: DualWriteSaver) -> None:
        self.saver = saver
        self.config: Any = {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ""}}
        self.length = 0

    async def add(self, values: dict[str, Any] | None = None, writes: list[tuple[str, Any]] | None = None) -> None:
        self.length += 1
        stored = empty_checkpoint()
        stored["id"] = str(uuid6(clock_seq=self.length))
        stored["channel_values"] = values or {}
        stored["channel_versions"] = dict.fromkeys(("d", "e"), str(self.length))
        versions: Any = dict.fromkeys(values or {}, str(self.length))
        self.config = await self.saver.aput(self.config, stored, {"source": "loop", "step": self.length}, versions)
        if writes:
            await self.saver.aput_writes(self.config, writes, f"task-{self.length}")

    async def history(self, *channels: str) -> Any:
        found = await self.saver.aget_delta_channel_history(config=self.config, channels=channels)
        return {
            name: ([value for _, _, value in entry["writes"]], entry.get("seed", "no seed"))
            for name, entry in found.items()
        }


@pytest.fixture
def chain(saver: DualWriteSaver) -> Chain:
    return Chain(saver)


async def test_writes_come_oldest_first(chain: Chain) -> None:
    await chain.add({"d": _DeltaSnapshot(["s"])})
    await chain.add(writes=[("d", 1), ("d", 2)])
    await chain.add(writes=[("d", 3)])
    await chain.add()

    assert {"d": ([1, 2, 3], _DeltaSnapshot(["s"]))} == await chain.history("d")


async def test_the_seed_is_the_nearest_snapshot(chain: Chain) -> None:
    await chain.add({"d": _DeltaSnapshot(["old"])}, [("d", 0)])
    await chain.add({"d": _DeltaSnapshot(["new"])})
    await chain.add(writes=[("d", 1)])
    await chain.add()

    assert {"d": ([1], _DeltaSnapshot(["new"]))} == await chain.history("d")


async def test_the_targets_own_writes_are_left_out(chain: Chain) -> None:
    await chain.add({"d": _DeltaSnapshot([])})
    await chain.add(writes=[("d", "its own")])

    assert {"d": ([], _DeltaSnapshot([]))} == await chain.history("d")


async def test_each_channel_ends_at_its_own_snapshot(chain: Chain) -> None:
    await chain.add({"d": _DeltaSnapshot(["d"])}, [("d", 1), ("e", 2)])
    await chain.add({"e": _DeltaSnapshot(["e"])}, [("d", 3), ("e", 4)])
    await chain.add()

    assert {"d": ([1, 3], _DeltaSnapshot(["d"])), "e": ([4], _DeltaSnapshot(["e"]))} == await chain.history("d", "e")


async def test_no_channels_no_answer(chain: Chain) -> None:
    await chain.add(writes=[("d", 1)])

    assert {} == await chain.history()


async def test_without_a_snapshot_the_walk_goes_to_the_root(chain: Chain) -> None:
    await chain.add(writes=[("d", 1)])
    await chain.add(writes=[("d", 2)])
    await chain.add()

    assert {"d": ([1, 2], "no seed"), "e": ([], "no seed")} == await chain.history("d", "e")


async def test_a_plain_value_from_before_the_migration_is_a_seed(chain: Chain) -> None:
    await chain.add({"d": ["plain"]}, [("d", 1)])
    await chain.add({}, [("d", 2)])
    await chain.add()

    assert {"d": ([1, 2], ["plain"])} == await chain.history("d")


async def test_writes_stored_at_the_seed_itself_are_replayed(chain: Chain) -> None:
    await chain.add(writes=[("d", "before")])
    await chain.add({"d": _DeltaSnapshot(["s"])}, [("d", "at the seed")])
    await chain.add()

    assert {"d": (["at the seed"], _DeltaSnapshot(["s"]))} == await chain.history("d")


async def test_only_ancestors_count_not_other_forks(chain: Chain) -> None:
    await chain.add({"d": _DeltaSnapshot([])})
    root = chain.config
    await chain.add(writes=[("d", "fork")])
    chain.config = root
    await chain.add(writes=[("d", "mine")])
    await chain.add()

    assert {"d": (["mine"], _DeltaSnapshot([]))} == await chain.history("d")


def _extend(current: Any, writes: Any) -> list[int]:
    return [*(current or []), *(number for several in writes for number in several)]


class Counted(TypedDict):
    numbers: Annotated[list[int], DeltaChannel(_extend, snapshot_frequency=7)]


async def test_a_delta_channel_survives_pruning_and_reopening(saver: DualWriteSaver) -> None:
    async def count(state: Counted) -> Counted:
        return {"numbers": [len(state["numbers"])]}

    graph = StateGraph(Counted).add_node("count", count).add_edge(START, "count").compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": str(uuid4())}}
    for _ in range(10):
        await graph.ainvoke({"numbers": [-1]}, config)
    before = (await graph.aget_state(config)).values["numbers"]

    await saver.aprune([config["configurable"]["thread_id"]])

    assert 20 == len(before)
    assert before == (await graph.aget_state(config)).values["numbers"]
    await graph.ainvoke({"numbers": [-2]}, config)
    assert [*before, -2, 21] == (await graph.aget_state(config)).values["numbers"]
