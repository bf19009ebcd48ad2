"""Checkpoints as records, where what LangGraph gives is not what it should be."""

from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from checkpointer.codec import to_records, to_writes
from storage.records import Value
from storage.serde import ValueCodec, strict_serializer


@pytest.mark.parametrize(
    ("counters", "reach"),
    [
        (None, 0),
        ({}, 0),
        ({"a": (3, 4), "b": [0, 9]}, 10),
        ({"a": (0, -5)}, 0),
        ({"a": (0, 2**40)}, 2**31 - 1),
        ({"a": 5, "b": "12", "c": (1,), "d": (1, None), "e": (1, "2"), "f": (1, 2, 3), "g": (0, 1)}, 2),
        ("a", 0),
        ([(1, 2)], 0),
    ],
)
def test_the_reach_of_a_checkpoint_is_a_number_that_can_be_stored(counters: object, reach: int) -> None:
    """Whatever metadata hold: the name is LangGraph's, and metadata are the user's."""
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    metadata: Any = {"counters_since_delta_snapshot": counters}
    record, _ = to_records(ValueCodec(strict_serializer()), config, empty_checkpoint(), metadata, {})

    assert reach == record.reach


class CountingCodec(ValueCodec):
    """Counts how often it serialises a list."""

    lists = 0

    def dump(self, value: Any) -> Value:
        self.lists += isinstance(value, list)
        return super().dump(value)


def test_what_is_written_to_two_channels_is_serialised_once() -> None:
    codec, big = CountingCodec(strict_serializer()), [1, 2]

    end, previous, like_it = to_writes(codec, [("__end__", big), ("__previous__", big), ("other", list(big))], "t", "")

    assert end.value is previous.value
    assert like_it.value == end.value
    assert codec.lists == 2

    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"__end__": big, "__previous__": big}
    checkpoint["channel_versions"] = {"__end__": "1", "__previous__": "1"}
    config: Any = {"configurable": {"thread_id": "t"}}
    _, blobs = to_records(codec, config, checkpoint, {}, checkpoint["channel_versions"])

    assert [blob.value for blob in blobs] == [end.value, end.value]
    assert codec.lists == 3
