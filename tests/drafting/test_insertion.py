"""Missing inputs are filled where one thing can be meant, with the steps that it takes."""

from typing import Any

from planner.catalog import ActionCatalog, ActionPolicy, ActionSpec, Slot, make_ref
from planner.drafting.insertion import insert_producers
from planner.drafting.request import PlanningContext
from planner.plan import CandidatePlan, RepairResult, undo_patches, validate


def spec(name: str, takes: str = "", gives: str = "", **options: Any) -> ActionSpec:
    return ActionSpec(
        name=name,
        ref=make_ref("action", name, "1"),
        kind="action",
        version="1",
        inputs=tuple(Slot(one, {"type": "string"}) for one in takes.split()),
        outputs=tuple(Slot(one, {"type": "string"}) for one in gives.split()),
        single_output=False,
        **options,
    )


CATALOG = ActionCatalog([
    spec("locate", "city", "code"),
    spec("forecast", "code day", "weather"),
    spec("write", "weather", "report"),
    spec("order", "city", "receipt", policy=ActionPolicy(effect="external")),
    spec("pay", "receipt", "paid"),
    spec("guess", "hunch", "oracle"),
    spec("believe", "oracle", "faith"),
])  # fmt: skip


def inserted(*steps: dict[str, Any], **user_inputs: str) -> tuple[CandidatePlan, RepairResult]:
    plan = CandidatePlan.from_dict({"steps": list(steps)})
    context = PlanningContext(goal="go", user_inputs=user_inputs)
    return plan, insert_producers(plan, validate(plan, CATALOG, user_inputs).issues, CATALOG, context)


def test_a_chain_of_producers_is_inserted() -> None:
    """Down to what the user gave; all of it can be taken back."""
    plan, result = inserted({"id": "write", "action": "write"}, city="Oslo", day="Friday")

    assert validate(result.plan, CATALOG, {"city": "Oslo", "day": "Friday"}).ok
    assert [step.action for step in result.plan.steps] == ["locate", "forecast", "write"]
    assert result.plan.steps[-1].inputs == {"weather": "${forecast.weather}"}
    assert undo_patches(result.plan, result.patches) == plan


def test_a_value_that_another_step_gives_is_bound() -> None:
    """No step is added for it."""
    _, result = inserted(
        {"id": "sky", "action": "forecast", "inputs": {"code": "OSL", "day": "Friday"}},
        {"id": "text", "action": "write"},
    )

    assert [step.inputs for step in result.plan.steps][1] == {"weather": "${sky.weather}"}
    assert len(result.plan.steps) == 2


def test_two_steps_that_give_it_are_not_chosen_between() -> None:
    """It stays missing."""
    sky = {"action": "forecast", "inputs": {"code": "OSL", "day": "Friday"}}
    _, result = inserted({"id": "a", **sky}, {"id": "b", **sky}, {"id": "text", "action": "write"})

    assert result.patches == ()


def test_an_effect_is_never_added() -> None:
    """Ordering something is not for a repair to decide."""
    _, result = inserted({"id": "pay", "action": "pay"}, city="Oslo")

    assert result.patches == ()


def test_nothing_is_added_that_would_need_a_question() -> None:
    """The question about the missing input itself is the better one."""
    _, result = inserted({"id": "believe", "action": "believe"})

    assert result.patches == ()


def test_a_step_is_not_fed_by_what_waits_for_it() -> None:
    """The weather comes after the code that it needs."""
    _, result = inserted(
        {"id": "sky", "action": "forecast", "inputs": {"day": "Friday"}},
        {"id": "place", "action": "locate", "inputs": {"city": "${sky.weather}"}},
    )

    assert result.patches == ()
