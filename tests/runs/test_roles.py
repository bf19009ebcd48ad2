"""A handle answers with the roles of whoever asked for it, not with those that the same person had before."""

import asyncio

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import Approval, action
from planner.context import RequestIdentity
from planner.errors import NotEntitled
from tests.support.run_services import open_service, request_of
from tests.support.running import make_plan


@action(approval=Approval(roles=("boss",)))
async def pay() -> int:
    return 1


async def test_a_promotion_counts_and_so_does_its_end() -> None:
    plain = RequestIdentity()
    boss = RequestIdentity(roles=("boss",))
    async with open_service(pay, saver=InMemorySaver()) as service, asyncio.timeout(20):
        mine = await service.start(request_of(make_plan({"id": "p", "action": "pay"})))
        await mine.wait()
        with pytest.raises(NotEntitled):
            await mine.answer({"approve": True})
        as_boss = await service.get("r", boss)
        again = await service.get("r", plain)

        assert again is mine
        with pytest.raises(NotEntitled):
            await again.answer({"approve": True})
        await as_boss.answer({"approve": True})
        assert (await mine.wait()).ok
