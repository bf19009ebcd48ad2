"""LangGraph's own suite for checkpointers, all of it."""

from collections.abc import AsyncGenerator

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from tests.support.open_savers import EXTREMES, Places

CAPABILITIES = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


@pytest.mark.parametrize("kind", list(EXTREMES))
async def test_all_81_tests_of_langgraphs_suite_pass(kind: str, places: Places) -> None:
    @checkpointer_test(name=kind)
    async def factory() -> AsyncGenerator[BaseCheckpointSaver]:
        async with EXTREMES[kind](places) as saver:
            yield saver

    report = await validate(factory)

    assert {name: [] for name in CAPABILITIES} == {name: result.failures for name, result in report.results.items()}
    assert CAPABILITIES == {name: result.tests_passed for name, result in report.results.items()}
