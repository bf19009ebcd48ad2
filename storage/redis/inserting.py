"""Inserting a batch into the archive although it refuses a row of it."""

from collections.abc import Awaitable, Callable
from typing import Any

from storage.errors import StorageUnavailable
from storage.records import Batch

MOST_REFUSED = 32
"""Rows refused one after the other while none is taken: then it is not the rows."""
Row = tuple[Any, ...]
"""As it stands in a `Batch`."""

PARTS = ("tombstones", "removed", "blobs", "writes", "checkpoints", "entries")
"""Of a batch: deletions first, and a checkpoint last, as the archive itself inserts them."""


async def insert_all(insert: Callable[[Batch], Awaitable[None]], batch: Batch) -> list[tuple[Row, Exception]]:
    """Insert a batch, and halve what is refused until only the rows are left that are to blame; return these.

    A row is to blame when it cannot be encoded (`ValueError`), or when the archive takes others and not this one.

    Raises:
        StorageUnavailable: the archive does not answer.
        Exception: it takes nothing at all, and this is why.
    """
    refused: list[tuple[Row, Exception]] = []
    taken = False
    left = [_flat(batch)]
    while left:
        rows = left.pop()
        try:
            await insert(_batch(rows))
        except StorageUnavailable:
            raise
        except Exception as error:  # whatever it is, it must not stop what has nothing to do with it
            if len(rows) > 1:
                left += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
                continue
            refused.append((rows[0][1], error))
            if not taken and len(refused) >= MOST_REFUSED and not isinstance(error, ValueError):
                raise
        else:
            taken = True
    unproved = [error for _, error in refused if not taken and not isinstance(error, ValueError)]
    if unproved:
        raise unproved[0]
    return refused


def _flat(batch: Batch) -> list[tuple[str, Row]]:
    return [(part, row) for part in PARTS for row in getattr(batch, part)]


def _batch(rows: list[tuple[str, Row]]) -> Batch:
    parts: dict[str, list[Any]] = {part: [row for of, row in rows if of == part] for part in PARTS}
    return Batch(**parts)
