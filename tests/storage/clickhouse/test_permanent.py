"""The seed's way of writing to an archive."""

from datetime import UTC, datetime

import pytest

from storage.clickhouse import ClickHouseArchive, ClickHousePermanentStorage
from storage.errors import ArchiveUnavailable
from storage.records import Kind, Value
from storage.seed_protocols import PermanentStorageBackend
from tests.support.archived import DAY


def encoded(given: object) -> Value:
    return Value("repr", repr(given).encode())


async def test_each_call_stores_one_entry(archive: ClickHouseArchive, owner: str) -> None:
    backend: PermanentStorageBackend = ClickHousePermanentStorage(archive, encoded, clock=lambda: DAY)
    earlier = datetime(2026, 1, 1, tzinfo=UTC)
    assert await backend.initialize()
    for call in (
        backend.append_session_event(owner, "user", "create", {"n": 1}),
        backend.append_session_event(owner, "user", "end", {}, earlier),
        backend.append_conversation_message(owner, "human", "hi", {"m": 1}),
        backend.append_conversation_message(owner, "ai", "ho"),
        backend.append_checkpoint(owner, "c1", {"state": 1}, {"step": 1}),
        backend.append_checkpoint_writes(owner, "c1", "task", [("ch", 1)]),
        backend.append_conversation_session(owner, {"a": 1}),
        backend.append_task_context_snapshot(owner, {"b": 1}),
    ):
        assert await call is True

    async def stored(kind: Kind) -> list[tuple[datetime, dict[str, str], dict[str, str]]]:
        return [
            (each.at, dict(each.columns), {name: value.body.decode() for name, value in each.fields.items()})
            for each in await archive.read(kind, owner)
        ]

    assert [
        (DAY, {"event_type": "create", "user_id": "user"}, {"payload": "{'n': 1}"}),
        (earlier, {"event_type": "end", "user_id": "user"}, {"payload": "{}"}),
    ] == await stored("session")
    assert [
        (DAY, {"role": "human"}, {"content": "'hi'", "metadata": "{'m': 1}"}),
        (DAY, {"role": "ai"}, {"content": "'ho'"}),
    ] == await stored("message")
    assert [
        (DAY, {"checkpoint_id": "c1"}, {"data": "{'state': 1}", "metadata": "{'step': 1}"}),
        (DAY, {"checkpoint_id": "c1", "task_id": "task"}, {"writes": "[('ch', 1)]"}),
    ] == await stored("checkpoint")
    assert [(DAY, {}, {"data": "{'a': 1}"})] == await stored("conversation")
    assert [(DAY, {}, {"data": "{'b': 1}"})] == await stored("context")


async def test_a_failure_is_raised(archive: ClickHouseArchive, owner: str) -> None:
    backend = ClickHousePermanentStorage(archive, encoded)
    with pytest.raises(ValueError, match="no zone"):
        await backend.append_conversation_session(owner, {}, datetime(2026, 1, 1))  # noqa: DTZ001 - refused for that
    await backend.close()
    with pytest.raises(ArchiveUnavailable):
        await backend.append_conversation_session(owner, {})
