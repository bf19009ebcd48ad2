"""`goalgraph chat`: a conversation on the terminal, or over lines, that can be left and taken up again."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from secrets import token_hex
from typing import Any

from rich.text import Text

from goalgraph.cli.chat_actions import LEAVE, SAY, chat_actions
from goalgraph.cli.chat_input import Typed, reading
from goalgraph.cli.chat_run import TurnRun
from goalgraph.cli.chat_view import asks, show_answer, show_history, show_question, show_turn, turn_document
from goalgraph.cli.console import lines_apart, people
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.keyboard import Interrupted, Keyboard
from goalgraph.cli.planning import event_words
from goalgraph.cli.request import Request, opened
from goalgraph.cli.runs import Where
from goalgraph.cli.stopping import terminated
from planner.context import NodeContext
from planner.dialogue import AgentOrchestrator, AgentTurnResult, DialogueMemory, SessionState
from planner.dialogue.parts import Review
from planner.dialogue.quick_actions import BUILT_IN
from planner.dialogue.rules import command_of
from planner.errors import PlannerError, SessionNotFound
from planner.events import PlanningEvent
from planner.node_planner import NodePlanner
from planner.runs.access import open_questions

LEAVING = frozenset({LEAVE, "exit"})
REMEMBERED = 4
"""Messages that are shown when a conversation is taken up."""
Tell = Callable[[Any], None]
"""Writes a document on a line of stdout."""


def chat(
    request: Request,
    session: str | None,
    new: bool,  # noqa: FBT001 - by name
    review: Review,
    where: Where,
    lines: bool,  # noqa: FBT001 - by name
) -> Ending:
    """Talk until nothing more is typed."""
    if new:
        if session is not None:
            raise CommandError("--new makes up an id, and --session names one; give one of them")
        session = where.own(f"chat-{token_hex(4)}")
        again = f"a new conversation; take it up again with --session {session}"
        people().print(Text(again, style="dim"), soft_wrap=True)
    session = session or where.own("chat")
    settings = request.settings()
    catalog, skills = request.load_catalog(), request.load_skills(settings)
    context = NodeContext(identity=where.identity, session_id=session)
    keyboard = Keyboard()

    async def talk(tell: Tell) -> Ending:
        async with opened(catalog, settings, skills=skills, context=context) as planner:
            chat = _Chat(planner, review, keyboard, tell)
            return await chat.talk(session)

    with lines_apart(lines) as tell:
        try:
            return keyboard.serve(talk(tell))
        except CommandError as error:
            tell({"ok": False, "error": str(error)})
            raise


class _Chat:
    """A conversation, while it is open here."""

    def __init__(self, planner: NodePlanner, review: Review, keyboard: Keyboard, tell: Tell) -> None:
        service = planner.service
        self.planner = planner
        self.memory = DialogueMemory(service.sessions, llm=service.llm, skills=service.skills)
        self.actions = chat_actions(planner, self.memory)
        self.agent = AgentOrchestrator(
            planner=planner, memory=self.memory, quick_actions=self.actions, review=review, patience=None
        )
        self.commands = BUILT_IN | self.actions.actions.keys() | LEAVING
        self.console = people()
        self.at_terminal = sys.stdin.isatty()
        self._catalog = service.catalog
        self._service = service.run_service
        self._identity = planner.caller.identity
        self._keyboard = keyboard
        self._tell = tell

    async def talk(self, session: str) -> Ending:
        """Take up the session or begin it, and answer what is typed until nothing more is.

        Raises:
            CommandError: it is somebody else's session, or cannot be the id of one.
        """
        try:
            state = await self.agent.open(session, self._identity)
        except (SessionNotFound, ValueError) as error:
            raise CommandError(f"{error} (--session ID)") from None
        await self._begin(state)
        while not terminated():
            try:
                typed = await self._keyboard.typed(reading(state.pending, self.console, self.commands))
            except EOFError:
                self._end_line()
                return self._left(state)
            except Interrupted:
                self._end_line()
                return Ending(code=Exit.INTERRUPTED)
            except UnicodeDecodeError:
                show_answer("What was typed is not UTF-8, so it was not read.", self.console)
                continue
            command, behind = command_of(typed.message)
            if command in LEAVING:
                return self._left(state)
            message = behind if command == SAY and behind else typed.message
            if self.at_terminal and typed.values is None and not message.strip():
                continue
            if not await self._answer(state, Typed(message, typed.values)):
                if not self.at_terminal:
                    break
                state = await self.agent.open(session, self._identity)  # as the turn left it
        return Ending(code=Exit.INTERRUPTED)

    async def _begin(self, state: SessionState) -> None:
        """Say what can be done, or what was said last and what is open."""
        said = await self.memory.history(state.session_id, REMEMBERED)
        if not said:
            show_answer(
                "Say what you want to reach; /help says what there is, and /quit or Ctrl-D leaves.", self.console
            )
            if self.planner.service.llm is None:
                note = "there is no language model (GOALGRAPH_MODEL or --model), so plans are guessed from words"
                self.console.print(Text(note, style="dim"), soft_wrap=True)
            return
        standing = await self.agent.catch_up(state)
        pending = None if standing is not None else state.pending
        repeated = pending is not None and bool(said) and said[-1]["role"] == "assistant"
        show_history(said[:-1] if repeated else said, self.console)
        if standing is None:
            if pending is not None:
                show_question(pending, self.console, self._catalog)
        elif standing.execution is None and not asks(standing) and state.running:
            show_answer(standing.message_to_user or "", self.console)
            if self.at_terminal:
                await self._watch(state, state.running[-1])
        else:
            show_turn(standing, self.console, self._catalog)

    async def _watch(self, state: SessionState, run_id: str) -> None:
        """Wait for a run that is there already, and tell what becomes of it; for a person it may wait for days."""
        if open_questions(await self._service.record(run_id, self._identity)):
            return
        self.console.print(Text("waiting for it; Ctrl-C stops it, or the waiting when it is elsewhere", style="dim"))

        async def ended() -> AgentTurnResult:
            handle = await self.planner.get_run(run_id)
            await handle.wait()
            told = await self.agent.catch_up(state)
            return told or AgentTurnResult(mode="answer", message_to_user="The run is not there any more.")

        await self._done(ended(), TurnRun(self._service, self._identity, self.console, run_id))

    async def _answer(self, state: SessionState, typed: Typed) -> bool:
        """Answer one message, showing its run; tells whether it was answered, and not stopped with Ctrl-C."""
        pending = state.pending
        answered = pending.run_id if pending is not None and pending.run_id in state.running else None
        run = TurnRun(self._service, self._identity, self.console, answered)
        turn = self.agent.handle_turn(
            user_message=typed.message,
            session_state=state,
            values=typed.values,
            on_planning_event=self._tell_planning,
            on_execution_event=run.take,
        )
        return await self._done(turn, run)

    async def _done(self, work: Coroutine[Any, Any, AgentTurnResult], run: TurnRun) -> bool:
        turn, current = asyncio.create_task(work), asyncio.current_task()
        with self._keyboard.interrupt_means(lambda: run.stop(turn)) as pressed:
            try:
                self._show(await run.shown(turn))
            except asyncio.CancelledError:
                if not pressed or (current is not None and current.cancelling()):
                    raise  # it is not the turn that was stopped, but all
                self._fail("stopped" if run.run_id is None else "stopped waiting; the run goes on")
            except PlannerError as error:
                self._fail(str(error))
        return not pressed

    def _tell_planning(self, event: PlanningEvent) -> None:
        if (words := event_words(event)) is not None:
            self.console.print(Text(words, style="dim"))

    def _show(self, turn: AgentTurnResult) -> None:
        show_turn(turn, self.console, self._catalog)
        self._tell(turn_document(turn))

    def _fail(self, why: str) -> None:
        show_answer(why, self.console)
        self._tell({"ok": False, "error": why})

    def _end_line(self) -> None:
        """Leave the line that was not ended with Enter."""
        if self.at_terminal:
            self.console.print()

    def _left(self, state: SessionState) -> Ending:
        if self.at_terminal:
            open_still = "what is asked stays open; " if state.pending is not None else ""
            self.console.print(Text(f"{open_still}the same command takes the conversation up again", style="dim"))
        return Ending()
