"""What a message is, told by rules: commands, answers to what was asked, patterns, small talk."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from planner.dialogue.intents import Reply, RoutedIntent
from planner.dialogue.phrases import Decision, decision, is_question, small_talk
from planner.dialogue.quick_actions import BUILT_IN, QuickActionRegistry
from planner.dialogue.state import PendingQuestion, SessionState
from planner.errors import close_names
from planner.plan.bindings import references_in
from planner.plan.graph import step_references

READ_CHARS = 2_000
"""Of a message, for words and patterns; what is longer is content."""

SHORT_WORDS = 6
SHORT_CHARS = 60
"""A short message is surely the answer to what was asked; a longer one may be about something else."""

LISTED = 10
"""Commands that are named to somebody who wrote one that there is not."""

ANSWER = "answer"
"""The key of what a run asks for that has none."""

Pattern = tuple[str | re.Pattern[str], RoutedIntent | Callable[[re.Match[str]], RoutedIntent]]
"""A regular expression that is searched for, and what a message that has it is."""
Command = RoutedIntent | Callable[[str], RoutedIntent]
"""What a command is; a function gets what stands behind its name."""

_COMMAND = re.compile(r"/(\S{1,64})(?:\s+|\Z)")
_NAME = re.compile(r"\w[\w.-]*\Z")
_ASSIGNED = re.compile(r"(?:\A|[\n,;])[ \t]*[\"'`]?(\w[\w. -]{0,63}?)[\"'`]?[ \t]{0,8}[:=]")

_log = logging.getLogger(__name__)


class RuleRouter:
    """Routes by rules alone; without a match a message is a goal, and not surely.

    In this order: a command (`/name rest`: a quick action, one of `commands`, or `/plan GOAL`, `/drop`, `/yes`, `/no`,
    `/help`); the answer to what was asked; `patterns`; small talk. What `metadata` may say: `hint`, a sentence for the
    user in place of an answer; `unknown_command` and its `closest`; `small_talk`, its kind; `values`, by key, where a
    yes or no is the value.

    Args:
        patterns: Searched in the first 2,000 characters, in order, ignoring case where they are texts. They are the
            application's own: one that takes long for some texts holds up the turn.
        commands: Further commands by name, without the slash.
        quick_actions: Each is the command of its id.

    Raises:
        re.error: a pattern is no regular expression.
        ValueError: two commands have one name.
    """

    def __init__(
        self,
        patterns: Sequence[Pattern] = (),
        commands: Mapping[str, Command] | None = None,
        quick_actions: QuickActionRegistry | None = None,
    ) -> None:
        self.patterns = [
            (re.compile(one, re.IGNORECASE) if isinstance(one, str) else one, intent) for one, intent in patterns
        ]
        self.commands = {name.removeprefix("/").casefold(): command for name, command in (commands or {}).items()}
        self.quick_actions = QuickActionRegistry() if quick_actions is None else quick_actions
        if taken := self.commands.keys() & {*BUILT_IN, *map(str.casefold, self.quick_actions.actions)}:
            raise ValueError(f"there are two commands called {', '.join(sorted(taken))}; give one another name")

    async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
        """Return what a message is; see `IntentRouter`."""
        message = user_message.strip()
        if not message:
            return RoutedIntent(mode="chat_only", metadata={"hint": "Say what you want to have done."})
        pending = session_state.pending
        return (
            self._command(message, pending)
            or (_to_nothing(message) if pending is None else _answer(message, pending))
            or self._pattern(message)
            or _talk(message)
            or RoutedIntent(mode="plan_and_execute", certain=False)
        )

    def _command(self, message: str, pending: PendingQuestion | None) -> RoutedIntent | None:
        name, rest = command_of(message)
        if not name:
            return None
        if (spec := self.quick_actions.called(name)) is not None:
            return RoutedIntent(mode="quick_action", quick_action_id=spec.id, argument=rest)
        if (command := self.commands.get(name)) is not None:
            return _made(command, rest, f"the command /{name}")
        if name in BUILT_IN:
            return _built_in(name, rest, pending)
        if not _NAME.match(name):
            return None  # a path, for example
        known = sorted({*BUILT_IN, *self.commands, *self.quick_actions.actions})
        close = close_names(name, known) or known[:LISTED]
        hint = f"There is no command /{name}; there is {', '.join(f'/{other}' for other in close)}."
        return _chat(hint, unknown_command=name, closest=close)

    def _pattern(self, message: str) -> RoutedIntent | None:
        begin = message[:READ_CHARS]
        for pattern, intent in self.patterns:
            found = pattern.search(begin)
            made = None if found is None else _made(intent, found, f"the pattern {pattern.pattern!r}")
            if made is not None:
                return made
        return None


def command_of(message: str) -> tuple[str, str]:
    """Return the name of the command that a message is, and what stands behind it; no name where it is none."""
    begin = _COMMAND.match(message)
    return ("", "") if begin is None else (begin[1].casefold(), message[begin.end() :].strip())


def _made(intent: Any, found: Any, what: str) -> RoutedIntent | None:
    """Return a copy of an intent, or what a function makes of the match; a function that fails has not matched."""
    if isinstance(intent, RoutedIntent):
        return replace(intent, metadata=dict(intent.metadata))
    try:
        return cast("RoutedIntent", intent(found))
    except Exception:  # noqa: BLE001 - the application's own function may raise anything, and routing never does
        _log.exception("%s failed, so the message is routed without it", what)
        return None


def _built_in(name: str, rest: str, pending: PendingQuestion | None) -> RoutedIntent:
    if name == "plan":
        return (
            RoutedIntent(mode="plan_and_execute", goal=rest)
            if rest
            else _chat("Write your goal behind /plan, such as: /plan find a flight to Oslo.")
        )
    if name == "help":
        return RoutedIntent(mode="chat_only", metadata={"small_talk": "help"})
    if pending is None:
        return _chat(f"Nothing waits for an answer, so /{name} does nothing.")
    if rest and name == "yes":  # whoever says more agrees to something else
        return _chat("Nothing may stand behind /yes. Say /yes alone, or what should be different.")
    return _reply("approve" if name == "yes" else "drop")


def _answer(message: str, pending: PendingQuestion) -> RoutedIntent | None:
    """Return what a message answers; `None` when it is about something else."""
    kind = pending.kind
    if kind in ("inputs", "run") and (values := _choice(message, pending.form)) is not None:
        return replace(_reply("values"), metadata={"values": values} if values else {})
    if (said := decision(message)) is not None:
        return _decided(message, said, pending)
    given = _given_keys(message)
    if kind in ("inputs", "run"):
        if small_talk(message) in ("help", "leave"):
            return None
        known = {key.casefold() for key in pending.form.get("properties", {})}
        short = len(message) <= SHORT_CHARS and len(message.split()) <= SHORT_WORDS
        return _reply("values", certain=not known.isdisjoint(given) or (short and not is_question(message)))
    if kind == "confirm" or small_talk(message) is not None:
        return None
    return _reply("change", certain=False) if _known_keys(pending).isdisjoint(given) else _reply("values")


def _decided(message: str, said: Decision, pending: PendingQuestion) -> RoutedIntent:
    """Return what a decision does to a question; one word, where any text is asked for, may be that text."""
    if said == "approve":
        return _reply("approve")
    key = _text_asked(pending.form) if pending.kind in ("inputs", "run") else None
    if key is None or len(message.split()) > 1:
        return _reply("drop")
    what = "stop the run" if pending.kind == "run" else "drop the plan"
    return _chat(f"To {what}, say /drop. If that is the {key}, write {key}: {message}")


def _text_asked(form: Mapping[str, Any]) -> str | None:
    """Return the key of the text that a form asks for, if it asks for nothing else, and any text will do."""
    properties: Any = form.get("properties", {ANSWER: form})
    if len(properties) != 1:
        return None
    ((key, node),) = cast("Mapping[str, Any]", properties).items()
    narrow = {"enum", "const", "format", "writeOnly", "anyOf", "oneOf", "allOf", "$ref"}
    return key if narrow.isdisjoint(node) and node.get("type", "string") == "string" else None


def _to_nothing(message: str) -> RoutedIntent | None:
    """Return what to say to an agreement or a refusal when nothing was asked."""
    return None if decision(message) is None else _chat("Nothing waits for an answer. Say what you want to have done.")


def _choice(message: str, form: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a message chooses where a form asks for one thing only; `None` where it chooses nothing.

    It chooses one of the listed values, which is then read like any other answer, or says yes or no to a key that is
    true or false, which is the value.
    """
    properties: Any = form.get("properties", {"": form})
    if len(properties) != 1:
        return None
    ((key, node),) = cast("Mapping[str, Any]", properties).items()
    if not isinstance(node, Mapping):
        return None
    schema = cast("Mapping[str, Any]", node)
    if key and schema.get("type") == "boolean" and (said := decision(message)) in ("approve", "refuse"):
        return {key: said == "approve"}
    listed: Any = schema.get("enum", ())
    return {} if message.casefold() in {value.casefold() for value in listed if isinstance(value, str)} else None


