"""The loop: what a model says becomes a plan, or is answered with what is wrong; nothing that a model does raises."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from planner.catalog import ActionCatalog, ActionSpec, Slot, make_ref
from planner.context import RequestIdentity
from planner.drafting import (
    Completion,
    Drafter,
    Message,
    OpenAIModel,
    PlanningContext,
    PlanResult,
    ScriptedModel,
    Usage,
)
from planner.drafting.language_model import PERMANENT
from planner.errors import ModelRefused, ModelTruncated, ModelUnavailable
from planner.events import PlanningEvent
from planner.limits import Limits
from tests.support.openai_server import OpenAIServer, error, refused, text, truncated

Json = dict[str, Any]


def step(name: str, action: str, **inputs: Any) -> Json:
    return {"id": name, "action": action, "inputs": inputs, "control": None}


def plan(*steps: Json) -> Json:
    return {"assumptions": [], "steps": list(steps), "outputs": []}


LOAD = step("load", "load_table", path={"ref": "user.path"}, limit=None)
DRAW = step("draw", "plot", table={"ref": "load.table"}, kind=None)
GOOD = plan(LOAD, DRAW)
NEEDS_NAME = plan(LOAD, step("draw", "plot", table={"ref": "load.table"}, kind={"ref": "user.kind"}))


async def draft(
    catalog: ActionCatalog, *answers: Any, limits: Limits | None = None, **given: Any
) -> tuple[PlanResult, ScriptedModel]:
    model = ScriptedModel(answers)
    context = PlanningContext(**{"goal": "draw the rain", "user_inputs": {"path": "rain.csv"}, **given})
    return await Drafter(catalog, model, limits).draft(context), model


def phases(result: PlanResult) -> list[str]:
    return [event.phase for event in result.events]


async def test_a_good_answer_is_taken_at_once(catalog: ActionCatalog) -> None:
    """One call, and the plan is in the plan's own form."""
    result, model = await draft(catalog, GOOD)

    assert result.ok
    assert result.plan is not None
    assert result.plan.steps[1].inputs == {"table": "${load.table}"}
    assert phases(result) == ["start", "llm_request", "llm_response", "validation", "success"]
    assert [event.iteration for event in result.events] == [-1, 0, 0, 0, 0]
    assert (len(model.calls), result.usage.calls) == (1, 1)
    assert [candidate.plan for candidate in result.candidates] == [result.plan]
    assert result.candidates[0].estimate is not None


async def test_what_has_one_explanation_is_mended_without_asking_again(catalog: ActionCatalog) -> None:
    """The changes are kept with the candidate and told."""
    result, model = await draft(catalog, plan(LOAD, step("draw", "plott", table={"ref": "load.table"})))

    assert (result.ok, len(model.calls)) == (True, 1)
    assert phases(result)[-3:] == ["validation", "repair", "success"]
    assert result.candidates[0].patches


async def test_an_input_that_only_one_action_can_give_is_filled_without_asking_again(catalog: ActionCatalog) -> None:
    """The step is added, as a change that is shown."""
    result, model = await draft(catalog, plan(step("draw", "plot", table=None)))

    assert (result.ok, len(model.calls)) == (True, 1)
    assert result.plan is not None
    assert {step.action for step in result.plan.steps} == {"plot", "load_table"}
    assert result.candidates[0].patches


BAD: dict[str, Any] = {
    "prose": "I would load the table and draw it.",
    "nothing": "",
    "an empty plan": plan(),
    "an unknown action": plan(step("a", "book_a_flight_to_the_moon")),
    "a step without an id": {"steps": [{"action": "plot", "inputs": {}}]},
    "a missing input": plan(step("draw", "plot", table=None), step("mend", "plot", table="x")),
    "a cycle": plan(step("a", "plot", table={"ref": "b.result"}), step("b", "plot", table={"ref": "a.result"})),
    "half a plan": json.dumps(GOOD)[:150],
    "two plans": f"{json.dumps(GOOD)} or {json.dumps(NEEDS_NAME)}",
    "a refusal": ModelRefused("I cannot do that"),
    "a length limit": ModelTruncated("cut", Completion(text=json.dumps(GOOD)[:100], usage=Usage(calls=1))),
    "a length limit and nothing written": ModelTruncated("cut", Completion(text="")),
    "a rate limit": ModelUnavailable("slow down"),
    "a forbidden action": plan(LOAD, step("mail", "send", to="a@b.no", text="hi")),
}  # fmt: skip


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
async def test_every_failure_is_answered_by_asking_again(catalog: ActionCatalog, answer: Any) -> None:
    """It stays inside the loop (A12 of the seeds' defects)."""
    result, model = await draft(catalog, answer, GOOD)

    assert result.ok, result.validation
    assert len(model.calls) == 2
    assert Counter(phases(result))["llm_response"] == 2


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
async def test_a_model_that_keeps_failing_gives_a_result_that_says_so(catalog: ActionCatalog, answer: Any) -> None:
    """After `max_iter` calls, without an exception."""
    result, model = await draft(catalog, *[answer] * 5, max_iter=2)

    assert (result.plan, result.ok, len(model.calls)) == (None, False, 2)
    assert phases(result)[-1] == "failure"
    assert result.validation is not None
    assert result.validation.has_structural_errors
    assert result.events[-1].message


