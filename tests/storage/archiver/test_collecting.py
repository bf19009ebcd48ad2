"""References become items, items become rows, and what can be acknowledged never has a gap."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from storage.packing import pack, pack_checkpoint, pack_write
from storage.records import CheckpointKey, CheckpointRecord, Value, WriteRecord
from storage.redis.checkpoints import pack_refs
from storage.redis.collecting import Claim, Load

KEY = CheckpointKey("thread", "", "1")
RECORD = CheckpointRecord(key=KEY, parent_id=None, body=Value("text", b"body"), metadata=Value("text", b"{}"))
WRITE = WriteRecord(task_id="task", idx=0, task_path="", channel="out", value=Value("text", b"1"))


def reference(name: str, kind: bytes, checkpoint: bytes = b"1", blobs: bytes = b"") -> tuple[bytes, list[bytes]]:
    fields = [b"k", kind, b"t", b"thread", b"n", b"", b"i", checkpoint]
    return name.encode(), fields + ([b"b", blobs] if blobs else [])


def checkpoint_answer(refs: Mapping[str, str] | None = None, *values: bytes | None) -> list:
    record = replace(RECORD, refs=refs or {})
    return [pack_checkpoint(record), pack_refs(record.refs), list(values), 0]


def test_nothing_is_acknowledged_before_what_came_first() -> None:
    claim = Claim(0, [reference("1-0", b"c"), reference("2-0", b"w"), reference("3-0", b"c")])
    load = Load()
    claim.add([checkpoint_answer()], load)
    assert ["1-0"] == [name for name, _, _ in claim.ready()]
    assert (3 << 20) == load.checkpoints[0][0]  # as new as the newest reference to it

    claim.acknowledged = 1
    claim.add([[[b"task\x000", pack_write(WRITE)], 0]], load)
    assert ["2-0", "3-0"] == [name for name, _, _ in claim.ready()]
    assert [((2 << 20), KEY, WRITE)] == load.writes


def test_blobs_of_all_references_to_a_checkpoint_are_fetched_once() -> None:
    fields = [pack([b"a\x001", b"b\x001"]), pack([b"b\x001", b"c\x001"])]
    claim = Claim(0, [reference("1-0", b"c", blobs=fields[0]), reference("2-0", b"c", blobs=fields[1])])
    (item,) = claim.unfetched
    assert [b"a\x001", b"b\x001", b"c\x001"] == list(item.fields)


def test_a_blob_that_no_longer_counts_is_not_missed() -> None:
    """The checkpoint was put again, with another version of the channel."""
    claim = Claim(0, [reference("1-0", b"c", blobs=pack([b"a\x001"]))])
    load = Load()
    claim.add([checkpoint_answer({"a": "2"}, None)], load)
    assert [] == load.missing
    assert {"a": "2"} == load.checkpoints[0][1].refs


def test_a_blob_that_a_checkpoint_needs_is_missed_by_name() -> None:
    claim = Claim(0, [reference("1-0", b"c", blobs=pack([b"a\x001"]))])
    load = Load()
    claim.add([checkpoint_answer({"a": "1"}, None)], load)
    assert ["thread//1/a"] == load.missing


@pytest.mark.parametrize(
    "answer",
    [
        [b"junk", b"", [], 0],
        [pack_checkpoint(RECORD), b"\0\0\0\x09", [], 0],
        [pack([b"1", b"", b"t", b"", b"t", b"", b"", b"reach", b"0"]), b"", [], 0],
        [pack([b"1", b"", b"t", b"", b"t", b"", pack([b"odd"]), b"0", b"0"]), b"", [], 0],
        [pack([b"0", b"another format"]), b"", [], 0],
    ],
)
def test_whatever_cannot_be_read_is_an_error_of_its_item(answer: list) -> None:
    claim = Claim(0, [reference("1-0", b"c"), reference("2-0", b"c", b"2")])
    load = Load()
    claim.add([answer, checkpoint_answer()], load)
    errors = [error for _, _, error in claim.ready()]
    assert errors[0] is not None
    assert "thread//1" in str(errors[0])
    assert errors[1] is None
    assert ["2"] == [record.key.checkpoint_id for _, record in load.checkpoints]


def test_of_a_hash_with_one_bad_write_the_others_are_archived() -> None:
    claim = Claim(0, [reference("1-0", b"w")])
    load = Load()
    claim.add([[[b"task\x000", b"junk", b"task\x001", pack_write(WRITE), b"task\x00one", b""], 0]], load)
    assert [1] == [write.idx for _, _, write in load.writes]
    ((_, _, error),) = claim.ready()
    assert error is not None


def test_a_blob_that_cannot_be_read_keeps_its_checkpoint_out() -> None:
    """It would be a checkpoint that is not whole."""
    claim = Claim(0, [reference("1-0", b"c", blobs=pack([b"a\x001", b"b\x001"]))])
    load = Load()
    claim.add([checkpoint_answer({"a": "1", "b": "1"}, b"no type", b"text\0value")], load)
    assert [] == load.checkpoints
    assert ["b"] == [blob.channel for _, _, _, blob in load.blobs]
