"""What LangGraph relies on and its suite does not ask (checkpointer.md, section 2, "Beyond the suite")."""

import asyncio
import copy
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from checkpointer import DualWriteSaver
from checkpointer.saver import FENCE
from storage.errors import Fenced

META: CheckpointMetadata = {"source": "loop", "step": 1, "parents": {}}


def at(thread: object, checkpoint_id: Any = None, **more: Any) -> Any:
    named = {} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **named, **more}}


def checkpoint(**values: Any) -> Checkpoint:
    new = empty_checkpoint()
    new["channel_values"] = values
    new["channel_versions"] = {name: f"1.{uuid4()}" for name in values}
    return new


async def put(saver: DualWriteSaver, config: Any, stored: Checkpoint) -> Any:
    return await saver.aput(config, stored, META, stored["channel_versions"])


async def read(saver: DualWriteSaver, config: Any) -> CheckpointTuple:
    found = await saver.aget_tuple(config)
    assert found is not None
    return found


async def test_the_first_of_two_regular_writes_stays(saver: DualWriteSaver) -> None:
    config = await put(saver, at("t"), checkpoint())
    await saver.aput_writes(config, [("out", 1)], "task")
    await saver.aput_writes(config, [("out", 2)], "task")

    assert [("task", "out", 1)] == (await read(saver, config)).pending_writes


async def test_the_last_of_two_special_writes_stays_also_beside_regular_ones(saver: DualWriteSaver) -> None:
    config = await put(saver, at("t"), checkpoint())
    await saver.aput_writes(config, [("out", 1), ("__resume__", "a")], "task")
    await saver.aput_writes(config, [("out", 2), ("__resume__", "b")], "task")

    assert [("task", "__resume__", "b"), ("task", "out", 1)] == (await read(saver, config)).pending_writes


async def test_writes_come_back_in_the_order_of_task_paths(saver: DualWriteSaver) -> None:
    config = await put(saver, at("t"), checkpoint())
    await saver.aput_writes(config, [("out", "late"), ("more", "later")], "a", "~pull, b")
    await saver.aput_writes(config, [("out", "early")], "z", "~pull, a")

    values = [value for _, _, value in (await read(saver, config)).pending_writes or ()]
    assert ["early", "late", "later"] == values


async def test_writes_may_come_before_their_checkpoint(saver: DualWriteSaver) -> None:
    stored = checkpoint(x=1)
    await saver.aput_writes(at("t", stored["id"]), [("out", 1)], "task")
    assert await saver.aget_tuple(at("t")) is None

    await put(saver, at("t"), stored)

    assert [("task", "out", 1)] == (await read(saver, at("t"))).pending_writes


async def test_a_consumed_channel_reads_as_absent(saver: DualWriteSaver) -> None:
    first = checkpoint(gone=["x"], stays=["y"])
    config = await put(saver, at("t"), first)
    second = checkpoint(stays=["y"])
    second["channel_versions"] = {"gone": "2.gone", "stays": first["channel_versions"]["stays"]}

    await saver.aput(config, second, META, {"gone": "2.gone"})

    assert {"stays": ["y"]} == (await read(saver, at("t"))).checkpoint["channel_values"]
    assert {"gone": ["x"], "stays": ["y"]} == (await read(saver, config)).checkpoint["channel_values"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"\x00\xff",
        {1, 2},
        datetime(2026, 11, 20, 12, tzinfo=UTC),
        {1: "a", 2: "b"},
        "with \x00 inside",
        UUID(int=7),
        "x" * 5000,
        float("inf"),
        2**62,
        [],
        {},
        "",
    ],
    ids=repr,
)
async def test_a_value_comes_back_as_it_was(saver: DualWriteSaver, value: object) -> None:
    config = await put(saver, at("t"), checkpoint(x=value))
    await saver.aput_writes(config, [("x", value)], "task")

    found = await read(saver, config)

    assert {"x": value} == found.checkpoint["channel_values"]
    assert [("task", "x", value)] == found.pending_writes