async def test_a_model_that_cannot_work_is_asked_once(catalog: ActionCatalog) -> None:
    """Each candidate gives up by itself, and the result says that it is the model."""
    gone = ModelUnavailable("no such key", PERMANENT)

    result, model = await draft(catalog, gone, GOOD, gone, candidates=3, max_iter=4)
    failed, asked = await draft(catalog, gone, GOOD, max_iter=4)

    assert (result.ok, len(model.calls)) == (True, 3)
    assert (failed.plan, len(asked.calls)) == (None, 1)
    assert failed.validation is not None
    assert [issue.kind for issue in failed.validation.issues] == ["model_unavailable"]
    assert "no such key; not asked again, for that would not help" in [event.message for event in failed.events]


async def test_a_model_that_is_busy_is_asked_again_and_named_when_it_stays_so(catalog: ActionCatalog) -> None:
    """Its silence is no plan that cannot be decoded."""
    result, model = await draft(catalog, *[ModelUnavailable("slow down")] * 3, max_iter=3)

    assert len(model.calls) == 3
    assert result.validation is not None
    assert [issue.kind for issue in result.validation.issues] == ["model_unavailable"]


async def test_an_answer_at_the_length_limit_that_is_complete_is_taken(catalog: ActionCatalog) -> None:
    """Strict schemas make some models write blanks without end behind a good plan."""
    cut = ModelTruncated(
        "cut", Completion(text=json.dumps(GOOD) + " \n" * 50, finish_reason="length", usage=Usage(calls=1))
    )

    result, model = await draft(catalog, cut)

    assert (result.ok, len(model.calls)) == (True, 1)


async def test_the_model_is_told_what_is_wrong_and_what_could_mend_it(catalog: ActionCatalog) -> None:
    """Issues, producers, and its own plan (A13, A15)."""
    wrong = plan(step("draw", "plot", table=None))
    result, model = await draft(catalog, wrong, GOOD, user_inputs={}, external_slots={})

    told = model.calls[1].messages
    assert result.missing_inputs == {"path": ["load.path"]}
    assert [message.role for message in told] == ["system", "user", "assistant", "user"]
    assert "[missing_input] step=draw" in told[-1].content
    assert "load_table gives table" in told[-1].content
    assert told[:2] == model.calls[0].messages


async def test_missing_keys_reach_the_model_when_a_partial_plan_is_not_wanted(catalog: ActionCatalog) -> None:
    """Otherwise it would be asked again without a word (A13)."""
    result, model = await draft(catalog, NEEDS_NAME, GOOD, allow_partial_plans=False)

    assert result.ok
    assert "[missing_user_input] kind: needed by draw.kind" in model.calls[1].prompt


async def test_a_partial_plan_says_what_to_ask_the_user(catalog: ActionCatalog) -> None:
    """It is a plan, and not `ok`."""
    result, _ = await draft(catalog, NEEDS_NAME)

    assert (result.plan is not None, result.ok) == (True, False)
    assert result.missing_inputs == {"kind": ["draw.kind"]}


async def test_an_empty_plan_is_no_success(catalog: ActionCatalog) -> None:
    """A6 of the seeds' defects."""
    result, _ = await draft(catalog, plan(), max_iter=1)

    assert result.validation is not None
    assert [issue.kind for issue in result.validation.issues] == ["empty_plan"]


async def test_keys_from_outside_do_not_hide_those_of_the_user(catalog: ActionCatalog) -> None:
    """A16 of the seeds' defects."""
    result, _ = await draft(catalog, NEEDS_NAME, external_slots={"kind": "string"})

    assert result.ok


