"""`AgentOrchestrator`: what comes of one message of a conversation."""

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from planner.context import RequestIdentity
from planner.dialogue.acting import confirmed, quick_action
from planner.dialogue.answers import (
    answer_inputs,
    answer_plan,
    answer_question,
    read_inputs,
    reply_of,
    take,
    withhold,
)
from planner.dialogue.chat import answer_in_words, summary, what_i_do
from planner.dialogue.context_builder import PlanningContextBuilder
from planner.dialogue.earlier import asked_again, interrupted, is_news, is_repeated, where_all_are
from planner.dialogue.goals import plan_goal
from planner.dialogue.intents import IntentRouter, RoutedIntent
from planner.dialogue.memory import DialogueMemory
from planner.dialogue.model_router import ModelRouter
from planner.dialogue.parts import (
    ContextBuilder,
    Executor,
    NoContext,
    Parts,
    Review,
    check_kind,
    check_parts,
    no_planner,
    own_executor,
)
from planner.dialogue.quick_actions import QuickActionRegistry
from planner.dialogue.rules import RuleRouter
from planner.dialogue.running import UNSEEN, Standing, attach, begun, drop, look, tell
from planner.dialogue.state import SessionState
from planner.dialogue.stored import to_stored
from planner.dialogue.turn import AgentTurnResult, Turn
from planner.dialogue.wording import cleaned, cut
from planner.drafting import Usage
from planner.errors import UnstorableOutput
from planner.events import ExecutionEventCallback, PlanningEventCallback
from planner.node_planner import NodePlanner
from planner.service import PlannerService

logger = logging.getLogger("goalgraph")

