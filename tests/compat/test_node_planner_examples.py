"""E1 to E14: the examples of aethergraph's NodePlanner run as printed, but for the import lines.

The names that the prints take from around them (`node_planner`, `plan`, `context`, the callbacks) are the fixtures.
"""

from typing import Any

import pytest

from goalgraph import (
    ActionCatalog,
    CandidatePlan,
    NodeContext,
    NodePlanner,
    PlannerService,
    PlanningContext,
    RequestIdentity,
    RunVisibility,
    action,
)
from planner.drafting import ScriptedModel

PLAN: dict[str, Any] = {
    "steps": [
        {"id": "measure", "action": "measure", "inputs": {"key1": 1}},
        {"id": "optimize", "action": "optimize", "inputs": {"level": "${measure.result}"}},
    ]
}


@action
async def measure(key1: int = 1) -> int:
    """Measure the workflow."""
    return key1 * 2


@action
async def optimize(level: int) -> dict[str, int]:
    """Optimize the workflow."""
    return {"level": level + 1}


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel([PLAN] * 4)


@pytest.fixture
def node_planner(model: ScriptedModel) -> NodePlanner:
    service = PlannerService(ActionCatalog([measure, optimize]), model)
    context = NodeContext(
        identity=RequestIdentity(user_id="u", org_id="o"), session_id="s", graph_id="g", node_id="n", run_id="r"
    )
    return NodePlanner(service, context)


@pytest.fixture
def plan() -> CandidatePlan:
    return CandidatePlan.from_dict(PLAN)


async def test_e1_plan(node_planner: NodePlanner) -> None:
    """A goal alone."""
    result = await node_planner.plan(goal="Optimize workflow")

    assert result.ok
    assert ["measure", "optimize"] == [step.id for step in result.plan.steps] if result.plan else False


async def test_e2_plan_with_inputs_and_events(node_planner: NodePlanner, capsys: pytest.CaptureFixture[str]) -> None:
    """A lambda listens."""
    result = await node_planner.plan(
        goal="Generate report",
        user_inputs={"date": "2023-10-01"},
        on_event=lambda event: print(f"Event: {event}"),
    )

    assert result.ok
    printed = capsys.readouterr().out
    assert "phase='start'" in printed
    assert "phase='success'" in printed


async def test_e3_plan_with_context(node_planner: NodePlanner) -> None:
    """The request as one value."""
    planner = node_planner
    context = PlanningContext(goal="Optimize workflow", user_inputs={}, external_slots={})
    result = await planner.plan_with_context(context)

    assert result.ok


async def test_e4_plan_with_context_and_async_events(
    node_planner: NodePlanner, capsys: pytest.CaptureFixture[str]
) -> None:
    """An async function listens."""
    planner = node_planner
    context = PlanningContext(goal="Optimize workflow", user_inputs={}, external_slots={})

    async def on_event(event):
        print(f"Received event: {event}")

    result = await planner.plan_with_context(context, on_event=on_event)

    assert result.ok
    assert "Received event: " in capsys.readouterr().out


async def test_e5_parse_inputs() -> None:
    """Two keys out of a sentence."""
    model = ScriptedModel([{"key1": 0.1, "key2": "dummy string inputs"}])
    node_planner = NodePlanner(PlannerService(ActionCatalog([measure]), model))
    result = await node_planner.parse_inputs(
        message="Input data with key1 = 0.1 and key2 = dummy string inputs", missing_keys=["key1", "key2"]
    )

    assert {"key1": 0.1, "key2": "dummy string inputs"} == result.values
    assert ({"key1", "key2"}, set()) == (result.resolved_keys, result.missing_keys)


async def test_e6_parse_inputs_with_instruction() -> None:
    """The instruction reaches the model; a null stays missing."""
    model = ScriptedModel([{"key1": 0.1, "key2": None}])
    node_planner = NodePlanner(PlannerService(ActionCatalog([measure]), model))
    result = await node_planner.parse_inputs(
        message="Input data with key1 equals 0.1 and key2 is some dummy string inputs",
        missing_keys=["key1", "key2"],
        instruction="key1 is a float and key2 is a string. Make sure all values are included in a dictionary.",
    )

    assert ({"key1": 0.1}, {"key2"}) == (result.values, result.missing_keys)
    assert "key1 is a float" in "".join(message.content for message in model.calls[0].messages)


