"""Callbacks that outlive the process: by name or by URL, at least once, with back-off and dead letters."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from pydantic import SecretStr

from planner.catalog import action
from planner.execution import ExecutionResult, RunStores
from planner.limits import Limits
from planner.runs import RunService
from tests.support.eventually import eventually
from tests.support.run_services import ALONE, LOCAL, memory_stores, new_service, open_service, request_of
from tests.support.running import make_plan
from tests.support.webhooks import Webhooks

BRIEF = Limits(callback_timeout=timedelta(seconds=0.2))
HEARD: list[tuple[str, str]] = []


@action
async def echo(a: Any) -> Any:
    return a


@action
async def ask() -> Any:
    return interrupt("how many?")


@action
async def hold() -> int:
    await asyncio.Event().wait()
    return 0


@action
async def fail() -> int:
    raise ValueError("no")


ACTIONS = (echo, ask, hold, fail)
ECHO = make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}})
FAILS = make_plan({"id": "f", "action": "fail"})
ASKS = make_plan({"id": "q", "action": "ask"})


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.runs.notifier.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("planner.runs.notifier.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr("planner.runs.notifier.LET_OTHERS", 0.02)
    HEARD.clear()


async def heard(result: ExecutionResult) -> None:
    HEARD.append((result.run_id, result.status))


@pytest.fixture
async def stores() -> RunStores:
    return memory_stores()


@pytest.fixture
async def service(stores: RunStores) -> AsyncIterator[RunService]:
    saver, callbacks = InMemorySaver(), {"heard": heard}
    async with (
        open_service(*ACTIONS, stores=stores, saver=saver, callbacks=callbacks, limits=BRIEF) as one,
        asyncio.timeout(20),
    ):
        yield one


@pytest.fixture
async def hooks() -> AsyncIterator[Webhooks]:
    async with Webhooks(lambda run_id, status: HEARD.append((run_id, status))) as server:
        yield server


async def has_heard(number: int = 1) -> None:
    async def look() -> bool:
        return len(HEARD) >= number

    await eventually(look, f"{number} callbacks")


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
async def test_a_callback_by_name_is_told_of_every_end(service: RunService, end: str) -> None:
    plan = {"succeeded": ECHO, "failed": FAILS, "cancelled": make_plan({"id": "h", "action": "hold"})}[end]
    handle = await service.start(request_of(plan), "heard")
    if end == "cancelled":
        handle.cancel()
    await handle.wait()
    await has_heard()

    assert [("r", end)] == HEARD


async def test_a_callback_is_not_told_of_a_question(service: RunService) -> None:
    handle = await service.start(request_of(ASKS), "heard")
    assert "waiting" == (await handle.wait()).status
    await service.notifier.deliver()
    assert [] == HEARD
    await handle.answer(1)
    await has_heard()

    assert [("r", "succeeded")] == HEARD


async def test_what_a_failed_delivery_says_is_cut_and_holds_no_secret() -> None:
    """As far as this process has the secrets of the run."""
    stores = memory_stores()

    def refuse(_: ExecutionResult) -> None:
        raise ValueError(f"401 for swordfish {'x' * 10_000}")

    options: dict[str, Any] = {"callbacks": {"refuse": refuse}, "secrets": lambda *_: SecretStr("swordfish")}
    async with open_service(echo, saver=InMemorySaver(), stores=stores, **options) as service:
        given = {"key": SecretStr("swordfish")}
        await (await service.start(request_of(ECHO, user_inputs=given), "refuse")).wait()

        async def given_up() -> bool:
            return len(await stores.live.dead()) > 0

        await eventually(given_up, "the callback is given up")
        error = (await stores.live.dead())[0].error

    assert error.startswith("ValueError: 401 for <secret key> xxx")
    assert len(error) < 4100


async def test_a_run_without_a_store_keeps_its_named_callback_too() -> None:
    async with open_service(echo, policy=ALONE, callbacks={"heard": heard}) as service:
        assert (await (await service.start(request_of(ECHO), "heard")).wait()).ok
        await has_heard()


async def test_a_callback_of_a_run_that_is_there_already_is_told_as_well(
    service: RunService, stores: RunStores
) -> None:
    """Of one that goes on here, of one that goes on elsewhere, and of one that has ended."""
    handle = await service.start(request_of(ASKS), "heard")
    await handle.wait()
    await service.start(request_of(ASKS), "heard")
    other = new_service(*ACTIONS, stores=stores, saver=service._executor.checkpointer)
    try:
        await other.start(request_of(ASKS), "heard")
        await service.answer("r", 1, identity=LOCAL)
        await has_heard(3)
        await other.start(request_of(ASKS), "heard")
        await has_heard(4)
    finally:
        await other.aclose()

    assert [("r", "succeeded")] * 4 == HEARD


async def test_a_url_is_told_how_the_run_ended(service: RunService, hooks: Webhooks) -> None:
    handle = await service.start(request_of(ECHO), hooks.url("done"))
    await handle.wait()
    await has_heard()

    assert ([("r", "succeeded")], 1) == (HEARD, len(hooks.ids))


async def test_a_callback_that_fails_is_tried_again() -> None:
    tries: list[int] = []

    def heard_late(result: ExecutionResult) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("not yet")
        HEARD.append((result.run_id, result.status))

    async with open_service(echo, callbacks={"late": heard_late}) as service, asyncio.timeout(20):
        await (await service.start(request_of(ECHO), "late")).wait()
        await has_heard()

        assert 3 == len(tries)
        assert [] == await service.log.stores.live.dead()


async def test_a_server_that_fails_hears_again_of_the_same_delivery(service: RunService, stores: RunStores) -> None:
    class Never:
        def random(self) -> float:
            return 0.0 if not HEARD and len(hooks.ids) < 3 else 1.0

    never: Any = Never()
    async with Webhooks(lambda run_id, status: HEARD.append((run_id, status)), never) as hooks:
        await (await service.start(request_of(ECHO), hooks.url("done"))).wait()
        await has_heard()

    assert (3, 1, 2) == (len(hooks.ids), len(set(hooks.ids)), hooks.refused)


async def test_a_callback_that_hangs_is_given_up_and_changes_nothing(
    service: RunService, hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is as it was, the reason can be seen, and when it is replayed it is delivered."""
    hooks.silent = True
    monkeypatch.setattr("planner.runs.notifier.MOST_ATTEMPTS", 1)
    await (await service.start(request_of(ECHO), hooks.url("done"))).wait()
    live = service.log.stores.live

    async def dead() -> Any:
        return await live.dead()

    (call,) = await eventually(dead, "a dead letter")
    assert ("r", hooks.url("done"), 1) == (call.run_id, call.target, call.attempts)
    assert "Timeout" in call.error
    assert ("succeeded", None) == ((record := await service.record("r", LOCAL)).status, record.error_type)
    hooks.silent = False
    assert await live.replay(call.id)
    assert not await live.replay(call.id)
    await has_heard()

    assert ([("r", "succeeded")], [], {call.id}) == (HEARD, await live.dead(), set(hooks.ids))


