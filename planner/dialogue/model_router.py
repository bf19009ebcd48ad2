"""What a message is, told by a model where rules cannot tell."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

from planner.dialogue.intents import IntentRouter, Reply, RoutedIntent
from planner.dialogue.quick_actions import QuickActionRegistry
from planner.dialogue.rules import RuleRouter
from planner.dialogue.state import PendingQuestion, SessionState
from planner.drafting import Completion, LanguageModel, Message, Schema
from planner.drafting.form import asks_for_a_secret
from planner.drafting.language_model import completion_of, encodable
from planner.drafting.prompts import DATA_RULE, data
from planner.drafting.wire_schema import NULL, closed, either
from planner.errors import ModelError
from planner.limits import Limits
from planner.plan.reading.json_text import read_json
from skills import SkillRegistry, instruction

SKILL = "intent-routing"
"""The skill that tells a model how to route."""

INTENTS = ("chat", "quick_action", "goal", "answer", "approve", "drop", "change")

READ_CHARS = 6_000
"""Of a message, from its beginning; of one that goes on, the end is told as well."""
END_CHARS = 2_000
RECENT = 10
"""Messages."""
LINE_CHARS = 500
"""Of a message before this one, of a question, and of an argument."""
GOAL_CHARS = 4_000
"""A longer restatement is none."""
LISTED = 200
"""Quick actions that a model is told of; all have their commands."""

ASK_AGAIN = "Shall I go on? Please answer yes or no."
ASK_TO_DROP = {
    "inputs": "Shall I drop the plan? Then say /drop.",
    "plan": "Shall I drop the plan? Please answer yes to run it, or no to drop it.",
    "confirm": ASK_AGAIN,
    "run": "Shall I stop the run? Then say /drop; else answer what it asks.",
}

_log = logging.getLogger(__name__)


class Recall(Protocol):
    """Gives what was said before; `DialogueMemory` does."""

    async def window(self, state: SessionState) -> tuple[str, list[Message]]:
        """Return the summary of a conversation and its newest messages."""
        ...


class ModelRouter:
    """Asks the rules first, and a model only where they are not certain.

    What a model says is taken when it makes sense; when it does not, or the model fails, what the rules say counts,
    and `metadata["fallback"]` says why. Further `metadata`: `usage`, of the model.

    A model agrees to nothing and drops nothing in a user's place: what a message quotes could talk it into that. Where
    it reads such a decision, the user is asked again (`metadata["hint"]`), and only words that the rules know count.
    While a secret is asked for, no message goes to the model.

    Args:
        llm: The model.
        rules: Asked first; a `RuleRouter` with `quick_actions` by default.
        quick_actions: What the model may choose from.
        skills: Where an `intent-routing` of one's own may be; else ours.
        memory: Where the messages before this one are; without it, the model does not see them.
        catalog_summary: What can be done, in a few lines in the language of the actions' descriptions; or what tells
            this for a message.
    """

    def __init__(
        self,
        llm: LanguageModel,
        rules: IntentRouter | None = None,
        quick_actions: QuickActionRegistry | None = None,
        skills: SkillRegistry | None = None,
        *,
        memory: Recall | None = None,
        catalog_summary: str | Callable[[str], str] = "",
    ) -> None:
        self.llm = llm
        self.quick_actions = QuickActionRegistry() if quick_actions is None else quick_actions
        self.rules = rules or RuleRouter(quick_actions=self.quick_actions)
        self.skills = SkillRegistry() if skills is None else skills
        self.memory = memory
        self.catalog_summary = catalog_summary

    async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
        """Return what a message is; see `IntentRouter`."""
        told = await self.rules.route(user_message=user_message, session_state=session_state)
        pending = session_state.pending
        if told.certain or (pending is not None and asks_for_a_secret(pending.form)):
            return told
        try:
            completion = await self.llm.complete(await self._prompt(user_message, session_state), self._schema())
        except Exception as error:  # noqa: BLE001 - a model or memory of the caller's own may raise anything
            _log.warning("the model could not say what a message is, so the rules do: %s", type(error).__name__)
            answer = completion_of(error) if isinstance(error, ModelError) else None
            return _fallen_back(told, f"the model failed with {type(error).__name__}", answer)
        read = _read(completion)
        intent = None if read is None else self._intent(read, user_message, pending)
        if intent is None:
            return _fallen_back(told, "the model's answer makes no sense here", completion)
        return replace(intent, metadata={**told.metadata, **intent.metadata, "usage": completion.usage})

    async def _prompt(self, message: str, state: SessionState) -> list[Message]:
        told = self.catalog_summary
        told = told if isinstance(told, str) else told(message[:READ_CHARS])
        parts = [("actions", [told] if told else [])]
        parts.append(("quick actions", self.quick_actions.describe()[:LISTED]))
        if self.memory is not None:
            summary, recent = await self.memory.window(state)
            before = [Message("assistant", f"(summary of what was said before) {summary}")] if summary else []
            said = (f"{one.role}: {_shortened(one.content, LINE_CHARS)}" for one in [*before, *recent[-RECENT:]])
            parts.append(("conversation", list(said)))
        parts.append(("pending question", _pending_lines(state.pending)))
        parts.append(("message", [_excerpt(message.strip())]))
        text = "\n\n".join(f"# {name.capitalize()}\n{data(name, map(_line, lines))}" for name, lines in parts)
        return [Message("system", f"{DATA_RULE}\n\n{instruction(self.skills, SKILL)}"), Message("user", text)]

    def _schema(self) -> Schema:
        """Return what a model may say; it names no quick action that there is not."""
        ids = list(self.quick_actions.actions)[:LISTED]
        text = {"type": "string"}
        argument = {**text, "description": "of a quick action: what the message says for it, word for word"}
        goal = {**text, "description": "of a goal or a change: what it is, restated to stand alone"}
        return Schema(
            name="intent",
            schema=closed({
                "intent": {**text, "enum": list(INTENTS)},
                "quick_action": either([{**text, "enum": ids}, NULL]) if ids else NULL,
                "argument": either([argument, NULL]),
                "goal": either([goal, NULL]),
            }),
        )  # fmt: skip

    def _intent(self, read: Mapping[str, Any], message: str, pending: PendingQuestion | None) -> RoutedIntent | None:
        """Return what a model said; `None` where that cannot be."""
        goal = _restated(read.get("goal"), message)
        match read.get("intent"):
            case "chat":
                return RoutedIntent(mode="chat_only")
            case "goal":
                return RoutedIntent(mode="plan_and_execute", goal=goal)
            case "quick_action":
                chosen: Any = read.get("quick_action")
                if not isinstance(chosen, str) or self.quick_actions.get_spec(chosen) is None:
                    return None
                argument = str(read.get("argument") or "")[:LINE_CHARS]
                return RoutedIntent(mode="quick_action", quick_action_id=chosen, argument=argument)
            case "answer" | "approve" | "drop" | "change" as reply if pending is not None:
                return _answer(reply, pending, goal)
            case _:
                return None


def _answer(reply: str, pending: PendingQuestion, goal: str | None) -> RoutedIntent | None:
    """Return a reply that fits the question: only a plan is changed, and nothing is decided."""
    meant: Reply
    match reply, pending.kind:
        case "drop", kind:
            return RoutedIntent(mode="chat_only", metadata={"hint": ASK_TO_DROP[kind]})
        case "answer", "inputs" | "run":
            meant = "values"
        case "change", "plan" | "inputs" if pending.plan is not None:
            meant = "change"
        case ("approve", "plan" | "confirm" | "run") | ("answer", "confirm" | "plan"):
            return RoutedIntent(mode="chat_only", metadata={"hint": ASK_AGAIN})
        case _:
            return None
    return RoutedIntent(mode="answer", reply=meant, goal=goal)


def _fallen_back(told: RoutedIntent, reason: str, completion: Completion | None) -> RoutedIntent:
    used = {} if completion is None else {"usage": completion.usage}
    return replace(told, metadata={**told.metadata, "fallback": reason, **used})


def _read(completion: Completion) -> Mapping[str, Any] | None:
    found: Any = completion.parsed
    if not isinstance(found, Mapping):
        found = read_json(completion.text, Limits(), lambda value: isinstance(value, Mapping)).value
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else None


def _restated(goal: Any, message: str) -> str | None:
    """Return a goal as the model restated it, if it says anything that the message does not."""
    if not isinstance(goal, str) or not goal.strip() or len(goal) > GOAL_CHARS:
        return None
    text = encodable(goal).strip()
    return None if text == message.strip() else text


def _pending_lines(pending: PendingQuestion | None) -> list[str]:
    if pending is None:
        return []
    kinds = {
        "inputs": "values are asked for, which a plan lacks",
        "plan": "a plan was shown, and the user is asked whether to run it",
        "confirm": "the user is asked whether to do a quick action",
        "run": "a run asks the user",
    }
    steps = pending.plan.steps if pending.plan is not None else ()
    asked = f"{kinds[pending.kind]}: {_shortened(pending.text, LINE_CHARS)}"
    plan = [f"step of the plan: {step.id} ({step.action or step.action_ref})" for step in steps[:LISTED]]
    return [asked, *([f"goal: {_shortened(pending.goal, LINE_CHARS)}"] if pending.goal else []), *plan]


def _excerpt(message: str) -> str:
    if len(message) <= READ_CHARS + END_CHARS:
        return message
    left = len(message) - READ_CHARS - END_CHARS
    return f"{message[:READ_CHARS]} … ({left:,} characters are left out here) … {message[-END_CHARS:]}"


def _shortened(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 1]}…"


def _line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