async def test_actions_that_are_not_allowed_are_neither_offered_nor_accepted(catalog: ActionCatalog) -> None:
    """By roles, and by exclusion, such as of the flow that asks (A17)."""
    mail = plan(LOAD, step("mail", "send", to="a@b.no", text="hi"))
    sender = RequestIdentity(roles=["sender"])

    stranger, stranger_model = await draft(catalog, mail, max_iter=1)
    allowed, _ = await draft(catalog, mail, identity=sender)
    excluded, excluded_model = await draft(catalog, mail, max_iter=1, identity=sender, exclude_actions=["send"])

    assert [result.ok for result in (stranger, allowed, excluded)] == [False, True, False]
    assert [model.calls[0].prompt.count("send(") for model in (stranger_model, excluded_model)] == [0, 0]
    for result in (stranger, excluded):
        assert result.validation is not None
        assert [issue.kind for issue in result.validation.issues if issue.is_structural] == ["forbidden_action"]


async def test_a_draft_that_may_use_no_action_costs_no_call(catalog: ActionCatalog) -> None:
    """The failure says where to look."""
    result, model = await draft(catalog, GOOD, exclude_actions=["load_table", "plot", "send"])

    assert (result.plan, model.calls) == (None, [])
    assert "exclude_actions" in (result.events[-1].message or "")


async def test_groups_of_actions_are_kept_apart() -> None:
    """Global actions are always offered."""
    catalog = ActionCatalog([spec("everywhere"), spec("rain", flow_id="weather"), spec("flights", flow_id="travel")])
    _, model = await draft(catalog, plan(), max_iter=1, flow_ids=["weather"])

    assert [f"{name}(" in model.calls[0].prompt for name in ("everywhere", "rain", "flights")] == [True, True, False]


async def test_tokens_are_counted_and_a_budget_ends_the_loop(catalog: ActionCatalog) -> None:
    """Of the request or of the limits, whichever is met first."""
    costly = Completion(text="no", usage=Usage(prompt_tokens=400, completion_tokens=200, calls=1))
    for given, limits in (({"max_tokens": 1000}, None), ({}, Limits(tokens=1000))):
        result, model = await draft(catalog, costly, costly, costly, GOOD, limits=limits, max_iter=9, **given)

        assert (len(model.calls), result.usage.tokens, result.plan) == (2, 1200, None)
        assert [event.tokens for event in result.events if event.phase == "llm_response"] == [600, 1200, 1200]
        assert "1000 tokens" in (result.events[-1].message or "")


async def test_several_candidates_are_drafted_and_the_best_is_returned(catalog: ActionCatalog) -> None:
    """Each is told its number; all are kept."""

    def answer(messages: Sequence[Message]) -> Json:
        return (
            GOOD
            if "draft 2 of 3" in messages[-1].content
            else NEEDS_NAME
            if "draft 3" in messages[-1].content
            else plan(*GOOD["steps"], step("again", "load_table", path="x"))
        )

    result, model = await draft(catalog, answer, answer, answer, candidates=3)

    assert result.ok
    assert result.plan is not None
    assert [len(candidate.plan.steps) for candidate in result.candidates] == [2, 3, 2]
    assert [candidate.validation.ok for candidate in result.candidates] == [True, True, False]
    assert result.plan == result.candidates[0].plan
    assert {event.candidate for event in result.events if event.phase == "llm_request"} == {0, 1, 2}
    assert len({call.messages[0] for call in model.calls}) == 1


async def test_one_candidate_that_fails_does_not_stop_the_others(catalog: ActionCatalog) -> None:
    """Its failure is in the events."""
    result, _ = await draft(catalog, ModelUnavailable("gone"), GOOD, candidates=2, max_iter=1)

    assert result.ok
    assert "gone" in [event.message for event in result.events]


async def test_events_are_told_as_they_happen_and_a_listener_that_fails_changes_nothing(catalog: ActionCatalog) -> None:
    """Sync and async listeners alike."""
    heard: list[PlanningEvent] = []

    async def listen(event: PlanningEvent) -> None:
        heard.append(event)
        raise ValueError("a bad listener")

    context = PlanningContext(goal="draw", user_inputs={"path": "x"})
    result = await Drafter(catalog, ScriptedModel([GOOD])).draft(context, listen)

    assert heard == result.events
    assert result.ok


async def test_a_bug_of_the_callers_own_model_is_not_hidden(catalog: ActionCatalog) -> None:
    """Only a `ModelError` is a model that failed."""
    with pytest.raises(ZeroDivisionError):
        await draft(catalog, ZeroDivisionError())


def spec(
    name: str, *inputs: Slot, outputs: Sequence[Slot] = (), about: str = "", flow_id: str | None = None
) -> ActionSpec:
    ref = make_ref("action", name, "1")
    return ActionSpec(name, ref, "action", "1", inputs, tuple(outputs) or (Slot("result"),), about, flow_id=flow_id)


