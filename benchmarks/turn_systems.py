"""The same turns in our orchestrator and in aethergraph's: a chat, a quick action, a plan of three steps."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.rows import Unmeasured
from benchmarks.systems import aethergraph_catalog, load
from benchmarks.three_steps import PLAN, catalog
from goalgraph import open_planner
from planner import NodePlanner, PlannerService
from planner.dialogue import (
    AgentOrchestrator,
    AgentTurnResult,
    DialogueMemory,
    QuickActionContext,
    QuickActionRegistry,
    QuickActionSpec,
    RuleRouter,
    SessionState,
)
from planner.drafting import Completion, Message
from planner.drafting.language_model import Schema
from planner.drafting.wire import to_wire
from planner.plan import CandidatePlan

CHAT, QUICK, PLANNED, ASKED = "chat", "quick action", "plan and run of 3 steps", "question, answer, run of 3 steps"
DIRECT = "plan and run without a dialogue"
OPENED = "taking up the session"
GREETING, COMMAND, GOAL, UNSAID, VALUE = "hello", "/time", "Count to three", "Count on from a start", "start: 4"

Way = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What one system can do; each raises when something else came of it."""

    begin: Way
    """Opens a new session."""
    turns: Mapping[str, Way]


class Instant:
    """A model that needs no time: it plans three steps, reads the value, and greets."""

    def __init__(self) -> None:
        document = PLAN.to_dict()
        document["steps"][0]["inputs"] = {"value": "${user.start}"}
        self.plans = to_wire(PLAN), to_wire(CandidatePlan.from_dict(document))

    async def complete(self, messages: Sequence[Message], schema: Schema | None = None) -> Completion:
        """Answer at once; see `LanguageModel`."""
        goal = messages[-1].content.rpartition("# Goal\n")[2]
        match schema:
            case Schema(name="plan"):
                return Completion(text="", parsed=self.plans[goal == UNSAID])
            case Schema(name="values"):
                return Completion(text="", parsed={"start": 4})
            case _:
                return Completion(text="Good morning!")


class Talk:
    """A conversation in which so many messages were said before."""

    def __init__(self, planner: NodePlanner, before: int) -> None:
        actions = QuickActionRegistry()
        actions.add(QuickActionSpec(id="time", description="Tell the time."), handler)
        self.planner = planner
        self.memory = DialogueMemory(planner.service.sessions, llm=planner.service.llm)
        self.agent = AgentOrchestrator(
            RuleRouter(quick_actions=actions), planner=planner, quick_actions=actions, memory=self.memory
        )
        self.before = before
        self.state = SessionState()

    async def begin(self) -> None:
        """Open a session, and fill it."""
        self.state = await self.agent.open(uuid4().hex)
        for number in range(0, self.before, 2):
            await self.memory.say(self.state, "user", f"What became of parcel {number} for {number % 89} Mill Lane?")
            await self.memory.say(
                self.state, "assistant", f"Parcel {number} weighs {number % 97} kg and is on its way."
            )
        await self.memory.save(self.state)

    async def turn(self, message: str, mode: str) -> AgentTurnResult:
        """Say something."""
        result = await self.agent.handle_turn(user_message=message, session_state=self.state)
        if result.mode != mode:
            raise Unmeasured(f"{message} was taken for {result.mode}: {result.message_to_user}")
        return result

    async def chat(self) -> None:
        """Greet."""
        await self.turn(GREETING, "chat_only")

    async def quick(self) -> None:
        """Call a function by its name."""
        check((await self.turn(COMMAND, "quick_action")).message_to_user)

    async def planned(self) -> None:
        """Plan and run."""
        check_run((await self.turn(GOAL, "plan_and_execute")).execution, 3)

    async def asked(self) -> None:
        """Plan, be asked for a value, and run."""
        if (await self.turn(UNSAID, "plan_and_execute")).question is None:
            raise Unmeasured("asked nothing")
        check_run((await self.turn(VALUE, "answer")).execution, 7)

    async def direct(self) -> None:
        """Plan and run the same without a dialogue."""
        check_run((await self.planner.plan_and_execute(goal=GOAL))[1], 3)

    async def opened(self) -> None:
        """Take up the session as another process does."""
        await self.agent.open(self.state.session_id)


async def handler(*, context: QuickActionContext) -> str:
    """Do next to nothing."""
    _ = context
    return "noon"


