"""A goal in the words of the catalog: asked of the model when the search finds nothing in the goal's own words."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from planner.catalog import ActionSpec
from planner.drafting.language_model import Completion, LanguageModel, Message, Schema, Usage, completion_of
from planner.drafting.prompts import DATA_RULE, data
from planner.drafting.wire_schema import closed
from planner.errors import ModelError
from planner.limits import Limits
from planner.plan.reading.json_text import read_json
from skills import SkillRegistry, instruction

SKILL = "goal-restating"
SHOWN_ACTIONS = 12
"""Enough to show the language and the style."""
SHOWN_GOAL = 4_000
"""Characters; what is wanted stands in the first of them, and this has to stay one small call."""
SHOWN_ABOUT = 120
MOST_PHRASES = 8
MOST_CHARS = 120
"""Of a phrase."""

FORM = f"""\
Answer with one JSON object and nothing else: {{"phrases": ["…", "…"]}}, at most {MOST_PHRASES} of them.
{DATA_RULE}"""

SCHEMA = Schema(name="phrases", schema=closed({"phrases": {"type": "array", "items": {"type": "string"}}}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Restated:
    """What the model made of a goal."""

    phrases: tuple[str, ...]
    """None when the goal asks for nothing, or the model gave no answer that can be read."""
    completion: Completion
    error: ModelError | None = None

    def __str__(self) -> str:
        return "; ".join(self.phrases) or f"nothing ({self.error or 'the model found nothing to search for'})"


def can_restate(goal: str) -> bool:
    """Tell whether there is a word in a goal at all."""
    return re.search(r"\w", goal) is not None


async def restate(llm: LanguageModel, goal: str, actions: Sequence[ActionSpec], skills: SkillRegistry) -> Restated:
    """Ask for `goal` in the words of `actions`, once; a model that fails gives no phrases, not an exception."""
    try:
        completion = await llm.complete(restating_messages(goal, actions, skills), SCHEMA)
    except ModelError as error:
        written = completion_of(error) or Completion(text="", usage=Usage(calls=1))
        return Restated(phrases=(), completion=written, error=error)
    return Restated(phrases=tuple(_phrases(completion)), completion=completion)


def restating_messages(goal: str, actions: Sequence[ActionSpec], skills: SkillRegistry) -> list[Message]:
    """Return what the model is asked."""
    shown = actions[:: max(1, len(actions) // SHOWN_ACTIONS)][:SHOWN_ACTIONS]
    lines = (json.dumps(f"{spec.name}: {spec.description[:SHOWN_ABOUT]}", ensure_ascii=False) for spec in shown)
    said = json.dumps(goal[:SHOWN_GOAL], ensure_ascii=False)
    asked = f"# Some of the actions\n{data('actions', lines)}\n\n# Goal\n{data('goal', [said])}"
    return [Message("system", f"{instruction(skills, SKILL).strip()}\n\n{FORM}"), Message("user", asked)]


def _phrases(completion: Completion) -> Iterator[str]:
    answer: Any = completion.parsed
    if not isinstance(answer, Mapping):
        answer = read_json(completion.text, Limits(), lambda read: isinstance(read, Mapping)).value
    listed = cast("Mapping[str, Any]", answer).get("phrases") if isinstance(answer, Mapping) else None
    several = cast("list[Any]", listed) if isinstance(listed, list) else []
    for phrase in several[:MOST_PHRASES]:
        if isinstance(phrase, str) and phrase.strip():
            yield " ".join(phrase.split())[:MOST_CHARS]
