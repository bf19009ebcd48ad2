"""Skills are named in the calls that plan."""

from planner import PlannerService
from planner.catalog import ActionCatalog, action
from planner.drafting import ScriptedModel
from skills import SkillRegistry


@action
async def greet(name: str) -> str:
    """Say hello."""
    return f"Hello {name}"


PLAN = {"steps": [{"id": "g", "action": "greet", "inputs": {"name": "Ada"}}]}


async def test_a_named_skill_is_open_in_each_call_that_plans() -> None:
    """Otherwise it is only listed."""
    registry = SkillRegistry()
    registry.register_inline(id="manners", title="Manners", description="Tone.", sections={"body": "Never shout."})
    model = ScriptedModel([PLAN], repeat=True)
    service = PlannerService(ActionCatalog([greet]), model, skills=registry)

    planned = await service.plan(goal="greet Ada", skills=["manners"])
    _, ran = await service.plan_and_execute(goal="greet Ada", skills=["manners"])
    _, handle = await service.plan_and_execute_background(goal="greet Ada", skills=["manners"])
    await service.plan(goal="greet Ada")

    assert handle is not None
    results = [ran, await handle.wait()]
    assert planned.ok
    assert [result and result.outputs for result in results] == [{"result": "Hello Ada"}] * 2
    assert ["Never shout." in call.prompt for call in model.calls] == [True, True, True, False]
    assert "- manners  # Tone." in model.calls[3].prompt
    await service.aclose()


async def test_a_skill_that_is_not_there_is_no_exception() -> None:
    """Nothing is run, and the result says why."""
    service = PlannerService(ActionCatalog([greet]), ScriptedModel([PLAN]))

    planned, ran = await service.plan_and_execute(goal="greet Ada", skills=["manners"])

    assert (planned.ok, ran) == (False, None)
    assert "there is no skill 'manners'" in (planned.events[-1].message or "")
    await service.aclose()