def check(text: str | None) -> None:
    """Raise unless the quick action was done."""
    if "noon" not in (text or ""):
        raise Unmeasured(f"said {text}")


def check_run(result: Any, count: int) -> None:
    """Raise unless a run came to what it had to."""
    if result is None or not result.ok or list(result.outputs.values()) != [count]:
        raise Unmeasured(f"not {count}")


@asynccontextmanager
async def goalgraph(before: int, *, stores: bool) -> AsyncGenerator[Ways]:
    """Give our turns, in the process alone or over both stores, in a session with `before` messages."""
    async with AsyncExitStack() as exits:
        if stores:
            opening = open_planner(catalog=catalog(), llm=Instant(), data_dir=Path.cwd() / "data")
            planner = await exits.enter_async_context(opening)
        else:
            planner = NodePlanner(PlannerService(catalog(), Instant()))
            exits.push_async_callback(planner.aclose)
        talk = Talk(planner, before)
        turns = {
            CHAT: talk.chat,
            QUICK: talk.quick,
            PLANNED: talk.planned,
            ASKED: talk.asked,
            DIRECT: talk.direct,
            OPENED: talk.opened,
        }
        yield Ways(begin=talk.begin, turns=turns)


@asynccontextmanager
async def aethergraph(before: int) -> AsyncGenerator[Ways]:
    """Give aethergraph's turns. It keeps no messages, and its router takes all for goals: a stub tells a command."""
    _ = before
    executor, plan = aethergraph_executor()
    contracts = load("contracts.services.planning")
    simple = load("services.planning.routers.simple_router").SimpleIntentRouter()

    class Router:
        async def route(self, *, user_message: str, session_state: Any) -> Any:
            if user_message == GOAL:
                return await simple.route(user_message=user_message, session_state=session_state)
            return contracts.RoutedIntent(mode="quick_action", quick_action_id="time")

    class Planner:
        async def plan_with_loop(self, context: Any) -> Any:
            _ = context
            return plan, []

    quick = load("services.planning.quick_actions")
    agent = load("services.planning.orchestrator").AgentOrchestrator(
        Router(),
        load("services.planning.planning_context_builder").SimplePlanningContextBuilder(),
        Planner(),
        executor,
        quick.QuickActionRegistry({"time": quick.QuickActionSpec("time", "Tell the time.")}, {"time": handler}),
    )
    state = contracts.SessionState()

    async def turn(message: str, mode: str) -> Any:
        result = await agent.handle_turn(user_message=message, session_state=state)
        if result.mode != mode:
            raise Unmeasured(f"{message} was taken for {result.mode}")
        return result

    async def command() -> None:
        check((await turn(COMMAND, "quick_action")).message_to_user)

    async def planned() -> None:
        check_run((await turn(GOAL, "plan_and_execute")).execution, 3)

    async def direct() -> None:
        check_run(await executor.execute(plan, user_inputs={}), 3)

    async def begin() -> None:
        """Nothing is kept."""

    yield Ways(begin=begin, turns={QUICK: command, PLANNED: planned, DIRECT: direct})


def aethergraph_executor() -> tuple[Any, Any]:
    """Return its executor, and the plan of three steps."""
    names = ("first", "second", "third")
    actions = aethergraph_catalog()
    as_action = load("core.graph.graph_fn").graph_fn
    for name in names:

        async def work(value: int) -> dict[str, int]:
            return {"result": value + 1}

        as_action(name, inputs=["value"], outputs=["result"])(work)
    plan = load("services.planning.plan_types").CandidatePlan.from_dict(PLAN.to_dict())
    for step, name in zip(plan.steps, names, strict=True):
        step.action_ref = f"graphfn:{name}@0.1.0"
    inner = load("services.planning.plan_executor").PlanExecutor(actions, run_manager=None)
    origin = load("core.runtime.run_types").RunOrigin.app

    class Executor:
        """Says whence a run comes, which its orchestrator does not: the default does not exist (A1 of seeds.md)."""

        async def execute(self, plan: Any, *, user_inputs: Any) -> Any:
            return await inner.execute(plan, user_inputs=user_inputs, origin=origin)

    return Executor(), plan


NO_STORE, STORES, PEER = "no store", "both stores", "aethergraph"
SYSTEMS: dict[str, Callable[[int], AbstractAsyncContextManager[Ways]]] = {
    NO_STORE: partial(goalgraph, stores=False),
    STORES: partial(goalgraph, stores=True),
    PEER: aethergraph,
}
