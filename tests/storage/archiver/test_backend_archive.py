"""A backend that has the seed's six `append_*` methods serves as the archive."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.archiver import Archiver
from storage.backend_archive import PermanentBackendArchive
from storage.errors import ArchiveUnavailable
from storage.records import (
    Batch,
    BlobRecord,
    Change,
    CheckpointKey,
    CheckpointRecord,
    Entry,
    Kind,
    Tombstone,
    Value,
    WriteRecord,
)
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.records import RedisRecords
from storage.serde import ValueCodec, strict_serializer
from tests.support.archiving import BRISK, NOW, until, waiting

CODEC = ValueCodec(strict_serializer())


class Backend:
    """Written to the original interface."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.answer: object = True

    async def _note(self, *call: object) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer:
            self.calls.append(call)
        return bool(self.answer)

    async def append_session_event(self, session_id, user_id, event_type, payload, created_at=None):
        return await self._note("session_event", session_id, user_id, event_type, payload, created_at)

    async def append_conversation_message(self, session_id, role, content, metadata=None, created_at=None):
        return await self._note("message", session_id, role, content, metadata, created_at)

    async def append_checkpoint(self, thread_id, checkpoint_id, checkpoint_data, metadata=None, created_at=None):
        return await self._note("checkpoint", thread_id, checkpoint_id, checkpoint_data, metadata, created_at)

    async def append_checkpoint_writes(self, thread_id, checkpoint_id, task_id, writes_data, created_at=None):
        return await self._note("writes", thread_id, checkpoint_id, task_id, writes_data, created_at)

    async def append_conversation_session(self, session_key, session_data, created_at=None):
        return await self._note("conversation", session_key, session_data, created_at)

    async def append_task_context_snapshot(self, session_id, context_data, created_at=None):
        return await self._note("context", session_id, context_data, created_at)

    async def initialize(self):
        return await self._note("initialize")

    async def close(self):
        pass


def entry(kind: Kind, seq: int = 1, columns: dict[str, str] | None = None, **fields: object) -> tuple[int, Entry]:
    values = {name: CODEC.dump(value) for name, value in fields.items()}
    return seq, Entry(
        kind=kind, owner="owner", seq=seq, at=NOW, fields=values, columns=columns or {}, counters={"count": 2.0}
    )


async def test_records_become_the_appends_that_the_interface_has() -> None:
    backend = Backend()
    await PermanentBackendArchive(backend).insert(
        Batch(
            entries=[
                entry("session", 1, {"user": "ada", "status": "active"}, metadata={"a": 1}),
                entry("session", 2, {"user": "ada", "status": "completed"}),
                entry("message", 1, {"role": "user"}, content="hello", metadata={"x": 1}),
                entry("context", 1, context={"step": 1}),
                entry("conversation", 1, {"session": "s"}, participants=[]),
                entry("checkpoint", 1, {"id": "1"}),
                entry("run", 1, {"user": "ada"}),
            ],
            tombstones=[Tombstone("session", "owner", 7, NOW)],
        )
    )
    facts = {"user": "ada", "status": "active", "count": 2.0}
    assert [
        ("initialize",),
        ("session_event", "owner", "ada", "create", {"metadata": {"a": 1}, **facts}, NOW),
        ("session_event", "owner", "ada", "end", {**facts, "status": "completed"}, NOW),
        ("message", "owner", "user", "hello", {"metadata": {"x": 1}, "count": 2.0}, NOW),
        ("context", "owner", {"step": 1}, NOW),
        ("conversation", "owner", {"participants": [], "session": "s", "count": 2.0}, NOW),
        ("session_event", "owner", "ada", "run", {"user": "ada", "count": 2.0}, NOW),
        ("session_event", "owner", "", "session_deleted", {}, NOW),
    ] == backend.calls


async def test_checkpoints_bring_their_values_and_writes_come_before_them() -> None:
    backend = Backend()
    key = CheckpointKey("thread", "space", "1")
    version = 5000 << 20
    record = CheckpointRecord(
        key=key, parent_id=None, body=CODEC.dump({"v": 4}), metadata=CODEC.dump({"step": 1}), refs={"a": "1", "b": "9"}
    )
    blobs = [BlobRecord(channel=name, version="1", value=CODEC.dump(name)) for name in ("a", "orphan")]
    writes = [
        WriteRecord(task_id="task", idx=idx, task_path="", channel="a", value=Value("secret+aes", b"\x00"))
        for idx in (1, 0)
    ]
    await PermanentBackendArchive(backend).insert(
        Batch(
            blobs=[(version, "thread", "space", blob) for blob in blobs],
            writes=[(version, key, write) for write in writes],
            checkpoints=[(version, record)],
            removed=[(version, key)],
        )
    )
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=5)
    secret = {"task_path": "", "channel": "a", "value": {"type": "secret+aes", "base64": "AA=="}}
    data = {
        "checkpoint_ns": "space",
        "parent_id": None,
        "checkpoint": {"v": 4},
        "refs": {"a": "1", "b": "9"},
        "values": {"a": "a"},
    }
    shared = {"checkpoint_ns": "space", "shared_values": [{"channel": "orphan", "version": "1", "value": "orphan"}]}
    gone = {"checkpoint_ns": "space", "checkpoint_id": "1"}
    written = {"checkpoint_ns": "space", "writes": [{"idx": 0, **secret}, {"idx": 1, **secret}]}
    assert [
        ("writes", "thread", "1", "task", written, at),
        ("checkpoint", "thread", "1", data, {"step": 1}, at),
        ("checkpoint", "thread", "", shared, None, None),
        ("session_event", "thread", "", "checkpoint_deleted", gone, at),
    ] == backend.calls[1:]


@pytest.mark.parametrize("answer", [False, RuntimeError("disk full")])
async def test_an_append_that_failed_is_tried_again_until_it_is_done(client: RedisClient, answer: object) -> None:
    backend = Backend()
    archive = PermanentBackendArchive(backend)

    async def opened() -> PermanentBackendArchive:
        return archive

    await RedisRecords(client, outbox_limit=1_000_000).append(
        Change(kind="message", owner="s", at=NOW, fields={"content": CODEC.dump("hi")}, columns={"role": "user"})
    )
    key = CheckpointKey("thread", "", "1")
    record = CheckpointRecord(key=key, parent_id=None, body=CODEC.dump(1), metadata=CODEC.dump({}))
    await RedisCheckpoints(client, outbox_limit=1_000_000).put(record, [])
    backend.answer = answer
    async with Archiver(client, opened, BRISK) as archiver:
        await until(archiver, lambda: archiver.metrics().failures > 1)
        assert "Backend.initialize" in (archiver.metrics().error or "")
        backend.answer = True
        await archiver.flush()

    assert [("initialize",)] == backend.calls[:1]
    assert {"message", "checkpoint"} == {call[0] for call in backend.calls[1:]}
    assert await waiting(client) == 0


async def test_the_answer_of_an_append_counts() -> None:
    backend = Backend()
    archive = PermanentBackendArchive(backend)
    await archive.insert(Batch())
    backend.answer = False
    with pytest.raises(ArchiveUnavailable, match=r"Backend\.append_conversation_message returned False"):
        await archive.insert(Batch(entries=[entry("message", content="x")]))
