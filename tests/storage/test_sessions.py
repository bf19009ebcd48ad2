"""Sessions, messages, contexts and named checkpoints, over each storage."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from storage.records import CheckpointQuery
from storage.sessions import StorageFacade
from tests.support.stores import STORAGES

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=STORAGES)
async def storage(request: pytest.FixtureRequest, redis_url: str, clock: Clock) -> AsyncIterator[StorageFacade]:
    """The server is asked for here, so that it runs before the test counts its child processes."""
    async with STORAGES[request.param](request) as opened:
        opened.clock = clock
        yield opened


async def test_a_session_has_what_the_seed_says(storage: StorageFacade, clock: Clock) -> None:
    created = await storage.create_session("s", "u", {"a": 1})
    clock.now += timedelta(seconds=5)
    assert await storage.update_session("s", {"b": 2}, increment_requests=True, add_processing_time=0.5)

    assert created == {
        "session_id": "s",
        "user_id": "u",
        "created_at": "2026-01-02T03:04:05+00:00",
        "last_activity": "2026-01-02T03:04:05+00:00",
        "request_count": 0,
        "error_count": 0,
        "total_processing_time": 0.0,
        "status": "active",
        "metadata": {"a": 1},
    }
    assert await storage.get_session("s") == {
        **created,
        "last_activity": "2026-01-02T03:04:10+00:00",
        "request_count": 1,
        "total_processing_time": 0.5,
        "metadata": {"a": 1, "b": 2},
    }


async def test_a_session_that_is_there_is_not_created_again(storage: StorageFacade) -> None:
    await storage.create_session("s", "u", {"a": 1})
    await storage.update_session("s", increment_requests=True)

    again = await storage.create_session("s", "u", {"a": 2})

    assert (again["request_count"], again["metadata"]) == (1, {"a": 1})
    with pytest.raises(ValueError, match="another user"):
        await storage.create_session("s", "somebody else")


async def test_what_is_not_there_is_not_updated_or_ended(storage: StorageFacade) -> None:
    assert await storage.get_session("s") is None
    assert not await storage.update_session("s", increment_requests=True)
    assert not await storage.end_session("s")
    assert await storage.get_session("s") is None


async def test_a_session_is_ended_with_its_status(storage: StorageFacade) -> None:
    await storage.create_session("s", "u")
    assert await storage.end_session("s")
    assert ((await storage.get_session("s")) or {})["status"] == "completed"
    assert await storage.end_session("s", "failed")
    assert ((await storage.get_session("s")) or {})["status"] == "failed"


@pytest.mark.parametrize("name", ["request_count", "created_at", "session_id"])
async def test_what_is_counted_or_fixed_cannot_be_set(storage: StorageFacade, name: str) -> None:
    await storage.create_session("s", "u")
    with pytest.raises(ValueError, match=name):
        await storage.update_session("s", {name: 1})


async def test_concurrent_updates_of_different_metadata_are_all_kept(storage: StorageFacade) -> None:
    keys: list[Any] = ["a", 1, (1, "b"), "x:y", b"z"]
    await storage.create_session("s", "u", {"a": "old"})
    await asyncio.gather(*(storage.update_session("s", {"metadata": {key: key}}) for key in keys))

    session = await storage.get_session("s")
    assert session is not None
    assert set(session["metadata"]) == set(keys)


async def test_the_history_is_the_newest_messages_in_order(storage: StorageFacade, clock: Clock) -> None:
    for n in range(60):
        clock.now += timedelta(seconds=1)
        assert await storage.add_conversation_message("s", "user", f"m{n}", {"n": n})

    history = await storage.get_conversation_history("s")

    assert [message["content"] for message in history] == [f"m{n}" for n in range(10, 60)]
    assert history[-1] == {
        "role": "user",
        "content": "m59",
        "metadata": {"n": 59},
        "created_at": "2026-01-02T03:05:05+00:00",
    }
    assert [message["content"] for message in await storage.get_conversation_history("s", limit=1)] == ["m59"]
    assert await storage.get_conversation_history("nobody") == []


async def test_agents_talk_apart_from_the_session(storage: StorageFacade) -> None:
    pair = [{"participant_id": "u1", "participant_type": "user"}, {"participant_id": "mc"}]
    key = await storage.create_conversation_session("s", pair, "user_to_mc", {"topic": "x"})
    other = await storage.create_conversation_session("s:u1", pair[1:], "user_to_mc")
    assert key == await storage.create_conversation_session("s", pair, "user_to_mc")
    assert key != other

    async def say(text: str, kind: str = "communication") -> bool:
        return await storage.add_agent_communication_message(
            key, "u1", "user", None, "mc", "mc", "lead", text, message_type=kind, metadata={"t": text}
        )

    assert [await say("a"), await say("b", "result"), await say("c")] == [True] * 3
    assert not await storage.add_agent_communication_message("no such", "a", "b", None, "c", "d", None, "text")

    history = await storage.get_agent_conversation_history(key)
    assert [message["content"] for message in history] == ["a", "b", "c"]
    assert (history[1]["sender_id"], history[1]["recipient_role"], history[1]["message_type"]) == (
        "u1",
        "lead",
        "result",
    )
    chosen = await storage.get_agent_conversation_history(key, limit=1, message_types=["communication"])
    assert [message["content"] for message in chosen] == ["c"]
    assert await storage.get_agent_conversation_history(other) == []
    assert await storage.get_conversation_history("s") == []


async def test_the_context_of_a_session_is_the_one_stored_last(storage: StorageFacade) -> None:
    for n in (1, 2):
        assert await storage.store_task_context("s", {"n": n})

    history = await storage.get_task_context_history("s")

    assert await storage.get_task_context("s") == {"n": 2}
    assert await storage.get_task_context("nobody") is None
    assert (history[-1]["version"], history[-1]["context"]) == (2, {"n": 2})
    if storage.name == "memory":  # Redis alone keeps the newest
        assert [state["context"]["n"] for state in history] == [1, 2]


async def test_the_newest_checkpoint_is_the_one_stored_last(storage: StorageFacade, clock: Clock) -> None:
    for n in (1, 10, 9, 2):
        await storage.store_checkpoint("t", f"c{n}", {"n": n}, {"by": n})
    await storage.put_checkpoint("t", "c10", {"n": "again"})

    assert await storage.get_checkpoint("t") == {
        "thread_id": "t",
        "checkpoint_id": "c10",
        "data": {"n": "again"},
        "metadata": {},
        "created_at": "2026-01-02T03:04:05+00:00",
    }
    assert ((await storage.get_checkpoint("t", "c9")) or {})["metadata"] == {"by": 9}
    assert [each["checkpoint_id"] for each in await storage.list_checkpoints("t")] == ["c10", "c2", "c9", "c1"]
    assert [each["checkpoint_id"] for each in await storage.list_checkpoints("t", limit=2)] == ["c10", "c2"]
    assert await storage.get_checkpoint("t", "c3") is None
    assert await storage.get_checkpoint("nobody") is None


async def test_a_long_list_of_checkpoints_is_read_to_its_end(storage: StorageFacade) -> None:
    for n in range(150):
        await storage.put_checkpoint("t", f"c{n % 75}", {"n": n})

    listed = await storage.list_checkpoints("t", limit=1_000)

    assert [each["data"]["n"] for each in listed] == list(range(149, 74, -1))


async def test_the_same_thread_of_a_langgraph_saver_is_another(storage: StorageFacade) -> None:
    """Deleting one leaves the other, and its ids may be used again."""
    await storage.put_checkpoint("t", "c2", {})
    await storage.checkpoints.delete_thread("t")
    assert await storage.get_checkpoint("t", "c2") is not None

    await storage.delete_checkpoints("t")
    assert await storage.list_checkpoints("t") == []
    await storage.put_checkpoint("t", "c1", {"new": True})
    assert ((await storage.get_checkpoint("t")) or {})["data"] == {"new": True}


async def test_idle_sessions_go_with_all_that_belongs_to_them(storage: StorageFacade, clock: Clock) -> None:
    for session in ("idle", "busy", "talking", "working"):
        await storage.create_session(session, "u")
        await storage.store_task_context(session, {})
        await storage.add_conversation_message(session, "user", "hello")
        await storage.put_checkpoint(session, "c1", {})
        await storage.put_checkpoint(f"thread of {session}", "c1", {}, {"session_id": session})
        await storage.put_writes(f"thread of {session}", "c1", "task", [("a", 1)])
        await storage.put_writes(session, "never stored", "task", [("a", 1)])
    key = await storage.create_conversation_session("idle", [], "agent_to_agent")
    await storage.add_agent_communication_message(key, "a", "agent", None, "b", "agent", None, "text")
    await storage.put_checkpoint("of no session", "c1", {})
    clock.now += timedelta(hours=20)
    await storage.update_session("busy", increment_requests=True)
    await storage.add_conversation_message("talking", "user", "still here")
    await storage.put_checkpoint("thread of working", "c2", {}, {"session_id": "working"})
    clock.now += timedelta(hours=5)

    assert await storage.cleanup_expired_sessions() == 1
    assert await storage.cleanup_expired_sessions() == 0

    assert await storage.get_session("idle") is None
    assert await storage.get_task_context("idle") is None
    assert await storage.get_conversation_history("idle") == []
    assert await storage.get_agent_conversation_history(key) == []
    assert await storage.get_checkpoint("idle") is None
    assert await storage.get_checkpoint("thread of idle") is None
    assert await storage.get_writes("thread of idle", "c1") == []
    assert await storage.get_writes("idle", "never stored") == []
    left = {each.record.key.thread_id async for each in storage.checkpoints.scan(CheckpointQuery())}
    assert not any("idle" in thread for thread in left)
    assert await storage.get_checkpoint("of no session") is not None
    for session in ("busy", "talking", "working"):
        assert await storage.get_session(session) is not None
        assert await storage.get_writes(f"thread of {session}", "c1") == [("task", "a", 1, 0)]
    assert await storage.cleanup_expired_sessions(max_idle_hours=1) == 3


async def test_metrics_count_what_is_there(storage: StorageFacade) -> None:
    for session, thread in zip("abc", count(), strict=False):
        await storage.create_session(session, "u")
        await storage.put_checkpoint(f"t{thread}", "c1", {})
    await storage.end_session("a")
    for _ in range(4):
        await storage.add_conversation_message("b", "user", "text")
    await storage.put_checkpoint("t0", "c1", {})
    await storage.put_checkpoint("t0", "c2", {})
    await storage.put_writes("t0", "c3", "task", [("a", 1)])

    metrics = await storage.get_metrics()

    assert {name: metrics[name] for name in metrics if name.startswith(("total", "active"))} == {
        "total_sessions": 3,
        "active_sessions": 2,
        "total_messages": 4,
        "total_checkpoints": 4,
    }
    assert metrics["storage_backend"] == storage.name


async def test_a_storage_that_works_says_so(storage: StorageFacade) -> None:
    assert await storage.initialize()
    health = await storage.health_check()
    assert (health["status"], health["issues"]) == ("healthy", [])
    assert all(tier["error"] is None for tier in health["tiers"].values())
