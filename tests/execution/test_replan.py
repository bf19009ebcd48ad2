"""Planning on after a failure: what is asked, what is kept, and when it ends."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import ActionContext, action
from planner.context import RequestIdentity
from planner.drafting.drafter import Drafter
from planner.drafting.replanning import DraftReplanner
from planner.drafting.scripted import ScriptedModel
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan
from planner.plan.replanning import ReplanRequest
from tests.support.ledger import Crash
from tests.support.running import Runner, make_plan

called: list[str] = []
keys: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    called.clear()
    keys.clear()


@action
async def find(city: str) -> str:
    called.append(f"find {city}")
    return f"{city}-1"


@action
async def primary(station: str) -> str:
    called.append(f"primary {station}")
    raise RuntimeError("primary is down")


@action
async def backup(station: str, ctx: ActionContext) -> str:
    called.append(f"backup {station}")
    keys.append(ctx.idempotency_key)
    return f"data of {station}"


@action
async def report(text: str) -> str:
    called.append(f"report {text}")
    return f"<{text}>"


@action(roles="admin")
async def secret_source(station: str) -> str:
    raise AssertionError


PLAN = CandidatePlan.from_dict(
    {
        "goal": "report the rain",
        "steps": [
            {"id": "find", "action": "find", "inputs": {"city": "${user.city}"}},
            {"id": "get", "action": "primary", "inputs": {"station": "${find}"}},
            {"id": "report", "action": "report", "inputs": {"text": "${get}"}},
        ],
        "outputs": {"report": "${report}"},
    }
)

TAIL = make_plan(
    {"id": "get", "action": "backup", "inputs": {"station": "${find}"}},
    {"id": "report", "action": "report", "inputs": {"text": "${get}"}},
    outputs={"report": "${report}"},
)


class Scripted:
    """A replanner that gives `answers`, one after the other."""

    def __init__(self, answers: Sequence[CandidatePlan | Exception | None]) -> None:
        self.answers = list(answers)
        self.asked: list[ReplanRequest] = []

    async def __call__(self, request: ReplanRequest, /) -> CandidatePlan | None:
        self.asked.append(request)
        answer = self.answers[len(self.asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def make_runner(replanner: Any, **options: Any) -> Runner:
    runner = Runner(find, primary, backup, report, secret_source, **options)
    runner.executor.replanner = replanner
    return runner


async def run(runner: Runner, **options: Any) -> ExecutionResult:
    return await runner.run(PLAN, user_inputs={"city": "Ulm"}, on_failure="replan", **options)


async def test_what_succeeded_stays_and_the_new_tail_runs() -> None:
    """It may reuse the id of the step that failed; its keys have the next revision."""
    replanner = Scripted([TAIL])
    runner = make_runner(replanner)
    result = await run(runner)

    assert ("succeeded", {"report": "<data of Ulm-1>"}) == (result.status, result.outputs)
    assert ["find Ulm", "primary Ulm-1", "backup Ulm-1", "report data of Ulm-1"] == called
    assert ["run-1:1:get"] == keys
    assert ["find", "get", "report"] == list(result.outcomes)
    asked = replanner.asked[0]
    assert ("get", ["find"], 1) == (asked.failed_step, list(asked.done), asked.revision)
    assert "primary is down" in asked.failure
    told = next(event for event in runner.events if event.phase == "replan")
    assert told.details["plan"]["steps"][1]["action_ref"] == "action:backup@0.1.0"
    assert (told.details["revision"], True) == (1, "primary is down" in str(told.message))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "no other way"),
        (ValueError("no model"), "ValueError: no model"),
        (make_plan({"id": "x", "action": "backup", "inputs": {"station": 3}}), "InvalidPlan"),
        (make_plan({"id": "x", "action": "secret_source", "inputs": {"station": "${find}"}}), "role"),
        (
            make_plan({"id": "x", "action": "backup", "inputs": {"station": "${user.k}"}}, outputs={"report": "${x}"}),
            "MissingInputs",
        ),
        (make_plan({"id": "find", "action": "find", "inputs": {"city": "Bonn"}}), "which is done"),
        (make_plan({"id": "find", "action": "find", "inputs": {"city": "${user.city}"}}), "no further step"),
    ],
    ids=["none", "raises", "invalid", "forbidden", "missing", "changes-done", "nothing-new"],
)
async def test_without_a_plan_that_may_run_the_run_fails_and_keeps_what_is_done(
    answer: CandidatePlan | Exception | None, reason: str
) -> None:
    """The event says why."""
    runner = make_runner(Scripted([answer]))
    result = await run(runner)

    assert ("failed", ["find Ulm", "primary Ulm-1"]) == (result.status, called)
    assert {} == result.compensation
    assert "step 'get': RuntimeError: primary is down" == result.errors[-1].error
    assert reason in str(next(event.message for event in runner.events if event.phase == "replan"))


async def test_it_is_asked_only_so_often() -> None:
    """Each failure counts."""
    step = {"id": "again", "action": "primary", "inputs": {"station": "${find}"}}
    again = make_plan(step, outputs={"report": "${again}"})
    replanner = Scripted([again, again, TAIL])
    result = await run(make_runner(replanner), max_replans=2)

    assert ("failed", 2) == (result.status, len(replanner.asked))
    assert 3 == called.count("primary Ulm-1")


async def test_a_run_without_a_replanner_fails() -> None:
    """As if it were to keep what is done."""
    result = await run(make_runner(None))

    assert "failed" == result.status


async def test_a_run_that_was_cancelled_meanwhile_is_not_planned_on() -> None:
    """The question is given up."""
    asked = asyncio.Event()

    async def slow(request: ReplanRequest, /) -> CandidatePlan | None:
        asked.set()
        await asyncio.Event().wait()
        return TAIL

    runner = make_runner(slow)
    running = asyncio.create_task(run(runner))
    await asked.wait()
    runner.executor.cancel("run-1")
    async with asyncio.timeout(5):
        result = await running

    assert ("cancelled", 2) == (result.status, len(called))


async def test_a_run_that_has_ended_is_read_back_with_its_last_plan() -> None:
    """Its steps are not those that it was started with."""
    saver = InMemorySaver()
    first = await run(make_runner(Scripted([TAIL]), saver=saver))
    again = await run(make_runner(Scripted([]), saver=saver))

    assert (first.outputs, first.step_outputs, "succeeded") == (again.outputs, again.step_outputs, again.status)


async def test_a_resumed_run_goes_on_with_the_plan_that_was_stored() -> None:
    """It does not ask again, and calls nothing twice that had finished."""
    saver = InMemorySaver()

    @action(name="report")
    async def dies(text: str) -> str:
        raise Crash

    replanner = Scripted([TAIL])
    runner = Runner(find, primary, backup, dies, saver=saver)
    runner.executor.replanner = replanner
    with pytest.raises(Crash):
        await run(runner)
    resumed = await run(make_runner(Scripted([]), saver=saver))

    assert (True, {"report": "<data of Ulm-1>"}) == (resumed.ok, resumed.outputs)
    assert ["find Ulm", "primary Ulm-1", "backup Ulm-1", "report data of Ulm-1"] == called


async def test_the_model_is_asked_for_the_rest_with_the_failure_and_the_producers() -> None:
    """What is done stands among the keys; its real names are put in, and ids that are taken are changed."""
    answer = {
        "steps": [
            {"id": "find", "action": "backup", "inputs": {"station": "${user.find_result}"}},
            {"id": "out", "action": "report", "inputs": {"text": "${find}"}},
        ],
        "outputs": {"report": "${out}"},
    }
    model = ScriptedModel([answer])
    runner = make_runner(None)
    runner.executor.replanner = DraftReplanner(Drafter(runner.catalog, model))
    result = await run(runner)
    prompt = model.calls[0].prompt

    assert ("succeeded", {"report": "<data of Ulm-1>"}) == (result.status, result.outputs)
    assert ["find", "find_2", "out"] == list(result.outcomes)
    assert "primary is down" in prompt
    assert "user.find_result" in prompt
    assert "secret_source" not in prompt


async def test_without_a_model_a_search_over_types_replaces_the_step_that_failed() -> None:
    """The steps behind it stay as they were, and nothing with a stronger effect is taken in."""

    class Rain(TypedDict):
        millimetres: int

    @action
    async def gauge(station: str) -> Rain:
        raise RuntimeError("down")

    @action(effect="external")
    async def bought(station: str) -> Rain:
        raise AssertionError

    @action
    async def radar(station: str) -> Rain:
        called.append(f"radar {station}")
        return {"millimetres": 3}

    @action
    async def tell(millimetres: int) -> str:
        return f"{millimetres} mm"

    plan = make_plan(
        {"id": "find", "action": "find", "inputs": {"city": "${user.city}"}},
        {"id": "get", "action": "gauge", "inputs": {"station": "${find}"}},
        {"id": "tell", "action": "tell", "inputs": {"millimetres": "${get.millimetres}"}},
    )

    @action
    async def station(city: str) -> str:
        called.append(f"station {city}")
        return f"{city}-2"

    runner = Runner(find, station, gauge, bought, radar, tell)
    runner.executor.replanner = DraftReplanner(Drafter(runner.catalog))
    result = await runner.run(plan, user_inputs={"city": "Ulm"}, on_failure="replan")

    assert ("succeeded", {"result": "3 mm"}) == (result.status, result.outputs)
    assert ["find", "radar", "station", "tell"] == sorted(result.outcomes)


async def test_a_replan_never_widens_what_the_identity_may_do() -> None:
    """The check has the run's identity, whatever the replanner was told."""
    tail = make_plan({"id": "x", "action": "secret_source", "inputs": {"station": "${find}"}})
    replanner = Scripted([tail])
    await run(make_runner(replanner))

    assert RequestIdentity() == replanner.asked[0].identity
