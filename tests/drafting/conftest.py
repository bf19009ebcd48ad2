"""A server for the real client, and actions to plan with."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import pytest

from planner.catalog import ActionCatalog, Semantic, action
from tests.support.openai_server import OpenAIServer, serve


class Table(TypedDict):
    table: dict[str, Any]
    rows: int


@action
async def load_table(path: str, limit: int = 100) -> Table:
    """Read a table from a file."""
    raise NotImplementedError


@action
async def plot(table: dict[str, Any], kind: Annotated[str, Semantic("chart")] = "line") -> str:
    """Draw a table."""
    raise NotImplementedError


@action(effect="external", roles=["sender"])
async def send(to: str, text: str, files: list[str] | None = None) -> bool:
    """Send a message to somebody."""
    raise NotImplementedError


@pytest.fixture
def catalog() -> ActionCatalog:
    return ActionCatalog([load_table, plot, send])


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with serve() as running:
        yield running