@pytest.mark.parametrize(
    "thread", ["a:b", "}", "{", "{a}", "a b", "x" * 300, "'\";--%_*?[]\\", "a\x00b", "日本", 7, UUID(int=1)], ids=repr
)
async def test_any_thread_id_is_a_thread_of_its_own(saver: DualWriteSaver, thread: object) -> None:
    await put(saver, at("other"), checkpoint(x="other"))
    config = await put(saver, at(thread), checkpoint(x="mine"))
    await saver.aput_writes(config, [("out", 1)], "task")

    assert {"x": "mine"} == (await read(saver, at(thread))).checkpoint["channel_values"]
    assert 1 == len([one async for one in saver.alist(at(thread))])

    await saver.adelete_thread(thread)  # pyright: ignore[reportArgumentType]  # LangGraph hands on what users give
    assert await saver.aget_tuple(at(thread)) is None
    assert {"x": "other"} == (await read(saver, at("other"))).checkpoint["channel_values"]


async def test_a_thread_is_not_mistaken_for_one_whose_id_begins_alike(saver: DualWriteSaver) -> None:
    for thread in ("t", "t:1", "t\x00", "t1"):
        await put(saver, at(thread), checkpoint(x=thread))

    await saver.adelete_thread("t")

    left = [one.checkpoint["channel_values"]["x"] async for one in saver.alist(None)]
    assert {"t:1", "t\x00", "t1"} == set(left)


async def test_all_threads_are_searched_by_any_metadata(saver: DualWriteSaver) -> None:
    for thread, colour in (("a", "red"), ("b", "blue")):
        stored = checkpoint()
        config: Any = {**at(thread), "metadata": {"colour": colour, "n": 1}}
        await saver.aput(config, stored, META, {})

    async def threads(**wanted: Any) -> set[str]:
        return {one.config.get("configurable", {})["thread_id"] async for one in saver.alist(None, filter=wanted)}

    assert {"b"} == await threads(colour="blue")
    assert {"a", "b"} == await threads(n=1)
    assert {"a", "b"} == await threads(n=1.0)
    assert set() == await threads(n="1")
    assert set() == await threads(colour=["blue"])
    assert {"a", "b"} == await threads(parents={})
    assert set() == await threads(absent=None)
    assert set() == await threads(**{"' OR 1=1 --": "x"})


async def test_the_metadata_of_the_config_become_the_checkpoints(saver: DualWriteSaver) -> None:
    config: Any = {**at("t", run_id="r1", user="u"), "metadata": {"tag": "x"}}
    await saver.aput(config, checkpoint(), META, {})

    metadata = (await read(saver, at("t"))).metadata
    assert metadata is not None
    assert {**META, "run_id": "r1", "user": "u", "tag": "x"} == metadata


async def test_a_thread_that_was_deleted_does_not_come_back_by_a_late_writer(saver: DualWriteSaver) -> None:
    first = await put(saver, at("t"), checkpoint(x=1))
    await saver.adelete_thread("t")

    await saver.aput_writes(first, [("out", 1)], "task")
    late = await put(saver, first, checkpoint(x=2))  # its parent was deleted
    await saver.aput_writes(late, [("out", 1)], "task")
    await put(saver, late, checkpoint(x=3))

    assert await saver.aget_tuple(at("t")) is None
    assert [] == [one async for one in saver.alist(at("t"))]

    await put(saver, at("t"), checkpoint(x="new"))
    assert {"x": "new"} == (await read(saver, at("t"))).checkpoint["channel_values"]


async def test_the_same_id_again_replaces_the_checkpoint(saver: DualWriteSaver) -> None:
    stored = checkpoint(x=1)
    await put(saver, at("t"), stored)
    stored["channel_values"] = {"x": 2}
    await put(saver, at("t"), stored)

    assert [{"x": 2}] == [one.checkpoint["channel_values"] async for one in saver.alist(at("t"))]


async def test_what_is_given_is_stored_even_when_it_changes_right_after(saver: DualWriteSaver) -> None:
    """State travels by reference, so it is serialised before the first await."""
    live = ["before"]
    putting = asyncio.ensure_future(put(saver, at("t"), checkpoint(x=live)))
    asyncio.get_running_loop().call_soon(live.append, "after")  # when `put` has come to its first await
    config = await putting
    assert ["before", "after"] == live

    assert {"x": ["before"]} == (await read(saver, config)).checkpoint["channel_values"]