def large_catalog() -> ActionCatalog:
    """Too many to offer all."""
    filler = [spec(f"filler_{at}", about=f"Polish the brass knob number {at}.") for at in range(200)]
    find = spec("find_flights", Slot("origin", {"type": "string"}), about="Find flights from an airport.")
    rent = spec("rent_bicycle", Slot("town", {"type": "string"}), about="Rent a bicycle in a town.")
    return ActionCatalog([*filler, find, rent])


async def test_of_a_large_catalog_only_what_fits_the_goal_is_offered() -> None:
    """The others would only cost tokens."""
    found = plan(step("find", "find_flights", origin="OSL"))
    result, model = await draft(large_catalog(), found, goal="find flights from Oslo")

    offered = model.calls[0].messages[0].content
    assert result.ok
    assert ("find_flights(" in offered, "rent_bicycle(" in offered) == (True, False)
    assert model.calls[0].schema is not None
    assert "rent_bicycle" not in json.dumps(model.calls[0].schema.schema)


async def test_what_a_model_misses_is_offered_behind_the_head() -> None:
    """The set only grows, and the head of the prompt stays the same."""
    wrong = plan(step("ride", "get_bicycle_for_tourists", hours=3, helmet=True))
    good = plan(step("ride", "rent_bicycle", town="Oslo"))
    result, model = await draft(large_catalog(), wrong, wrong, good, goal="find flights from Oslo")

    assert result.ok
    assert model.calls[0].messages[:2] == model.calls[1].messages[:2] == model.calls[2].messages[:2]
    assert "rent_bicycle(" in model.calls[1].messages[-1].content
    assert "rent_bicycle(" in model.calls[2].messages[-1].content
    assert model.calls[1].schema is not None
    assert "rent_bicycle" in json.dumps(model.calls[1].schema.schema)


async def test_a_goal_that_no_action_is_about_is_not_planned_for() -> None:
    """No capability is an answer; `test_retrieval` has what it costs."""
    result, model = await draft(large_catalog(), {"phrases": []}, GOOD, goal="zxqv wvut")

    assert (result.plan, len(model.calls)) == (None, 1)
    assert "no action of the catalog is about this goal" in (result.events[-1].message or "")


async def test_drafts_over_the_same_actions_share_one_schema(catalog: ActionCatalog) -> None:
    """A provider compiles each new schema slowly."""
    model = ScriptedModel([GOOD, GOOD])
    drafter = Drafter(catalog, model)
    for goal in ("draw the rain", "draw the snow"):
        await drafter.draft(PlanningContext(goal=goal, user_inputs={"path": "x"}))

    assert model.calls[0].schema is model.calls[1].schema


async def test_without_a_model_wants_are_reached_by_types(catalog: ActionCatalog) -> None:
    """No key and no network; the listener hears of it too."""
    heard: list[PlanningEvent] = []
    context = PlanningContext(goal="the table", user_inputs={"path": "x.csv"}, wants=["table"])
    result = await Drafter(catalog).draft(context, heard.append)

    assert (result.ok, result.draft) == (True, False)
    assert result.plan is not None
    assert [step.action for step in result.plan.steps] == ["load_table"]
    assert heard == result.events


async def test_without_a_model_words_give_only_a_draft(catalog: ActionCatalog) -> None:
    """It is run only when the caller says so."""
    result = await Drafter(catalog).draft(PlanningContext(goal="read a table and draw it", user_inputs={"path": "x"}))

    assert result.draft


async def test_the_whole_loop_over_http(server: OpenAIServer, catalog: ActionCatalog) -> None:
    """A refusal, a broken answer, a busy server and a wrong plan on the way to a good one."""
    server.replies.extend([
        refused(),
        truncated(json.dumps(GOOD)[:90]),
        error(429, "busy", retry_after="0.01"),
        text(f"```json\n{json.dumps(plan(step('draw', 'plot', table='rain')))}\n```"),
        text(GOOD, prompt_tokens_details={"cached_tokens": 50}),
    ])  # fmt: skip
    async with OpenAIModel("m", base_url=server.url) as model:
        context = PlanningContext(goal="draw the rain", user_inputs={"path": "x"}, max_iter=4)
        result = await Drafter(catalog, model).draft(context)

    assert result.ok, result.validation
    assert result.usage == Usage(prompt_tokens=400, cached_tokens=50, completion_tokens=80, calls=4)
    assert (len(server.requests), set(server.formats)) == (5, {"json_schema"})
    heads = {json.dumps(request["messages"][:2]) for request in server.requests}
    assert len(heads) == 1