async def test_a_callback_of_the_catalog_goes_wherever_the_catalog_does(service: RunService) -> None:
    """A worker is given nothing else."""
    told: list[str] = []
    catalog = service.access.executor.catalog
    catalog.add_callback("of the catalog", lambda result: told.append(result.status))
    await (await service.start(request_of(ECHO), "of the catalog")).wait()

    async def done() -> list[str]:
        return told

    assert ["succeeded"] == await eventually(done, "the callback")
    for taken in ("of the catalog", "https://example.org/told"):
        with pytest.raises(ValueError, match="cannot name a callback"):
            catalog.add_callback(taken, heard)


async def test_a_name_that_nobody_has_registered_ends_as_a_dead_letter(
    service: RunService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for it costs no attempt, so that a process without it takes none from one that has it."""
    monkeypatch.setattr("planner.runs.notifier.GIVE_UP", timedelta(0))
    await (await service.start(request_of(ECHO), "nobody")).wait()

    async def dead() -> Any:
        return await service.log.stores.live.dead()

    (call,) = await eventually(dead, "a dead letter")

    assert ("nobody", 0) == (call.target, call.attempts)
    assert "no callback is registered as 'nobody'" in call.error


async def test_a_plan_that_is_not_run_has_no_callback(service: RunService) -> None:
    """It was never a run, so there is none whose end could be told."""
    handle = await service.start(request_of(make_plan({"id": "e", "action": "echo"})), "heard")

    assert "failed" == (await handle.wait()).status
    await service.notifier.deliver()
    assert [] == HEARD
