"""Conversations of tests: a small travel agency that can be talked to, and what its model says."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from goalgraph import (
    ActionCatalog,
    ActionContext,
    AgentOrchestrator,
    AgentTurnResult,
    NodeContext,
    NodePlanner,
    PlannerService,
    RequestIdentity,
    ScriptedModel,
    SessionState,
    action,
)
from planner.drafting.scripted import Answer
from planner.execution import RunStores
from skills import SkillRegistry
from storage.sessions import MemoryStorage
from tests.support.run_services import BRISK

ADMIN = RequestIdentity(user_id="ann", roles=("admin",))


class Agency:
    """Actions that write down what they did."""

    def __init__(self) -> None:
        self.done: list[str] = []

    @property
    def actions(self) -> list[Any]:
        @action
        async def find_flight(destination: str, day: str = "any day", seats: int = 1) -> dict[str, Any]:
            """Find a flight to a city."""
            self.done.append(f"find {destination} {day} {seats}")
            return {"flight": f"LH-{destination}", "day": day}

        @action(effect="write", undo="cancel_flight")
        async def book_flight(flight: str) -> str:
            """Book a flight."""
            self.done.append(f"book {flight}")
            return f"booked {flight}"

        @action
        async def cancel_flight(flight: str) -> None:
            """Cancel a flight."""
            self.done.append(f"cancel {flight}")

        @action
        async def fail(after: str = "") -> str:
            """Do what never works."""
            raise RuntimeError("the printer burns")

        @action(effect="external", approval=True)
        async def pay(amount: float) -> str:
            """Pay an amount."""
            self.done.append(f"pay {amount:g}")
            return f"paid {amount:g}"

        @action
        async def log_in(user: str, password: str) -> str:
            """Log in to the booking site."""
            self.done.append(f"log in {user} {len(password)}")
            return f"{user} is in"

        @action
        async def choose_seat(ctx: ActionContext) -> str:
            """Choose a seat in the plane."""
            row = ctx.ask("Which row?", int)
            side = ctx.ask("Which side?", {"enum": ["left", "right"]})
            self.done.append(f"seat {row} {side}")
            return f"row {row}, {side}"

        @action(roles=["admin"], effect="write")
        async def delete_everything() -> str:
            """Delete all bookings of the agency."""
            self.done.append("delete")
            return "all gone"

        found = [find_flight, book_flight, cancel_flight, fail, pay, log_in, choose_seat, delete_everything]
        return sorted(found, key=lambda one: one.__name__ != "cancel_flight")


def step(action: str, name: str = "", **inputs: Any) -> dict[str, Any]:
    return {"id": name or action, "action": action, "inputs": inputs}


def a_plan(*steps: dict[str, Any], **outputs: Any) -> dict[str, Any]:
    return {"steps": list(steps), **({"outputs": outputs} if outputs else {})}


def says(intent: str, **more: Any) -> dict[str, Any]:
    """What a model says a message is."""
    return {"intent": intent, "quick_action": None, "argument": None, "goal": None, **more}


GOAL = says("goal")
FIND = a_plan(step("find_flight", destination="Oslo"), flight="${find_flight.result.flight}")
ASK = a_plan(step("find_flight", destination="${user.destination}", seats="${user.seats}"))
BOOK = a_plan(step("book_flight", flight="LH-1"))


class Talk:
    """One user's side of a conversation."""

    def __init__(
        self, service: PlannerService, agent: AgentOrchestrator, state: SessionState, model: ScriptedModel | None
    ) -> None:
        self.service = service
        self.agent = agent
        self.state = state
        self.model = model

    async def __call__(self, message: str = "", values: Any = None, **more: Any) -> AgentTurnResult:
        """Say something, and return the answer."""
        turn = await self.agent.handle_turn(user_message=message, session_state=self.state, values=values, **more)
        assert turn.message_to_user
        return turn

    @property
    def prompts(self) -> str:
        """Everything that the model was told."""
        return "\n".join(call.prompt for call in self.model.calls) if self.model else ""

    async def spoken(self) -> list[str]:
        """What was stored of the conversation."""
        return [message["content"] for message in await self.agent.memory.history(self.state.session_id, 100)]


@asynccontextmanager
async def talking(  # noqa: PLR0913 - what a conversation is over
    agency: Agency,
    *answers: Answer,
    sessions: Any = None,
    model: bool = True,
    session: str = "trip",
    identity: RequestIdentity | None = None,
    graph: str | None = None,
    actions: Sequence[object] = (),
    saver: Any = None,
    skills: SkillRegistry | None = None,
    stores: RunStores | None = None,
    **options: Any,
) -> AsyncIterator[Talk]:
    """Open a conversation over stores in memory; `answers` are the model's."""
    llm = ScriptedModel(answers) if model else None
    service = PlannerService(
        ActionCatalog([*agency.actions, *actions]),
        llm,
        checkpointer=saver or InMemorySaver(),
        sessions=sessions or MemoryStorage(),
        skills=skills,
        stores=stores,
        policy=BRISK if stores is not None else None,
    )
    try:
        planner = NodePlanner(service, NodeContext(identity=identity or RequestIdentity(), graph_id=graph))
        agent = AgentOrchestrator(planner=planner, **options)
        yield Talk(service, agent, await agent.open(session), llm)
        if llm is not None:
            assert len(llm.calls) == len(answers), f"{len(answers)} answers, {len(llm.calls)} calls"
    finally:
        await service.aclose()
