"""What became of a run that has ended, for whoever follows it, also when its checkpoints cannot be read just then."""

from collections.abc import Callable

import pytest

from planner.catalog import action
from planner.errors import LeaseLost, RunNotRecorded
from planner.execution import ExecutionResult, RunRecord, RunRequest
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
        pytest.param(lambda: LeaseLost("r"), id="lost"),
    ],
)
async def test_then_its_record_says_it(error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_service(seven) as service:
        await service.execute(request_of(PLAN))

        async def refuse(request: RunRequest, record: RunRecord) -> ExecutionResult:
            raise error()

        monkeypatch.setattr(service.access.executor, "recall", refuse)
        result = await service.access.result("r")

    assert (result.status, result.outputs) == ("succeeded", {"s": 7})
