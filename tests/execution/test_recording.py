"""What the record of a run must hold, and must not: what it takes to know the run again, its plan, and no secret."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from planner.catalog import ActionCatalog, action
from planner.context import RequestIdentity, RunContext
from planner.errors import RunConflict, SecretInPlan
from planner.events import ExecutionEvent
from planner.execution import ExecutionResult, PlanExecutor, RunRecord, RunRequest, Runs, RunStores
from planner.execution.run_fields import callback_failed, event_fields
from planner.execution.run_log import RunLog
from planner.execution.secrets import secrets_in
from planner.plan import CandidatePlan
from storage.memory import MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.records import Change, Value
from tests.support.running import make_plan

LOCAL = RequestIdentity()
CALLED: list[int] = []


class Odd(BaseException):
    """What no action should raise."""


@action
async def add(a: int) -> int:
    CALLED.append(a)
    return a + 1


@action
async def sign(key: SecretStr, a: int) -> int:
    return a + len(key.get_secret_value())


@action
async def break_off(key: SecretStr) -> int:
    raise Odd(f"401 for {key.get_secret_value()} " + "x" * 10_000)


ADD: dict[str, Any] = {"id": "s", "action": "add", "inputs": {"a": "${user.n}"}}
TWO = make_plan(ADD, {"id": "t", "action": "add", "inputs": {"a": "${s.result}"}}, outputs={"sum": "${t.result}"})
SECRET = SecretStr("swordfish-9")


class Recorded:
    """An executor that records its runs, and what it recorded."""

    def __init__(self) -> None:
        self.stored = MemoryRecords()
        self.live = MemoryRuns(self.stored)
        stores = RunStores(records=self.stored, live=self.live)
        self.executor = PlanExecutor(ActionCatalog([add, sign, break_off]), InMemorySaver(), stores=stores)
        self.runs = Runs(self.stored)

    @property
    def log(self) -> RunLog:
        log = self.executor.log
        assert log is not None
        return log

    async def run(self, plan: CandidatePlan, inputs: Mapping[str, Any], run_id: str = "r") -> ExecutionResult:
        return await self.executor.execute(RunRequest(plan=plan, user_inputs=inputs, context=RunContext(run_id=run_id)))

    async def read(self) -> RunRecord:
        """Return the record, after a look at everything that is stored: no secret is in it."""
        stored = await self.stored.read("event", "r"), await self.stored.latest("run", "r")
        assert b"swordfish" not in repr(stored).encode()
        return await self.runs.get("r", LOCAL)


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()


async def test_a_run_that_is_only_recorded_is_known_by_its_inputs_too() -> None:
    """It has no checkpoint yet that could tell; a record of an earlier version cannot tell either."""
    recorded = Recorded()
    log = recorded.log
    request = RunRequest(plan=TWO, user_inputs={"n": 1}, context=RunContext(run_id="r"))
    await log.submit(request, due_in=1000)

    with pytest.raises(RunConflict, match="other user inputs"):
        await recorded.run(TWO, {"n": 2})
    with pytest.raises(RunConflict, match="other user inputs"):
        await log.submit(replace(request, user_inputs={"n": 2}))
    assert (list(await recorded.live.due()), CALLED) == ([], [])
    assert (await recorded.run(TWO, {"n": 1})).outputs == {"sum": 3}

    await log.submit(replace(request, context=RunContext(run_id="old")))
    old = await recorded.stored.latest("run", "old")
    assert old is not None
    await recorded.stored.delete("run", "old")
    columns = {name: fact for name, fact in old.columns.items() if name != "inputs_hash"}
    await recorded.stored.append(Change(kind="run", owner="old", at=old.at, columns=columns, fields=old.fields))
    assert (await recorded.run(TWO, {"n": 2}, "old")).outputs == {"sum": 4}


async def test_a_plan_that_says_a_secret_is_refused() -> None:
    """It is run from its record, so nothing can be taken out of it."""
    recorded = Recorded()
    step = {"id": "s", "action": "sign", "inputs": {"key": "swordfish-9", "a": 1}}

    with pytest.raises(SecretInPlan, match=r"secret 'key'; bind it as \$\{user\.key\}"):
        await recorded.run(make_plan(step), {"key": SECRET})

    assert await recorded.runs.list(LOCAL) == []


async def test_an_input_that_says_a_secret_leaves_the_plan_as_it_is() -> None:
    recorded = Recorded()

    await recorded.run(TWO, {"key": SECRET, "note": "by swordfish-9", "n": 1})
    run = await recorded.read()

    assert (run.plan, run.inputs["note"]) == (TWO.to_dict(), "by <secret key>")
    assert run.request["missing"] == ["key", "note"]


async def test_an_error_that_ends_the_run_and_one_of_its_callback_say_no_secret() -> None:
    recorded = Recorded()
    plan = make_plan({"id": "s", "action": "break_off", "inputs": {"key": "${user.key}"}})
    given = {"key": SECRET}

    with pytest.raises(Odd):
        await recorded.run(plan, given)
    told = callback_failed(
        "r", ValueError(f"401 for swordfish-9 {'x' * 10_000}"), secrets_in(given), recorded.log.stores.codec
    )
    await recorded.stored.append(told)
    run = await recorded.read()

    assert [error[:26] for error in run.errors] == ["Odd: 401 for <secret key> "]
    assert str(run.callback_error).startswith("ValueError: 401 for <secret key> xxx")
    assert max(len(run.errors[0]), len(str(run.callback_error))) < 4100


async def test_of_the_log_as_much_is_read_as_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told before the run was begun anew counts no more; of the rest, only what begins a run is decoded."""
    monkeypatch.setattr("planner.execution.run_log.LAST_EVENTS", 2)
    recorded = Recorded()
    log = recorded.log
    codec, asked, decoded = log.stores.codec, [], []
    started = [{"resumed": False}, {"resumed": False}, {"resumed": True}]
    phases = ["start", *["step_success"] * 9, "start", "step_failure", "step_progress", "start", "step_skipped"]
    for seq, phase in enumerate(phases):
        event = ExecutionEvent(cast("Any", phase), details=started.pop(0) if phase == "start" else {"seq": seq})
        columns = {"phase": phase} | ({} if phase == "start" else {"step_id": f"s{seq}"})
        fields = event_fields(event, codec)
        await recorded.stored.append(
            Change(kind="event", owner="r", at=datetime.now(UTC), columns=columns, fields=fields)
        )
    read, load = recorded.stored.read, codec.load

    async def read_some(*args: Any, **how: Any) -> Any:
        asked.append(how["limit"])
        return await read(*args, **how)

    def load_one(value: Value, where: str) -> Any:
        decoded.append(where)
        return load(value, where)

    recorded.stored.read = read_some
    monkeypatch.setattr(codec, "load", load_one)

    assert await log.told("r") == {"s11", "s14"}
    assert asked == [2, 8]
    assert {where.split(" of run")[0] for where in decoded} == {"event 14", "event 11"}
    assert await log.told("absent") == set()
