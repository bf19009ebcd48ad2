"""One message and what comes of it: an answer in words, a quick action, or a plan that is run."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from goalgraph import (
    ActionCatalog,
    AgentOrchestrator,
    PlannerService,
    PlanningContext,
    QuickActionContext,
    QuickActionRegistry,
    QuickActionSpec,
    RequestIdentity,
    RoutedIntent,
    SessionState,
    action,
)
from planner.errors import ModelUnavailable, SessionNotFound
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan
from skills import SkillRegistry
from storage.sessions import MemoryStorage
from tests.support.conversations import ADMIN, ASK, FIND, GOAL, Agency, a_plan, says, step, talking
from tests.support.running import loop_turn


@pytest.fixture
def agency() -> Agency:
    return Agency()


# ------------------------------------------------------------------------------------------------------------- words


async def test_a_message_that_asks_for_nothing_is_answered_by_the_model(agency: Agency) -> None:
    """It is told what was said before, how to answer, and what can be done."""
    async with talking(agency, "Fine!", says("chat"), "You had asked how I am.") as say:
        first = await say("hello")
        second = await say("What did I say to you just before this?")

    assert ("chat_only", "Fine!") == (first.mode, first.message_to_user)
    assert "You had asked how I am." == second.message_to_user
    assert say.model is not None
    told = say.model.calls[-1].messages
    assert ["system", "user", "assistant", "user"] == [one.role for one in told]
    assert ["hello", "Fine!", "What did I say to you just before this?"] == [one.content for one in told[1:]]
    assert "You answer the newest message of a conversation in words" in told[0].content
    assert "book_flight(flight: str)" in told[0].content
    assert "delete_everything" not in told[0].content
    assert (1, 2) == (first.usage.calls, second.usage.calls)


async def test_what_was_summarised_and_what_runs_gave_is_data_for_the_model(agency: Agency) -> None:
    async with talking(agency, GOAL, FIND, "Yes, LH-Oslo.") as say:
        await say("find a flight to Oslo for me")
        say.state.summary = "Ann likes </data> trains."
        await say.agent.memory.save(say.state)
        await say("thanks")

    assert say.model is not None
    head = say.model.calls[-1].messages[0].content
    assert '<data name="summary">\nAnn likes \\u003c/data> trains.\n</data>' in head
    assert "LH-Oslo" in head.partition('<data name="results">')[2]


async def test_of_many_actions_those_are_told_that_a_message_is_about(agency: Agency) -> None:
    def made(number: int) -> Any:
        async def work(value: int) -> int:
            return value

        work.__name__, work.__doc__ = f"fold_napkin_{number}", f"Fold a napkin in way {number}."
        return action(work)

    async with talking(agency, says("chat"), "No.", actions=[made(number) for number in range(60)]) as say:
        await say("Is it at all possible to book a flight, what do you think")

    assert say.model is not None
    head = say.model.calls[-1].messages[0].content
    assert "book_flight(flight: str)" in head
    assert head.count("fold_napkin_") <= 29


async def test_the_instruction_of_answers_can_be_replaced(agency: Agency) -> None:
    skills = SkillRegistry()
    skills.register_inline(
        id="chat-answers", title="Ours", description="How we talk.", sections={"body": "Answer in verse."}
    )
    async with talking(agency, "Roses are red.", skills=skills) as say:
        await say("hello")

    assert "Answer in verse." in say.prompts


async def test_without_a_model_a_plain_sentence_says_what_can_be_done(agency: Agency) -> None:
    async with talking(agency, model=False) as say:
        turn = await say("what can you do?")

    assert "chat_only" == turn.mode
    assert "- Book a flight (book_flight)" in (turn.message_to_user or "")
    assert "delete_everything" not in (turn.message_to_user or "")


@pytest.mark.parametrize(("said", "told"), [("thanks!", "You are welcome."), ("how are you?", "All is well here.")])
async def test_small_talk_is_answered_shortly_without_a_model(agency: Agency, said: str, told: str) -> None:
    """And not with all that can be done."""
    async with talking(agency, model=False) as say:
        turn = await say(said)

    assert (turn.message_to_user or "").startswith(told)
    assert "book_flight" not in (turn.message_to_user or "")


async def test_a_model_that_fails_gives_a_sentence_with_the_reason(agency: Agency) -> None:
    async with talking(agency, ModelUnavailable("the line is dead")) as say:
        turn = await say("hello")

    assert "I cannot answer that now: the line is dead." in (turn.message_to_user or "")


async def test_what_a_router_makes_up_is_answered_with_a_sentence(agency: Agency) -> None:
    class Odd:
        async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
            return RoutedIntent(mode="dance")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # on purpose

    async with talking(agency, router=Odd()) as say:
        assert "I do not know what to do with 'dance'." == (await say("hello")).message_to_user


# ----------------------------------------------------------------------------------------------------- quick actions


def quick(**handlers: Any) -> QuickActionRegistry:
    specs = [QuickActionSpec(name, f"Do {name}.", name.startswith("sure")) for name in handlers]
    return QuickActionRegistry({spec.id: spec for spec in specs}, handlers)


async def test_a_quick_action_is_called_by_its_name(agency: Agency) -> None:
    given: list[QuickActionContext] = []

    async def status(*, context: QuickActionContext) -> str:
        given.append(context)
        return "all is well"

    async with talking(agency, model=False, quick_actions=quick(status=status), identity=ADMIN) as say:
        turn = await say("/status of Oslo")

    assert ("quick_action", "all is well") == (turn.mode, turn.message_to_user)
    (context,) = given
    assert ("of Oslo", ADMIN) == (context.argument, context.identity)
    assert context.planner is not None
    assert ("trip", ADMIN) == (context.planner.caller.session_id, context.planner.caller.identity)


async def test_a_quick_action_that_has_to_be_confirmed_is_done_after_a_yes_only(agency: Agency) -> None:
    calls: list[str] = []

    async def sure_reset(*, context: QuickActionContext) -> None:
        calls.append(context.argument)

    async with talking(agency, model=False, quick_actions=quick(sure_reset=sure_reset)) as say:
        asked = await say("/sure_reset now")
        assert asked.question is not None
        assert ("confirm", []) == (asked.question.kind, calls)
        assert "That is not done." == (await say("no")).message_to_user
        await say("/sure_reset now")
        assert ("Done.", ["now"]) == ((await say("yes")).message_to_user, calls)
        assert "Nothing waits for an answer" in ((await say("yes")).message_to_user or "")

    assert ["now"] == calls


async def test_what_was_agreed_to_is_noted_as_begun_before_it_is_done(agency: Agency) -> None:
    """Should the process die in it, a repeated yes is told so, and does not do it again."""
    found: list[Any] = []

    async def sure_reset(*, context: QuickActionContext) -> None:
        stored = await say.agent.open("trip")
        found.append(stored.pending is not None and stored.running == [stored.pending.run_id])

    async with talking(agency, model=False, quick_actions=quick(sure_reset=sure_reset)) as say:
        await say("/sure_reset")
        await say("yes")

    assert ([True], None, []) == (found, say.state.pending, say.state.running)


async def test_what_a_quick_action_raises_becomes_a_sentence(agency: Agency) -> None:
    async def broken(*, context: QuickActionContext) -> None:
        raise RuntimeError("no paper")

    async with talking(agency, model=False, quick_actions=quick(broken=broken)) as say:
        assert "broken did not work: RuntimeError: no paper" == (await say("/broken")).message_to_user


async def test_an_unknown_quick_action_is_told_with_the_closest(agency: Agency) -> None:
    class Router:
        async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
            return RoutedIntent(mode="quick_action", quick_action_id="statsu")

    async with talking(agency, router=Router(), quick_actions=quick(status=print)) as say:
        assert "There is no quick action 'statsu'; the closest: status." == (await say("x")).message_to_user


async def test_an_action_of_the_catalog_is_a_quick_action_whose_inputs_are_asked(agency: Agency) -> None:
    """What stands behind the name fills its inputs; approval and roles are those of the action."""
    known = [
        QuickActionSpec("fly", "Find a flight.", action_ref="action:find_flight@latest"),
        QuickActionSpec("wipe", "Delete.", action_ref="delete_everything"),
        QuickActionSpec("pay", "Pay.", requires_confirmation=True, action_ref="pay"),
    ]
    registry = QuickActionRegistry({spec.id: spec for spec in known})
    async with talking(agency, model=False, quick_actions=registry) as say:
        found = await say("/fly Oslo")
        asked = await say("/fly")
        answered = await say("Rome")
        refused = await say("/wipe")
        await say("/pay 12")
        agreed = await say("yes")
        paid = await say("yes")

    assert (True, "inputs", True) == (found.execution and found.execution.ok, asked.question and asked.question.kind,
                                      answered.execution and answered.execution.ok)  # fmt: skip
    assert "may be called by the roles admin only" in (refused.message_to_user or "")
    assert ("run", "Done: paid 12") == (agreed.question and agreed.question.kind, paid.message_to_user)
    assert ["find Oslo any day 1", "find Rome any day 1", "pay 12"] == agency.done


# --------------------------------------------------------------------------------------------------- plan and execute


async def test_a_plan_that_only_reads_is_run_at_once(agency: Agency) -> None:
    phases: list[str] = []
    async with talking(agency, GOAL, FIND) as say:
        turn = await say(
            "find a flight to Oslo",
            on_planning_event=lambda event: phases.append(event.phase),
            on_execution_event=lambda event: phases.append(event.phase),
        )
        run = (await say.service.runs())[0]

    assert turn.execution is not None
    assert turn.plan is not None
    assert ("plan_and_execute", True, "trip", "chat") == (turn.mode, turn.execution.ok, run.session_id, run.origin)
    assert "Done. flight: LH-Oslo" == turn.message_to_user
    assert {"start", "llm_request", "step_success", "success"} <= set(phases)
    assert (None, []) == (say.state.pending, say.state.running)
    assert 2 == turn.usage.calls


async def test_the_result_of_a_run_is_known_to_later_plans(agency: Agency) -> None:
    """As an artifact in the prompt, and as a value that a plan may bind."""
    uses = a_plan(step("find_flight", destination="${user.flight}"))
    async with talking(agency, GOAL, FIND, GOAL, uses) as say:
        await say("find a flight to Oslo for me")
        turn = await say("now find one for the flight that you found")

    assert "LH-Oslo" in say.model.calls[-1].prompt if say.model else False
    assert (["find Oslo any day 1", "find LH-Oslo any day 1"], True) == (agency.done, turn.execution is not None)


async def test_a_failure_says_which_step_failed_why_and_what_was_undone(agency: Agency) -> None:
    plan = a_plan(step("book_flight", flight="LH-1"), step("fail", after="${book_flight}"))
    async with talking(agency, GOAL, plan, review="never") as say:
        turn = await say("book it and print it")

    assert turn.execution is not None
    text = turn.message_to_user or ""
    assert "'fail' (Do what never works) failed with RuntimeError: the printer burns" in text
    assert "Undone: 'book_flight' (Book a flight)." in text
    assert (["book LH-1", "cancel LH-1"], []) == (agency.done, say.state.running)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([ModelUnavailable("the line is dead")] * 4, "The language model does not answer, so there is no plan"),
        ([GOAL, *[a_plan(step("teleport"))] * 3], "I have nothing that does this. I can:\n"),
        ([GOAL, *["?"] * 3], "The language model wrote no plan for this that I can read."),
    ],
    ids=["unavailable", "unknown", "nonsense"],
)
async def test_without_a_plan_a_sentence_says_why(agency: Agency, answers: list[Any], told: str) -> None:
    async with talking(agency, *answers) as say:
        turn = await say("bring me to the moon with it")

    assert (turn.message_to_user or "").startswith(told)
    assert (None, None) == (turn.plan, turn.execution)
    assert turn.planning is not None


async def test_a_draft_whose_tokens_are_used_up_is_told(agency: Agency) -> None:
    class Builder:
        def build(self, *, user_message: str, routed: RoutedIntent, session_state: Any) -> PlanningContext:
            return PlanningContext(goal=user_message, max_tokens=10)

    async with talking(agency, GOAL, a_plan(step("teleport")), context_builder=Builder()) as say:
        turn = await say("bring me to the moon with it")

    assert "the tokens allowed for this draft are used up. Raise max_tokens." in (turn.message_to_user or "")


@pytest.mark.parametrize("review", ["always", "never"])
async def test_a_plan_that_cannot_be_stored_is_not_run(
    agency: Agency, monkeypatch: pytest.MonkeyPatch, review: Any
) -> None:
    class Router:
        async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
            return RoutedIntent(mode="plan_and_execute")

    large = CandidatePlan.from_dict(a_plan(step("find_flight", destination="Oslo")))
    async with talking(agency, large, router=Router(), review=review) as say:
        drafter = say.service._drafter  # a model cannot say such a plan
        drafted = drafter.draft

        async def odd(*given: Any) -> Any:
            return replace(await drafted(*given), plan=large.model_copy(update={"extras": {"size": 2**70}}))

        monkeypatch.setattr(drafter, "draft", odd)
        turn = await say("find a flight")

    assert ([], None, []) == (agency.done, say.state.pending, say.state.running)
    assert "64 bits" in (turn.message_to_user or "")


async def test_without_a_model_a_goal_that_nothing_serves_is_told_with_what_can_be_done(agency: Agency) -> None:
    async with talking(agency, model=False) as say:
        assert "I have nothing that does this. I can:" in ((await say("zyzzyva")).message_to_user or "")


async def test_the_groups_of_actions_that_a_router_chose_are_those_of_the_session(agency: Agency) -> None:
    class Router:
        async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
            return RoutedIntent(mode="plan_and_execute", flow_ids=["travel"])

    async with talking(agency, FIND, router=Router()) as say:
        await say("find")

    assert ["travel"] == say.state.last_flow_ids


async def test_a_plan_is_made_and_run_for_the_user_of_the_session(agency: Agency) -> None:
    wipe = a_plan(step("delete_everything"))
    async with talking(agency, GOAL, wipe, review="never", identity=ADMIN) as say:
        assert "Done: all gone" == (await say("delete all of it")).message_to_user


async def test_a_flow_that_talks_does_not_plan_itself(agency: Agency) -> None:
    plan = a_plan(step("book_flight", flight="LH-1"))
    async with talking(agency, GOAL, *[plan] * 3, graph="book_flight", identity=ADMIN) as say:
        turn = await say("book the flight LH-1")

    assert "book_flight must not be used in this plan" in (turn.message_to_user or "")


async def test_a_builder_of_the_application_cannot_speak_for_somebody_else(agency: Agency) -> None:
    class Builder:
        async def build(self, *, user_message: str, routed: RoutedIntent, session_state: Any) -> PlanningContext:
            return PlanningContext(goal=user_message, identity=ADMIN)

    async with talking(agency, GOAL, *[a_plan(step("delete_everything"))] * 3, context_builder=Builder()) as say:
        turn = await say("delete all of it now")

    assert ([], True) == (agency.done, "I may not do that for you" in (turn.message_to_user or ""))


async def test_another_executor_may_run_the_plans(agency: Agency) -> None:
    """It has aethergraph's one method."""
    given: list[Any] = []

    class Executor:
        async def execute(self, plan: CandidatePlan, *, user_inputs: Any) -> ExecutionResult:
            given.append((plan.steps[0].action, dict(user_inputs)))
            return ExecutionResult(ok=True, outputs={"result": 7})

    async with talking(
        agency, GOAL, ASK, says("answer"), {"destination": "Oslo", "seats": 2}, executor=Executor()
    ) as say:
        await say("find a flight for us all")
        turn = await say("Oslo, and we are two people this time")

    assert ("Done: 7", [("find_flight", {"destination": "Oslo", "seats": 2})]) == (turn.message_to_user, given)
    assert ([], []) == (say.state.running, agency.done)


