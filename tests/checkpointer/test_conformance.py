"""LangGraph's own suite for checkpointers, all of it."""

from collections.abc import AsyncGenerator, Collection
from dataclasses import replace

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from tests.support.open_savers import EXTREMES, Places
from tests.support.redis_server import RedisCluster3

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
    await conforms(kind, places)


async def test_they_pass_on_a_cluster_of_three_nodes(places: Places, redis_cluster: RedisCluster3) -> None:
    await conforms("redis", replace(places, redis=redis_cluster.url))


async def test_both_tiers_work_with_a_cluster(places: Places, redis_cluster: RedisCluster3) -> None:
    """Of the suite what moves most; all of it takes a minute."""
    await conforms("dual", replace(places, redis=redis_cluster.url), {"put_writes", "delete_thread", "prune"})


async def conforms(kind: str, places: Places, asked: Collection[str] = tuple(CAPABILITIES)) -> None:
    """Run LangGraph's suite and see that no capability is left out."""

    @checkpointer_test(name=kind)
    async def factory() -> AsyncGenerator[BaseCheckpointSaver]:
        async with EXTREMES[kind](places) as saver:
            yield saver

    report = await validate(factory, capabilities=set(asked))

    assert {name: [] for name in asked} == {name: report.results[name].failures for name in asked}
    assert {name: CAPABILITIES[name] for name in asked} == {name: report.results[name].tests_passed for name in asked}
