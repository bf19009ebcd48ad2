"""Conversations whose process dies inside an action, and that are taken up in another one; prints what was seen.

Started by test_turn_faults.py with a folder, as the lives of tests/runs are.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from goalgraph import (
    ActionCatalog,
    ActionContext,
    AgentOrchestrator,
    DialogueMemory,
    QuickActionContext,
    QuickActionRegistry,
    QuickActionSpec,
    ScriptedModel,
    SessionState,
    action,
    open_planner,
)
from planner.runs import RunPolicy
from tests.runs.life_driver import LEASE, Life, in_process
from tests.support.eventually import eventually
from tests.support.told_stories import tell_all

SECRET = "swordfish-471"
GOAL = {"intent": "goal", "quick_action": None, "argument": None, "goal": None}


def a_step(name: str, after: str | None = None) -> dict[str, Any]:
    return {"id": name, "action": "step", "inputs": {"after": f"${{{after}}}"} if after else {}}


THREE = {"steps": [a_step("a"), a_step("b", "a"), a_step("c", "b")]}
LOCKED = {
    "steps": [a_step("a"), {"id": "k", "action": "unlock", "inputs": {"password": "${user.password}"}, "after": ["a"]}]
}


class MortalMemory(DialogueMemory):
    """Memory of a process that dies as soon as something is stored."""

    dies = ""

    async def say(self, state: SessionState, role: Any, content: str, metadata: Any = None) -> None:
        await super().say(state, role, content, metadata)
        self.reach(f"say {content}")

    async def save(self, state: SessionState, *, since: Any = None) -> dict[str, Any]:
        stored = await super().save(state, since=since)
        self.reach(f"save {state.pending.kind if state.pending else None}")
        return stored

    def reach(self, point: str) -> None:
        if point == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)


class Conversation(Life):
    """A process that talks, and dies where its story says so."""

    def catalog(self) -> ActionCatalog:
        @action(effect="write")
        async def step(ctx: ActionContext, after: Any = None) -> str:
            self.note(f"run {ctx.step_id}")
            return ctx.step_id

        @action
        async def unlock(ctx: ActionContext, password: str) -> int:
            self.note(f"run {ctx.step_id}")
            return len(password)

        @action(effect="external", idempotent="no")
        async def send(ctx: ActionContext) -> str:
            self.note(f"run {ctx.step_id}")
            return "sent"

        @action(effect="external", approval=True)
        async def pay(ctx: ActionContext) -> str:
            self.note(f"run {ctx.step_id}")
            return "paid"

        return ActionCatalog([step, unlock, send, pay])

    def quick(self) -> QuickActionRegistry:
        async def wipe(*, context: QuickActionContext) -> str:
            self.note("wipe")
            return "wiped"

        spec = QuickActionSpec("wipe", "Wipe the disk.", requires_confirmation=True)
        return QuickActionRegistry({"wipe": spec}, {"wipe": wipe})

    async def talk(
        self, *messages: str, model: Any = (), catch_up: bool = False, review: Any = "effects"
    ) -> dict[str, Any]:
        """Say something to the session, and report what was answered."""
        policy = RunPolicy(lease=LEASE, sweep=0.1, grace=0.2)
        llm = ScriptedModel(model)
        async with open_planner(
            catalog=self.catalog(), data_dir=self.folder / "data", llm=llm, policy=policy
        ) as planner:
            memory = MortalMemory(planner.service.sessions, llm=llm)
            memory.dies = self.dies
            agent = AgentOrchestrator(planner=planner, memory=memory, quick_actions=self.quick(), review=review)
            state = await agent.open("s")
            told: list[str] = []
            if catch_up:

                async def ended() -> bool:
                    turn = await agent.catch_up(state)
                    told.append(turn.message_to_user or "" if turn else "")
                    return not state.running

                await eventually(ended, "the end of the run")
            for message in messages:
                turn = await agent.handle_turn(user_message=message, session_state=state)
                told.append(turn.message_to_user or "")
            return {
                "message": told[-1],
                "asked": told[0],
                "runs": len(await planner.runs()),
                "running": state.running,
                "journal": self.journal,
                "spoken": [message["content"] for message in await agent.memory.history("s", 20)],
            }


def killed(folder: Path) -> dict[str, Any]:
    """A turn whose process is killed in the second step of its run; the same message is said again."""
    say = "run all the three steps now"
    died = in_process(lambda: Conversation(folder, "run b").talk(say, "yes", model=[GOAL, THREE]), folder)[0]
    return {"died": died, "then": in_process(lambda: Conversation(folder).talk("yes"), folder)[1]}


def caught_up(folder: Path) -> dict[str, Any]:
    """The same, and nothing is said again."""
    say = "run all the three steps now"
    died = in_process(lambda: Conversation(folder, "run b").talk(say, "yes", model=[GOAL, THREE]), folder)[0]
    return {"died": died, "then": in_process(lambda: Conversation(folder).talk(catch_up=True), folder)[1]}


def secret(folder: Path) -> dict[str, Any]:
    """A run with a secret, which no store has."""
    say = "unlock what is to be unlocked"
    first = Conversation(folder, "run k")
    died = in_process(lambda: first.talk(say, SECRET, "yes", model=[GOAL, LOCKED]), folder)[0]
    then = in_process(lambda: Conversation(folder).talk("yes", SECRET), folder)[1]
    stored = b"".join(path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file())
    return {"died": died, "then": then, "stored": SECRET.encode() in stored, "size": len(stored)}


def unsure(folder: Path) -> dict[str, Any]:
    """A process that dies in a call that must not be made twice: the user says what became of it."""
    say, plan = "send it to them, please", {"steps": [{"id": "x", "action": "send"}]}
    died = in_process(lambda: Conversation(folder, "run x").talk(say, "yes", model=[GOAL, plan]), folder)[0]
    return {"died": died, "then": in_process(lambda: Conversation(folder).talk("yes", "maybe", "retry"), folder)[1]}


def answered(folder: Path) -> dict[str, Any]:
    """A process that dies when it has stored the answer, and not yet that the run is told of."""
    say, plan = "send it to them, please", {"steps": [{"id": "x", "action": "send"}]}
    first = Conversation(folder, "say Done: sent")
    died = in_process(lambda: first.talk(say, model=[GOAL, plan], review="never"), folder)[0]
    then = in_process(lambda: Conversation(folder).talk(say, model=[GOAL, plan], review="never"), folder)[1]
    return {"died": died, "then": then}


def asked(folder: Path) -> dict[str, Any]:
    """A process that dies when it has stored what a run asks, before anybody has seen it."""
    plan = {"steps": [{"id": "x", "action": "pay"}]}
    first = Conversation(folder, "save run")
    died = in_process(lambda: first.talk("pay what I owe to them", "yes", model=[GOAL, plan]), folder)[0]
    again = in_process(lambda: Conversation(folder).talk("yes"), folder)[1]
    return {"died": died, "again": again, "then": in_process(lambda: Conversation(folder).talk("yes"), folder)[1]}


def quick(folder: Path) -> dict[str, Any]:
    """A process that dies in a quick action that was agreed to."""
    died = in_process(lambda: Conversation(folder, "wipe").talk("/wipe", "yes"), folder)[0]
    return {"died": died, "then": in_process(lambda: Conversation(folder).talk("yes", "yes"), folder)[1]}


STORIES: dict[str, Callable[[Path], dict[str, Any]]] = {
    one.__name__: one for one in (killed, caught_up, secret, unsure, answered, asked, quick)
}


if __name__ == "__main__":
    tell_all(STORIES, Path(sys.argv[1]))
