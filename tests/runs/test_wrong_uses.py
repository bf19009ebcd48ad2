"""What a person is told who uses a run the wrong way: each message says what is so, and what to do instead."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import ActionContext, action
from planner.errors import InvalidAnswer, NotWaiting, RunEnded, UnknownQuestion
from tests.support.eventually import eventually
from tests.support.run_services import memory_stores, new_service, open_service, request_of
from tests.support.running import make_plan


@action(approval=True)
async def send() -> str:
    return "sent"


@action
async def choose(ctx: ActionContext) -> int:
    return ctx.ask("how many?", int)


@action
async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


SEND = make_plan({"id": "s", "action": "send"})
TWO = make_plan({"id": "c", "action": "choose"}, {"id": "s", "action": "send"})
HANG = make_plan({"id": "h", "action": "hang"})


@pytest.mark.parametrize("answer", ["yes", {"approved": True}, 1, None], ids=repr)
async def test_an_approval_that_is_none_is_told_what_one_is(answer: Any) -> None:
    async with open_service(send, saver=InMemorySaver()) as service:
        handle = await service.start(request_of(SEND))
        await handle.wait()
        with pytest.raises(InvalidAnswer, match=r'does not fit: an approval is True, False, or \{"approve"'):
            await handle.answer(answer)

        await handle.answer(value=True)
        assert (await handle.wait(end=True)).ok


async def test_a_second_answer_is_told_of_the_first() -> None:
    """Before and after the run has gone on; without an id, and with it."""
    async with open_service(send, choose, saver=InMemorySaver()) as service:
        handle = await service.start(request_of(TWO))
        await eventually(lambda: asks(handle, 2), "two questions")
        approval = next(one.id for one in await handle.questions() if one.step_id == "s")
        await handle.answer(value=False, question=approval)
        with pytest.raises(NotWaiting, match="answered already, and the first answer counts"):
            await handle.answer(value=True, question=approval)

        await handle.wait(end=True)
        with pytest.raises(RunEnded, match=r"\(failed\); it can be retried, or run again"):
            await handle.answer(value=True)


async def test_a_run_that_succeeded_is_not_said_to_be_retried() -> None:
    async with open_service(send, saver=InMemorySaver()) as service:
        handle = await service.start(request_of(SEND))
        await handle.wait()
        await handle.answer(value=True)
        assert (await handle.wait(end=True)).ok
        with pytest.raises(RunEnded, match=r"\(succeeded\); it can be run again"):
            await handle.retry()


async def test_several_questions_are_named_with_their_steps() -> None:
    async with open_service(send, choose, saver=InMemorySaver()) as service:
        handle = await service.start(request_of(TWO))
        await eventually(lambda: asks(handle, 2), "two questions")
        with pytest.raises(UnknownQuestion, match=r"several things, and none was named.*step 'c'.*step 's'"):
            await handle.answer(5)


async def test_what_is_answered_is_not_decided() -> None:
    async with open_service(send, saver=InMemorySaver()) as service:
        handle = await service.start(request_of(SEND))
        await handle.wait()
        with pytest.raises(NotWaiting, match="'s' asks something that is answered, not decided"):
            await handle.decide("s", "succeeded")


async def test_a_handle_of_a_closed_planner_says_that_the_run_goes_on_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However often it is asked, and nothing is logged as an error; the next process has the run."""
    stores, saver = memory_stores(), InMemorySaver()
    async with open_service(hang, stores=stores, saver=saver) as service:
        handle = await service.start(request_of(HANG))
        found = await service.get("r", request_of(HANG).context.identity)
    for one in (handle, handle, found):
        result = await one.wait()
        assert ("running", False) == (result.status, result.ok)
        assert "the planner was closed; the run goes on in another process" in str(result.errors[0].error)

    assert [] == [record for record in caplog.records if record.levelname == "ERROR"]
    async with open_service(hang, stores=stores, saver=saver) as another:
        again = await another.get("r", request_of(HANG).context.identity)
        again.cancel()
        assert "cancelled" == (await again.wait()).status


async def test_a_run_whose_actions_are_not_here_says_so_once_somebody_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An action was renamed between two lives: nothing happens to the run, and the log says which action it needs."""
    stores, saver = memory_stores(), InMemorySaver()
    async with open_service(hang, stores=stores, saver=saver) as service:
        await service.start(request_of(HANG))
    renamed = new_service(send, stores=stores, saver=saver)
    handle = await renamed.get("r", request_of(HANG).context.identity)
    waiting = asyncio.create_task(handle.wait())
    await eventually(lambda: told(caplog, "unknown action 'hang'"), "a word about the action")
    assert "running" == (await handle.refresh()).status
    await renamed.aclose()

    assert "running" == (await waiting).status
    assert caplog.text.count("is only followed") == 1


async def asks(handle: Any, number: int) -> bool:
    return len(await handle.questions()) == number


async def told(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return text in caplog.text