async def test_an_older_fencing_token_is_refused(saver: DualWriteSaver) -> None:
    config = await put(saver, at("t", **{FENCE: 2}), checkpoint(x=1))
    old = at("t", config["configurable"]["checkpoint_id"], **{FENCE: 1})

    with pytest.raises(Fenced, match="belongs to the writer with token 2; this one has 1"):
        await put(saver, old, checkpoint(x=2))
    with pytest.raises(Fenced):
        await saver.aput_writes(old, [("out", 1)], "task")

    await put(saver, at("t", config["configurable"]["checkpoint_id"], **{FENCE: 3}), checkpoint(x=3))
    assert [3, 1] == [one.checkpoint["channel_values"]["x"] async for one in saver.alist(at("t"))]
    assert FENCE not in ((await read(saver, at("t"))).metadata or {})


async def test_of_two_concurrent_writers_only_the_newer_leaves_a_trace(saver: DualWriteSaver) -> None:
    root = await put(saver, at("t", **{FENCE: 2}), checkpoint(x=0))
    parent = root["configurable"]["checkpoint_id"]

    async def write(token: int) -> bool:
        try:
            for number in range(20):
                await put(saver, at("t", parent, **{FENCE: token}), checkpoint(x=[token, number]))
        except Fenced:
            return False
        return True

    assert [False, True] == await asyncio.gather(write(1), write(2))
    tokens = [one.checkpoint["channel_values"]["x"] async for one in saver.alist(at("t"))]
    assert [[2, number] for number in reversed(range(20))] == tokens[:-1]


async def test_a_shallow_copy_shares_everything_but_its_serializer(saver: DualWriteSaver) -> None:
    encrypting = copy.copy(saver)
    encrypting.serde = EncryptedSerializer.from_pycryptodome_aes(saver.serde, key=b"0123456789abcdef")
    config = await put(encrypting, at("t"), checkpoint(x=["secret"]))

    assert {"x": ["secret"]} == (await read(encrypting, config)).checkpoint["channel_values"]
    found = await saver.store.get("t", "")
    assert found is not None
    assert b"secret" not in repr(found).encode()
    assert await saver.aget_tuple(at("other")) is None


async def test_copies_in_two_forks_never_share_a_version(saver: DualWriteSaver) -> None:
    versions = {saver.get_next_version("1.5", None) for _ in range(100)}

    assert 100 == len(versions)
    assert all(version > saver.get_next_version(None, None) for version in versions)
    assert saver.get_next_version(9, None) < saver.get_next_version("10.1", None)


async def test_12_000_writes_on_one_checkpoint_are_read_and_deleted(saver: DualWriteSaver) -> None:
    config = await put(saver, at("t"), checkpoint())
    for task in range(12):
        await saver.aput_writes(config, [("out", number) for number in range(1000)], f"task-{task:02}")

    assert 12_000 == len((await read(saver, config)).pending_writes or ())

    await saver.adelete_thread("t")
    assert await saver.aget_tuple(config) is None


async def test_ids_of_other_namespaces_are_not_seen(saver: DualWriteSaver) -> None:
    inner: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": f"child:{uuid4()}"}}
    config = await put(saver, inner, checkpoint(x="inner"))

    assert await saver.aget_tuple(at("t", config["configurable"]["checkpoint_id"])) is None
    assert 1 == len([one async for one in saver.alist({"configurable": {"thread_id": "t"}})])
    assert [] == [one async for one in saver.alist(at("t"))]


async def test_listing_can_stop_early_and_goes_on_before_a_checkpoint(saver: DualWriteSaver) -> None:
    config = at("t")
    for number in range(150):
        stored = checkpoint(x=number)
        stored["id"] = str(uuid6(clock_seq=number))
        config = await put(saver, config, stored)

    page = [one async for one in saver.alist(at("t"), limit=70)]
    rest = [one async for one in saver.alist(at("t"), before=page[-1].config)]

    values = [one.checkpoint["channel_values"]["x"] for one in (*page, *rest)]
    assert list(reversed(range(150))) == values
    async for _ in saver.alist(at("t")):
        break
