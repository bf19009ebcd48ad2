"""Taking from an asynchronous iterator some at a time."""

from collections.abc import AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def pages(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """Yield lists of `size` items, the last one shorter, none of them empty."""
    page: list[T] = []
    async for item in items:
        page.append(item)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
