"""What became of a run that has ended, for whoever follows it, also when its checkpoints cannot be read just then."""

from collections.abc import Callable

import pytest

from planner.catalog import action
from planner.errors import LeaseLost, RunHeld, RunNotRecorded
from planner.execution import ExecutionResult, RunRequest
from storage.errors import StorageUnavailable
from tests.support.run_services import open_service, request_of
from tests.support.running import make_plan

PLAN = make_plan({"id": "s", "action": "seven"}, outputs={"s": "${s}"})
DOWN = StorageUnavailable("redis does not answer")


@action
async def seven() -> int:
    return 7


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(lambda: DOWN, id="checkpoints"),
        pytest.param(lambda: RunNotRecorded("r", DOWN), id="control"),
        pytest.param(lambda: RunHeld("r", "somebody", 1.0), id="begun anew"),
    ],
)
async def test_then_its_record_says_it(error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_service(seven) as service:
        await service.execute(request_of(PLAN))

        async def refuse(request: RunRequest) -> ExecutionResult:
            raise error()

        monkeypatch.setattr(service.access.executor, "execute", refuse)
        result = await service.access.result("r")

    assert (result.status, result.outputs) == ("succeeded", {"s": 7})


async def test_a_life_of_it_that_this_process_had_lost_is_let_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_service(seven) as service:
        await service.execute(request_of(PLAN))
        execute, joined = service.access.executor.execute, list[str]()

        async def join_first(request: RunRequest) -> ExecutionResult:
            joined.append(request.context.run_id)
            if len(joined) == 1:
                raise LeaseLost(request.context.run_id)
            return await execute(request)

        monkeypatch.setattr(service.access.executor, "execute", join_first)
        result = await service.access.result("r")

    assert (result.status, result.outputs, joined) == ("succeeded", {"s": 7}, ["r", "r"])
