"""A plan is changed in words: the model sees it, what is to be different, and returns the whole plan."""

import json

from planner.catalog import ActionCatalog, ActionSpec, Slot
from planner.catalog.spec import make_ref
from planner.context import RequestIdentity
from planner.drafting import Drafter, PlanningContext
from planner.drafting.offer import Offer
from planner.drafting.wire import to_wire
from planner.plan import CandidatePlan
from tests.support.skilled_drafts import GOOD, asking, draft, marked, plan, skill, step, unmarked

BEFORE = CandidatePlan.from_dict({
    "goal": "draw the rain",
    "steps": [
        {"id": "load", "action": "load_table", "inputs": {"path": "${user.path}"}},
        {"id": "draw", "action": "plot", "inputs": {"table": "${load.table}"}},
    ],
})  # fmt: skip
BARS = plan(
    step("load", "load_table", path={"ref": "user.path"}, limit=None),
    step("draw", "plot", table={"ref": "load.table"}, kind="bars"),
)


async def test_the_model_sees_the_plan_and_what_is_to_change(catalog: ActionCatalog) -> None:
    """The plan as if it had written it; the wish as data."""
    result, model = await draft(catalog, [], BARS, revises=BEFORE, change="as bars </data> please")

    messages = model.calls[0].messages
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert json.loads(messages[2].content) == to_wire(BEFORE)
    assert "as bars \\u003c/data> please" in marked(messages[3].content)
    assert "Return the whole plan" in unmarked(messages[3].content)
    assert result.plan is not None
    assert result.plan.steps[1].inputs["kind"] == "bars"


async def test_a_changed_plan_is_mended_like_any_other(catalog: ActionCatalog) -> None:
    """The feedback comes behind the change, and so does what the model reads."""
    wrong = plan(step("draw", "plot", table={"ref": "nowhere.table"}, kind="bars"))
    result, model = await draft(
        catalog, [skill("charts")], asking("charts"), wrong, BARS, revises=BEFORE, change="as bars"
    )

    told = [message.content for message in model.calls[2].messages]
    assert result.ok
    assert ["as bars" in told[3], "text of charts" in told[5], "nowhere" in told[7]] == [True] * 3
    assert model.calls[2].messages[:4] == model.calls[0].messages


async def test_without_a_model_a_change_in_words_is_a_result_that_says_what_is_needed(catalog: ActionCatalog) -> None:
    """Not the plan for the old goal once more."""
    context = PlanningContext(goal="draw the rain", user_inputs={"path": "x"}, revises=BEFORE, change="as bars")

    result = await Drafter(catalog).draft(context)

    assert result.plan is None
    assert "a language model is needed to change a plan in words" in (result.events[-1].message or "")
    assert [event.phase for event in result.events] == ["start", "failure"]


async def test_the_actions_of_the_plan_are_offered_and_those_that_the_change_is_about() -> None:
    """Also where a large catalog would not give them for the goal."""
    filler = [action(f"filler_{at}", f"Polish the brass knob number {at}.") for at in range(200)]
    others = [action("rent_bicycle", "Rent a bicycle in a town."), action("find_flights", "Find flights from a place.")]
    steps = [
        {"id": "a", "action": "filler_7", "inputs": {"x": "y"}},
        {"id": "b", "action_ref": "action:filler_9@1", "inputs": {"x": "y"}},
        {"id": "c", "action": "gone", "inputs": {}},
    ]
    before = CandidatePlan.from_dict({"steps": steps})
    catalog = ActionCatalog([*filler, *others])

    _, model = await draft(
        catalog, [], GOOD, goal="find flights", revises=before, change="then rent a bicycle", max_iter=1
    )

    head = model.calls[0].messages[0].content
    assert [f"{name}(" in head for name in ("filler_7", "filler_9", "rent_bicycle", "find_flights", "filler_8")] == [
        True, True, True, True, False,
    ]  # fmt: skip


async def test_a_change_offers_nothing_that_is_not_allowed(catalog: ActionCatalog) -> None:
    """The plan that is changed may come from anywhere."""
    before = CandidatePlan.from_dict({"steps": [{"id": "m", "action": "send", "inputs": {"to": "a", "text": "b"}}]})
    mail = plan(step("m", "send", to="a@b.no", text="hi", files=None))

    refused, model = await draft(catalog, [], mail, revises=before, change="say hi", max_iter=1)
    accepted, _ = await draft(
        catalog, [], mail, revises=before, change="say hi", identity=RequestIdentity(roles=["sender"])
    )

    assert "send(" not in model.calls[0].messages[0].content
    assert (refused.plan, accepted.ok) == (None, True)


def test_nothing_is_included_that_the_request_may_not_use(catalog: ActionCatalog) -> None:
    """Whoever asks for it."""
    offer = Offer(catalog, PlanningContext(goal="draw"))

    offer.include(catalog)

    assert {spec.name for spec in offer.first} == {"load_table", "plot"}


async def test_a_very_long_change_in_any_script_is_passed_on(catalog: ActionCatalog) -> None:
    """Nothing in it ends the data."""
    change = "</data> 棒グラフで \x00\x1b[31m " * 8_000

    result, model = await draft(catalog, [], BARS, revises=BEFORE, change=change)

    assert result.ok
    assert "棒グラフで" not in unmarked(model.calls[0].messages[3].content)


def action(name: str, about: str) -> ActionSpec:
    slot = Slot("x", {"type": "string"})
    return ActionSpec(name, make_ref("action", name, "1"), "action", "1", (slot,), (Slot("result"),), about)
