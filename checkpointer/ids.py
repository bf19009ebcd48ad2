"""Ids of checkpoints sort by the clock of whoever makes them; a slow one must not put what is newer before."""

from langgraph.checkpoint.base import id as ids

DAY = 24 * 3600 * 10_000_000
"""In the 100 ns by which an id counts: one that is further ahead is not of a clock that is only wrong."""

LAST = "_last_v6_timestamp"
"""What LangGraph's ids rise from; it has no public name."""


def sort_after(checkpoint_id: str) -> None:
    """Let the ids that LangGraph makes in this process from now on sort after that of a checkpoint that was read.

    A run goes on where the clock may be minutes behind that of the process before, and the newest checkpoint of a
    thread is the one with the greatest id. LangGraph lets its own ids rise from the last one that it has made.
    """
    try:
        known = ids.UUID(checkpoint_id)
    except ValueError:
        return  # somebody's own
    last = ids.uuid6().time
    if known.version == 6 and last < known.time < last + DAY:
        setattr(ids, LAST, known.time)
