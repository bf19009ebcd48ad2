"""`AgentOrchestrator`: what comes of one message of a conversation."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from planner.context import RequestIdentity
from planner.dialogue.acting import confirmed, quick_action
from planner.dialogue.answers import (
    answer_inputs,
    answer_plan,
    answer_question,
    may_hold_secrets,
    read_inputs,
    reply_of,
    take,
)
from planner.dialogue.chat import answer_in_words, what_i_do
from planner.dialogue.context_builder import PlanningContextBuilder
from planner.dialogue.goals import plan_goal
from planner.dialogue.intents import IntentRouter, RoutedIntent
from planner.dialogue.memory import DialogueMemory
from planner.dialogue.model_router import ModelRouter
from planner.dialogue.parts import ContextBuilder, Executor, Parts, Review, Turn
from planner.dialogue.quick_actions import QuickActionRegistry
from planner.dialogue.rules import RuleRouter
from planner.dialogue.running import Standing, attach, begun, look, tell
from planner.dialogue.state import SessionState
from planner.dialogue.turn import AgentTurnResult
from planner.dialogue.wording import abilities, cleaned
from planner.drafting import Usage
from planner.errors import UnstorableOutput
from planner.events import ExecutionEventCallback, PlanningEventCallback
from planner.node_planner import NodePlanner
from planner.service import PlannerService

WITHHELD = "(values given)"
"""Stands in the conversation for a message that may hold secrets."""

NOTHING_SAID = "Please say what you want to have done."


class AgentOrchestrator:
    """Turns each message of a user into an answer, a question, or a run.

    Args:
        router: Says what a message is; by default the model over rules, or rules alone without a model.
        context_builder: Gathers what a plan is asked for with; by default from memory and the session.
        planner: A `NodePlanner` or `PlannerService`; plans, and runs what is planned.
        executor: Runs plans in its place: anything with `async execute(plan, user_inputs=…)`. Its runs end with the
            process, and one that was interrupted is not repeated.
        quick_actions: Functions that a user calls by name.
        memory: Keeps sessions; by default in the planner's storage.
        review: Which plans are shown before they run: those with an `effect` other than `read`, all, or none. One that
            was only guessed from words is always shown.
        max_message: Characters of a message; a longer one is not read.
        patience: Seconds that a turn waits for a run; after them the run goes on, and a later turn or `catch_up` tells
            its end. By default as long as it takes.

    Raises:
        TypeError: `planner` is missing, or something else.
        ValueError: `review` is unknown, or a bound is not more than 0.
    """

    def __init__(  # noqa: PLR0913 - the seed's parts, and four options
        self,
        router: IntentRouter | None = None,
        context_builder: ContextBuilder | None = None,
        planner: NodePlanner | PlannerService | None = None,
        executor: Executor | None = None,
        quick_actions: QuickActionRegistry | None = None,
        *,
        memory: DialogueMemory | None = None,
        review: Review = "effects",
        max_message: int = 50_000,
        patience: float | None = None,
    ) -> None:
        if not isinstance(planner, NodePlanner | PlannerService):
            raise TypeError(
                f"planner is a NodePlanner or a PlannerService, not {type(planner).__name__}; give the one that "
                "open_planner() opens: AgentOrchestrator(planner=planner)"
            )
        if review not in ("always", "effects", "never"):
            raise ValueError(f"review is 'always', 'effects' or 'never', not {review!r}")
        for name, bound in (("max_message", max_message), ("patience", patience)):
            if bound is not None and bound <= 0:
                raise ValueError(f"{name} has to be more than 0, not {bound}")
        service = planner.service if isinstance(planner, NodePlanner) else planner
        quick_actions = QuickActionRegistry() if quick_actions is None else quick_actions
        memory = memory or DialogueMemory(service.sessions, llm=service.llm, skills=service.skills)
        self._rules = RuleRouter(quick_actions=quick_actions)
        self.router: IntentRouter = router or _default_router(service, self._rules, quick_actions, memory)
        self.memory = memory
        self.max_message = max_message
        self._parts = Parts(
            service=service,
            caller=planner.caller,
            memory=memory,
            context_builder=context_builder or PlanningContextBuilder(memory, use_values=service.llm is not None),
            executor=_own_executor(executor, service),
            quick_actions=quick_actions,
            review=review,
            patience=patience,
        )
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open(self, session_id: str | None = None, identity: RequestIdentity | None = None) -> SessionState:
        """Take up a session, in whichever process it was left, or begin it; without an id it is a new one.

        Raises:
            SessionNotFound: it is somebody else's.
        """
        return await self.memory.open(session_id or "", identity or self._parts.caller.identity)

    async def handle_turn(
        self,
        *,
        user_message: str,
        session_state: SessionState | None = None,
        values: Any = None,
        on_planning_event: PlanningEventCallback | None = None,
        on_execution_event: ExecutionEventCallback | None = None,
    ) -> AgentTurnResult:
        """Answer a message; what is open then is in `session_state`, which is changed in place and stored.

        Turns of one session follow one another. A turn whose process died is repeated with the same message: what it
        had started is not started again.

        Args:
            user_message: What the user wrote; may be empty when `values` are given.
            session_state: From `open`, or kept by the caller; without one, the message stands alone.
            values: What `question.form` of the last turn asks for, filled in; `True` or `False` for a plan.
            on_planning_event: Is told how the plan comes about.
            on_execution_event: Is told of each step of the run.

        Raises:
            TypeError: `user_message` is no text.
            SessionNotFound: the session is somebody else's.
        """
        if not isinstance(user_message, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers are not all typed
            raise TypeError(f"user_message is a str, not {type(user_message).__name__}")
        state = SessionState() if session_state is None else session_state
        async with self._taken_up(state):
            turn = Turn(
                parts=self._parts,
                state=state,
                message=cleaned(user_message[: self.max_message + 1]),
                values=values,
                on_planning_event=on_planning_event,
                on_execution_event=on_execution_event,
            )
            if len(user_message) > self.max_message:
                return await self._too_long(turn, len(user_message))
            return await self._answered(turn)

    async def catch_up(self, session_state: SessionState) -> AgentTurnResult | None:
        """Say what became of the run that the session had started: its end, what it asks, or that it goes on.

        Returns:
            `None` when there is no run whose end is still to be told.

        Raises:
            SessionNotFound: the session is somebody else's.
        """
        async with self._taken_up(session_state):
            turn = Turn(parts=self._parts, state=session_state, message="", mode="answer")
            standing = await look(turn)
            if standing is None:
                return None
            if standing.handle is None:
                await self.memory.save(session_state)
                pending = session_state.pending
                return None if pending is None or not pending.text else turn.asks(pending)
            asked = session_state.pending
            result = await tell(turn, standing)
            if standing.ended or session_state.pending != asked:
                return await self._said(turn, result)
            return result  # which was said before

    # ------------------------------------------------------------------------------------------------------- one turn

    @asynccontextmanager
    async def _taken_up(self, state: SessionState) -> AsyncGenerator[None]:
        """Hold the session, and bring the state up to what another turn may have stored meanwhile."""
        lock = self._locks.setdefault(state.session_id or f"object {id(state)}", asyncio.Lock())
        async with lock:
            if state.identity == RequestIdentity():
                state.identity = self._parts.caller.identity
            if state.session_id:
                stored = await self.memory.open(state.session_id, state.identity)
                if stored.messages > state.messages:
                    for name in type(state).model_fields:
                        setattr(state, name, getattr(stored, name))
            yield

    async def _too_long(self, turn: Turn, length: int) -> AgentTurnResult:
        await self.memory.say(turn.state, "user", f"(a message of {length:,} characters, which was not read)")
        told = f"That is {length:,} characters, and I read at most {self.max_message:,}: please send less, or a file."
        return await self._said(turn, turn.says(told, question=turn.state.pending))

    async def _answered(self, turn: Turn) -> AgentTurnResult:
        state = turn.state
        if not turn.message and turn.values is None:
            pending = state.pending
            return turn.says(NOTHING_SAID) if pending is None or not pending.text else turn.asks(pending)
        turn.confidential = may_hold_secrets(state.pending, turn.message, self._parts.service.catalog)
        shown = WITHHELD if turn.confidential or not turn.message else turn.message
        standing = await look(turn)
        again = standing is not None and await self._repeats(state, shown)
        if not again:
            await self.memory.say(state, "user", shown)
            await self.memory.save(state)
        result = await self._respond(turn, standing, again=again)
        if standing is not None and self._still_asks(turn, standing):
            turn.before = [result.message_to_user or ""]
            asked = await tell(turn, standing)
            result.message_to_user, result.question = asked.message_to_user, asked.question
        return await self._said(turn, result)

    def _still_asks(self, turn: Turn, standing: Standing) -> bool:
        """Tell whether a run needs its user, and nothing else was asked in this turn."""
        state, held = turn.state, self._parts.held.get(standing.id, {})
        needs = standing.waits or (not standing.ended and bool(standing.lacks(held)))
        return needs and state.pending is None and state.running == standing.id

    async def _repeats(self, state: SessionState, shown: str) -> bool:
        """Tell whether this message was said before, in a turn that did not come to an answer."""
        last = await self.memory.history(state.session_id, 1)
        return bool(last) and (last[-1]["role"], last[-1]["content"]) == ("user", shown)

    async def _respond(self, turn: Turn, standing: Standing | None, *, again: bool) -> AgentTurnResult:
        """Say what became of what was begun before, or do what the message says."""
        if standing is None:
            return await self._do(turn, await self._route(turn))
        if standing.lost and turn.answers_run(standing.id) and self._parts.executor is not None:
            turn.forget()
            turn.before.append("What was begun before was interrupted, and nothing is known of it.")
            return turn.says("Ask for it again if it is still to be done.")
        if again and begun(turn, standing):
            return await self._go_on(turn, standing)
        routed = await self._route(turn)
        if routed.mode == "answer" and begun(turn, standing):
            if routed.reply == "drop":
                turn.before.append("This was begun already.")
            return await self._go_on(turn, standing)
        if begun(turn, standing) and not standing.ended:
            turn.state.pending = None  # it was agreed to, and is running or about to be
            turn.before.append(f"What was begun before goes on (run {standing.id}).")
        if standing.ended:
            before, turn.before = turn.before, []
            turn.before = [*before, f"Meanwhile: {(await tell(turn, standing)).message_to_user}"]
        return await self._do(turn, routed)

    async def _go_on(self, turn: Turn, standing: Standing) -> AgentTurnResult:
        """Go on with the run that this message, or the same one before, has begun."""
        turn.mode, pending = "answer", turn.state.pending
        if pending is not None and pending.kind == "inputs" and not standing.ended:
            take(turn, pending, (await read_inputs(turn, pending)).values)  # those that are stored nowhere
        return await attach(turn, standing)

    async def _route(self, turn: Turn) -> RoutedIntent:
        routed = await self._intent(turn)
        turn.mode, used = routed.mode, routed.metadata.get("usage")
        turn.usage += used if isinstance(used, Usage) else Usage()
        if routed.mode == "answer" and turn.values is None:
            turn.values = routed.metadata.get("values")  # a yes or no that is the value
        return routed

    async def _intent(self, turn: Turn) -> RoutedIntent:
        pending = turn.state.pending
        if turn.values is not None and pending is not None:
            agreed = reply_of(turn.values) if pending.kind in ("plan", "confirm") else None
            if agreed is not None:
                turn.values = None
            return RoutedIntent(mode="answer", reply="values" if agreed is None else "approve" if agreed else "drop")
        if turn.values is not None:
            turn.values = None
            turn.before.append("Nothing was asked, so the values were not used.")
            if not turn.message:
                return RoutedIntent(mode="chat_only", metadata={"hint": NOTHING_SAID})
        if not turn.confidential:
            return await self.router.route(user_message=turn.message, session_state=turn.state)
        routed = await self._rules.route(user_message=turn.message, session_state=turn.state)
        return routed if routed.certain else RoutedIntent(mode="answer", reply="values")

    async def _do(self, turn: Turn, routed: RoutedIntent) -> AgentTurnResult:
        match routed.mode:
            case "answer":
                return await self._reply(turn, routed)
            case "quick_action":
                return await quick_action(turn, routed)
            case "plan_and_execute":
                turn.set_aside()
                return await plan_goal(turn, routed)
            case "chat_only":
                hint = routed.metadata.get("hint")
                kind = str(routed.metadata.get("small_talk", ""))
                return turn.says(str(hint)) if hint else await answer_in_words(turn, kind)
            case _:  # a router of the application's own may say anything
                return turn.says(f"I do not know what to do with {str(routed.mode)[:60]!r}.")

    async def _reply(self, turn: Turn, routed: RoutedIntent) -> AgentTurnResult:
        pending = turn.state.pending
        if pending is None:
            return turn.says(f"Nothing waits for an answer.\n{what_i_do(turn)}")
        dropped = routed.reply == "drop" and turn.values is None
        match pending.kind:
            case "run":
                return await answer_question(turn, pending, routed)
            case _ if dropped:
                turn.forget()
                what = "That is not done." if pending.kind == "confirm" else "The plan is dropped; nothing was done."
                return turn.says(what, plan=pending.plan)
            case "inputs":
                return await answer_inputs(turn, pending, routed)
            case "plan":
                return await answer_plan(turn, pending, routed)
            case "confirm":
                return await confirmed(turn, pending, routed.reply)

    async def _said(self, turn: Turn, result: AgentTurnResult) -> AgentTurnResult:
        """Store the answer and what is open now, then make the conversation short where it has become long."""
        state = turn.state
        run_id = result.execution.run_id if result.execution is not None else state.running
        facts: dict[str, Any] = {"mode": result.mode} | ({"run_id": run_id} if run_id else {})
        pending = state.pending
        result.question = pending if pending is not None and pending.text else None
        await self.memory.say(state, "assistant", result.message_to_user or "", facts)
        try:
            await self.memory.save(state)
        except UnstorableOutput as error:
            turn.forget()
            await self.memory.save(state)
            result.question = None
            result.message_to_user = f"I cannot keep what I would ask: {error}."
        done = await self.memory.compact(state)
        if done.summarised or done.left_out:
            await self.memory.save(state)
        result.usage = turn.usage + done.usage
        return result


def _own_executor(executor: Any, service: PlannerService) -> Executor | None:
    """Return what runs plans beside the planner; `None` where that is the planner itself."""
    if executor in (None, service, service.executor) or getattr(executor, "service", None) is service:
        return None
    if not callable(getattr(executor, "execute", None)):
        raise TypeError(
            f"executor has `async execute(plan, user_inputs=…)`, which a {type(executor).__name__} does not have; "
            "leave it out, and the planner runs the plans"
        )
    return executor


def _default_router(
    service: PlannerService, rules: RuleRouter, quick_actions: QuickActionRegistry, memory: DialogueMemory
) -> IntentRouter:
    """Return the model over the rules; it is told what everybody may have done."""
    if service.llm is None:
        return rules
    known = [spec for spec in service.catalog.iter_actions() if not spec.policy.roles]
    told = abilities(known) if known else ""
    return ModelRouter(service.llm, rules, quick_actions, service.skills, memory=memory, catalog_summary=told)
