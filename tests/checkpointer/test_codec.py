"""Checkpoints as records, where what LangGraph gives is not what it should be."""

from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from checkpointer.codec import to_records
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