async def test_e7_execute(node_planner: NodePlanner, plan: CandidatePlan) -> None:
    """A1: it crashed without an origin."""
    result = await node_planner.execute(plan)

    assert (True, {"result": {"level": 3}}, []) == (result.ok, result.outputs, result.errors)
    assert ("graph:g", "node:n", "run:r") == result.tags


async def test_e8_execute_with_inputs_and_events(
    node_planner: NodePlanner, plan: CandidatePlan, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lambda listens."""
    result = await node_planner.execute(
        plan,
        user_inputs={"key1": "value1"},
        on_event=lambda event: print(f"Execution event: {event}"),
    )

    assert result.ok
    assert "phase='step_success'" in capsys.readouterr().out


async def test_e9_plan_and_execute(node_planner: NodePlanner) -> None:
    """A pair comes back."""
    plan_result, exec_result = await node_planner.plan_and_execute(goal="Optimize workflow")

    assert plan_result.ok
    assert exec_result is not None
    assert {"result": {"level": 3}} == exec_result.outputs


async def test_e10_plan_and_execute_with_callbacks(
    node_planner: NodePlanner, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has its own."""
    plan_result, exec_result = await node_planner.plan_and_execute(
        goal="Generate report",
        user_inputs={"date": "2023-10-01"},
        planning_events_cb=lambda event: print(f"Planning event: {event}"),
        execution_events_cb=lambda event: print(f"Execution event: {event}"),
    )

    assert plan_result.ok
    assert exec_result is not None
    assert exec_result.ok
    printed = capsys.readouterr().out
    assert "Planning event: " in printed
    assert "Execution event: " in printed


async def test_e11_execute_background(node_planner: NodePlanner, plan: CandidatePlan) -> None:
    """A1 again."""
    handle = await node_planner.execute_background(plan)

    assert plan.id == handle.plan_id
    assert (await handle.wait()).ok
    assert (True, False) == (handle.done(), handle.cancelled())


async def test_e12_execute_background_with_callbacks(node_planner: NodePlanner, plan: CandidatePlan) -> None:
    """A35: the print forgot the plan."""
    events: list[Any] = []
    completed: list[Any] = []
    event_callback, completion_callback = events.append, completed.append
    handle = await node_planner.execute_background(
        plan,
        user_inputs={"param1": "value1"},
        on_event=event_callback,
        on_complete=completion_callback,
        tags=["custom:tag"],
    )
    result = await handle.wait()

    assert [result] == completed
    assert "success" == events[-1].phase
    assert ("custom:tag", "graph:g", "node:n", "run:r") == result.tags


async def test_e13_plan_and_execute_background(node_planner: NodePlanner) -> None:
    """A pair of plan and handle."""
    plan_result, handle = await node_planner.plan_and_execute_background(goal="Achieve X", user_inputs={"key": "value"})

    assert plan_result.ok
    assert handle is not None
    assert (await handle.wait()).ok


async def test_e14_plan_and_execute_background_with_everything(node_planner: NodePlanner) -> None:
    """Callbacks, tags and a visibility."""
    planning: list[Any] = []
    execution: list[Any] = []
    on_planning_event, on_execution_event = planning.append, execution.append
    plan_result, handle = await node_planner.plan_and_execute_background(
        goal="Achieve Y",
        planning_events_cb=on_planning_event,
        execution_events_cb=on_execution_event,
        tags=["custom-tag"],
        visibility=RunVisibility.inline,
    )

    assert plan_result.ok
    assert handle is not None
    result = await handle.wait()
    assert "custom-tag" in result.tags
    assert ("start", "success") == (planning[0].phase, planning[-1].phase)
    assert ("start", "success") == (execution[0].phase, execution[-1].phase)