ANSWERED = "That was answered already, so it was not used."
CHANGED = "What you answered was answered already, or has changed meanwhile, so I did nothing. What I ask now:"
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
        stale_after: A plan that was shown longer ago is shown once more when its user agrees to it.
        patience: Seconds that a turn waits for a run; after them the run goes on, and a later turn or `catch_up` tells
            its end. By default as long as it takes.

    Raises:
        TypeError: `planner` is missing, or a part is something else; the message says what to give.
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
        stale_after: timedelta = timedelta(days=1),
    ) -> None:
        if not isinstance(planner, NodePlanner | PlannerService):
            raise TypeError(no_planner(planner))
        check_parts(router, context_builder, quick_actions, memory)
        if review not in ("always", "effects", "never"):
            raise ValueError(f"review is 'always', 'effects' or 'never', not {review!r}")
        seconds = stale_after.total_seconds()
        for name, bound in (("max_message", max_message), ("patience", patience), ("stale_after", seconds)):
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
            executor=own_executor(executor, service),
            quick_actions=quick_actions,
            review=review,
            patience=patience,
            stale_after=stale_after,
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
        question_id: str | None = None,
        on_planning_event: PlanningEventCallback | None = None,
        on_execution_event: ExecutionEventCallback | None = None,
    ) -> AgentTurnResult:
        """Answer a message; what is open then is in `session_state`, which is changed in place and stored.

        Turns of one session follow one another, and each begins with the state as it is stored: what an application
        changes in a state, it saves with `memory.save`. An answer counts for the question that its user saw, which is
        the one in `session_state`; when another one is open by then, that one is put, and nothing is done.

        A turn whose process died before it had stored what it did is repeated with the same message: a run that it had
        started is not started again. Of a quick action's handler, and of an executor of one's own, it is only told that
        they were begun. Where all was stored, the answer is the last message of the history, and the same message asks
        for the same once more.

        Args:
            user_message: What the user wrote; may be empty when `values` are given.
            session_state: From `open`, or kept by the caller; without one, the message stands alone.
            values: What `question.form` of the last turn asks for, filled in; `True` or `False` for a plan.
            question_id: The `id` of the question that the user saw, for whoever opens the state anew for each message,
                as a web server does.
            on_planning_event: Is told how the plan comes about.
            on_execution_event: Is told of each step of the run.

        Raises:
            TypeError: `user_message` is no text, or `session_state` no state.
            SessionNotFound: the session is somebody else's.
        """
        if not isinstance(user_message, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers are not all typed
            raise TypeError(f"user_message is a str, not {type(user_message).__name__}")
        state = SessionState() if session_state is None else session_state
        check_kind("session_state", state, SessionState, "take the one that open() gives")
        seen = state.pending
        async with self._taken_up(state) as base:
            turn = Turn(
                parts=self._parts,
                state=state,
                message=cleaned(user_message[: self.max_message + 1]),
                base=base,
                seen=question_id or (seen.id if seen is not None else ""),
                surely_seen=question_id is not None or (seen is not None and seen.id in self._parts.put),
                values=values,
                on_planning_event=on_planning_event,
                on_execution_event=on_execution_event,
            )
            if len(user_message) > self.max_message:
                return await self._too_long(turn, len(user_message))
            return await self._answered(turn)

    async def catch_up(self, session_state: SessionState) -> AgentTurnResult | None:
        """Say what became of the runs that the session had started: how they ended, what they ask, or that they go on.

        Returns:
            `None` when there is no run whose end is still to be told. What is open is in `session_state.pending`, and
            is taken to be shown to the user now.

        Raises:
            SessionNotFound: the session is somebody else's.
        """
        check_kind("session_state", session_state, SessionState, "take the one that open() gives")
        async with self._taken_up(session_state) as base:
            turn = Turn(parts=self._parts, state=session_state, message="", base=base, mode="answer")
            result = await where_all_are(turn, await look(turn))
            if result is not None and is_news(turn):
                return await self._said(turn, result)
            if (pending := session_state.pending) is not None:
                session_state.pending = turn.seen_now(pending)
            await turn.save()
            return result  # which was said before

    # ------------------------------------------------------------------------------------------------------- one turn

    @asynccontextmanager
    async def _taken_up(self, state: SessionState) -> AsyncGenerator[dict[str, Any]]:
        """Hold the session, and give `state` what is stored; a turn that fails leaves it with the question that it had.

        Yields:
            The state as it is stored, by `to_stored`; nothing without a session.
        """
        seen = state.pending
        lock = self._locks.setdefault(state.session_id or f"object {id(state)}", asyncio.Lock())
        async with lock:
            if state.identity == RequestIdentity():
                state.identity = self._parts.caller.identity
            if not state.session_id:
                yield {}
                return
            try:
                stored = await self.memory.open(state.session_id, state.identity)
                for name in type(state).model_fields:
                    setattr(state, name, getattr(stored, name))
                yield to_stored(state)
            except BaseException:  # also when it was cancelled: its caller still shows that question
                state.pending = seen
                raise

    async def _too_long(self, turn: Turn, length: int) -> AgentTurnResult:
        await self.memory.say(turn.state, "user", f"(a message of {length:,} characters, which was not read)")
        told = f"That is {length:,} characters, and I read at most {self.max_message:,}: please send less, or a file."
        return await self._said(turn, turn.says(told, question=turn.state.pending))

    async def _answered(self, turn: Turn) -> AgentTurnResult:
        state = turn.state
        if not turn.message and turn.values is None:
            pending = state.pending
            if pending is None or not pending.text:
                return turn.says(NOTHING_SAID)
            return turn.says(pending.text, question=pending, plan=pending.plan)
        shown = withhold(turn)
        standings = await look(turn)
        again = await is_repeated(turn, shown)
        if not again:
            await self.memory.say(state, "user", shown)
        try:
            result = await self._respond(turn, standings, again=again)
        except NoContext as error:
            logger.warning("the context builder failed", exc_info=True)
            result = turn.says(f"I could not gather what I need to plan this: {cut(str(error), 300)}.")
        for standing in reversed(standings):
            if state.pending is None and standing.id in state.running and not standing.ended:
                result = await asked_again(turn, await standing.refreshed(), result)
        return await self._said(turn, result)

    async def _respond(self, turn: Turn, standings: Sequence[Standing], *, again: bool) -> AgentTurnResult:
        """Say what became of what was begun before, or do what the message says."""
        mine = next((one for one in standings if begun(turn, one)), None)
        if again and mine is not None:
            return await self._go_on(turn, mine)
        routed, pending = await self._route(turn), turn.state.pending
        answers = routed.mode == "answer"
        if interrupted(turn):
            if answers:
                return turn.says(UNSEEN)
        elif mine is not None and answers:
            if routed.reply == "drop":
                turn.before.append("This was begun already.")
            return await self._go_on(turn, mine)
        elif mine is not None and not mine.ended:
            turn.state.pending = None  # it was agreed to, and is running or about to be
            turn.before.append(f"What was begun before goes on (run {mine.id}).")
        elif pending is not None and answers and (turn.unseen or turn.seen != pending.id):
            turn.before.append("I had asked this meanwhile:" if turn.unseen else CHANGED)
            return turn.asks(pending)
        for standing in standings:
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
            turn.before.append(ANSWERED if turn.seen else "Nothing was asked, so the values were not used.")
            if not turn.message:
                return RoutedIntent(mode="chat_only", metadata={"hint": NOTHING_SAID})
        if turn.confidential:
            routed = await self._rules.route(user_message=turn.message, session_state=turn.state)
            return routed if routed.certain else RoutedIntent(mode="answer", reply="values")
        try:
            found: Any = self.router.route(user_message=turn.message, session_state=turn.state)
            routed = await found if inspect.isawaitable(found) else found
        except Exception:  # a router of the application may raise anything
            logger.warning("the router failed, so the rules say what a message is", exc_info=True)
            routed = None
        if not isinstance(routed, RoutedIntent):
            logger.warning("the router gave a %s, and no RoutedIntent", type(routed).__name__)
            return await self._rules.route(user_message=turn.message, session_state=turn.state)
        return routed

    async def _do(self, turn: Turn, routed: RoutedIntent) -> AgentTurnResult:
        match routed.mode:
            case "answer":
                return await self._reply(turn, routed)
            case "quick_action":
                return await quick_action(turn, routed)
            case "plan_and_execute":
                await self._compact(turn)
                return await plan_goal(turn, routed)
            case "chat_only":
                await self._compact(turn)
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
        turn.answered = pending.id
        match pending.kind:
            case "run":
                return await answer_question(turn, pending, routed)
            case _ if dropped:
                return await drop(turn, pending)
            case "inputs":
                return await answer_inputs(turn, pending, routed)
            case "plan":
                return await answer_plan(turn, pending, routed)
            case "confirm":
                return await confirmed(turn, pending, routed.reply)

    async def _said(self, turn: Turn, result: AgentTurnResult) -> AgentTurnResult:
        """Store the answer and what is open now."""
        state = turn.state
        try:
            to_stored(state)
        except UnstorableOutput as error:
            turn.forget()
            result.message_to_user = f"I cannot keep what I would ask: {error}."
        pending = state.pending
        run_id = result.execution.run_id if result.execution is not None else next(reversed(state.running), None)
        facts = {"mode": result.mode, "run_id": run_id, "question": pending.id if pending is not None else None}
        facts = {name: value for name, value in facts.items() if value}
        await self.memory.say(state, "assistant", result.message_to_user or "", facts)
        await turn.save()
        result.question = state.pending if state.pending is not None and state.pending.text else None
        result.usage = turn.usage
        return result

    async def _compact(self, turn: Turn) -> None:
        """Make a long conversation short before a model reads it; what fails there is a line in the log."""
        try:
            turn.usage += (await self.memory.compact(turn.state)).usage
        except Exception:  # whatever a store or a model raises, the turn goes on with what there is
            logger.warning("the conversation was not made short", exc_info=True)


def _default_router(
    service: PlannerService, rules: RuleRouter, quick_actions: QuickActionRegistry, memory: DialogueMemory
) -> IntentRouter:
    """Return the model over the rules; it is told what everybody may have done."""
    if service.llm is None:
        return rules
    told = partial(summary, service.catalog)  # what is added to the catalog later is in it
    return ModelRouter(service.llm, rules, quick_actions, service.skills, memory=memory, catalog_summary=told)