# ------------------------------------------------------------------------------------------------------------ sessions


async def test_a_session_goes_on_with_what_was_said_and_asked(agency: Agency) -> None:
    sessions = MemoryStorage()
    async with talking(agency, GOAL, ASK, sessions=sessions) as say:
        await say("find me a flight somewhere")
    async with talking(agency, sessions=sessions) as later:
        assert later.state.pending is not None
        turn = await later("", {"destination": "Oslo", "seats": 3})

    assert ('Done.\n- flight: "LH-Oslo"\n- day: "any day"', ["find Oslo any day 3"]) == (
        turn.message_to_user,
        agency.done,
    )
    assert ["find me a flight somewhere", "(values given)"] == (await later.spoken())[::2]


async def test_a_session_of_somebody_else_is_not_there(agency: Agency) -> None:
    sessions = MemoryStorage()
    async with talking(agency, model=False, sessions=sessions) as say:
        await say("hello")
        with pytest.raises(SessionNotFound, match="trip"):
            await say.agent.open("trip", RequestIdentity(user_id="eve"))
        forged = SessionState(session_id="trip", identity=RequestIdentity(user_id="local", org_id="other"))
        for call in (say.agent.catch_up(forged), say.agent.handle_turn(user_message="hi", session_state=forged)):
            with pytest.raises(SessionNotFound):
                await call

    assert 2 == len(await say.spoken())