def _given_keys(message: str) -> set[str]:
    """Return the keys of a JSON object, or those before a colon or an equals sign at the beginning of a line."""
    if message.startswith("{") and message.endswith("}"):
        try:
            found = json.loads(message)
        except (ValueError, RecursionError):
            return set()
        return {key.casefold() for key in found}
    return {begin[1].casefold() for begin in _ASSIGNED.finditer(message[:READ_CHARS])}


def _known_keys(pending: PendingQuestion) -> set[str]:
    """Return the user's keys that a question and its plan know."""
    return {key.casefold() for key in (*pending.inputs, *pending.form.get("properties", {}), *_bound(pending))}


def _bound(pending: PendingQuestion) -> Iterator[str]:
    if pending.plan is None:
        return
    found = [reference for step in pending.plan.steps for _, reference in step_references(step)]
    found += [reference for _, reference in references_in(pending.plan.outputs)]
    yield from (str(one.path[0]) for one in found if one.root == "user" and one.path)


def _talk(message: str) -> RoutedIntent | None:
    kind = small_talk(message)
    return None if kind is None else RoutedIntent(mode="chat_only", metadata={"small_talk": kind})


def _chat(hint: str, **facts: Any) -> RoutedIntent:
    return RoutedIntent(mode="chat_only", metadata={"hint": hint, **facts})


def _reply(reply: Reply, *, certain: bool = True) -> RoutedIntent:
    return RoutedIntent(mode="answer", reply=reply, certain=certain)
