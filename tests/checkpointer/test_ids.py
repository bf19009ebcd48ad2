"""Ids go on rising where the clock is behind that of whoever wrote the thread before."""

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base import id as ids

from checkpointer.ids import DAY, LAST, sort_after

MINUTE = DAY // 24 // 60


@pytest.fixture(autouse=True)
def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test sets is forgotten after it."""
    monkeypatch.setattr(ids, LAST, None)


def id_at(distance: int) -> str:
    """What a process makes whose clock is ahead by so much."""
    time = ids.uuid6().time + distance
    return str(ids.UUID(int=(time >> 12) << 80 | (time & 0xFFF) << 64, version=6))


def test_ids_sort_after_what_was_read() -> None:
    read = id_at(2 * MINUTE)
    assert empty_checkpoint()["id"] < read
    sort_after(read)

    first, second = empty_checkpoint()["id"], empty_checkpoint()["id"]
    assert read < first < second


@pytest.mark.parametrize("read", ["", "my own id", "018f4d5e-7c1a-7def-8123-456789abcdef"])
def test_ids_that_are_not_langgraphs_change_nothing(read: str) -> None:
    sort_after(read)

    assert empty_checkpoint()["id"] < id_at(MINUTE)


@pytest.mark.parametrize("distance", [-2 * MINUTE, 2 * DAY])
def test_ids_of_the_past_and_of_no_clock_change_nothing(distance: int) -> None:
    sort_after(id_at(distance))

    assert empty_checkpoint()["id"] < id_at(MINUTE)