async def test_the_turns_of_a_session_follow_one_another(agency: Agency) -> None:
    """And each knows what the one before left, also with a state of its own."""
    working: list[str] = []

    async def slow(*, context: QuickActionContext) -> None:
        working.append("begin")
        await loop_turn()
        working.append("end")

    async with talking(agency, model=False, quick_actions=quick(slow=slow)) as say:
        other = await say.agent.open("trip")
        await asyncio.gather(
            say("/slow"), say.agent.handle_turn(user_message="/slow", session_state=other), say("/slow")
        )

    assert ["begin", "end"] * 3 == working
    assert 6 == len(await say.spoken())


async def test_without_a_session_a_message_stands_alone(agency: Agency) -> None:
    async with talking(agency, GOAL, FIND) as say:
        turn = await say.agent.handle_turn(user_message="find a flight to Oslo")

    assert turn.execution is not None
    assert (True, []) == (turn.execution.ok, await say.spoken())


async def test_a_state_that_says_nothing_of_its_user_is_of_the_planners(agency: Agency) -> None:
    state = SessionState()
    async with talking(agency, GOAL, a_plan(step("delete_everything")), review="never", identity=ADMIN) as say:
        await say.agent.handle_turn(user_message="delete all of it", session_state=state)

    assert (ADMIN, ["delete"]) == (state.identity, agency.done)


async def test_a_long_conversation_is_made_short(agency: Agency) -> None:
    async with talking(agency, model=False) as say:
        for _ in range(3):
            await say(f"hello {'word ' * 4000}")

    history = await say.agent.memory.history("trip", 10)
    assert (6, True) == (len(history), say.state.summarised_until in [one["created_at"] for one in history[:-1]])


def test_a_planner_is_needed() -> None:
    with pytest.raises(TypeError, match=r"AgentOrchestrator\(planner=planner\)"):
        AgentOrchestrator()


@pytest.mark.parametrize("option", [{"review": "sometimes"}, {"max_message": 0}, {"patience": -1}], ids=str)
def test_options_that_mean_nothing_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        AgentOrchestrator(planner=PlannerService(ActionCatalog()), **option)
