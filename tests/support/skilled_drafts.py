"""Drafts with skills: what a scripted model is told, and what comes of it."""

import json
from collections.abc import Iterable
from typing import Any

from planner.catalog import ActionCatalog
from planner.drafting import Drafter, PlanningContext, PlanResult, ScriptedModel
from skills import Skill, SkillRegistry

Json = dict[str, Any]

HEAD = 0
REQUEST = 1


def step(name: str, action: str, **inputs: Any) -> Json:
    return {"id": name, "action": action, "inputs": inputs, "control": None}


def plan(*steps: Json) -> Json:
    return {"assumptions": [], "steps": list(steps), "outputs": []}


GOOD = plan(
    step("load", "load_table", path={"ref": "user.path"}, limit=None),
    step("draw", "plot", table={"ref": "load.table"}, kind=None),
)


def asking(*names: str) -> Json:
    """Return an answer that wants to read skills first."""
    return {"skills": list(names), **plan()}


def skill(skill_id: str, text: str = "", *, about: str = "", examples: Iterable[Json] = (), **given: Any) -> Skill:
    """Return a skill made in code."""
    fenced = "\n\n".join(f"```json\n{json.dumps(example)}\n```" for example in examples)
    sections = {"body": text or f"text of {skill_id}"} | ({"planning.examples": fenced} if fenced else {})
    return Skill(id=skill_id, title=skill_id, description=about or f"about {skill_id}", sections=sections, **given)


async def draft(
    catalog: ActionCatalog, registered: Iterable[Skill], /, *answers: Any, **given: Any
) -> tuple[PlanResult, ScriptedModel]:
    """Draft with these skills; the model gives `answers`, or else a good plan."""
    model = ScriptedModel(answers or [GOOD])
    context = PlanningContext(**{"goal": "draw the rain", "user_inputs": {"path": "rain.csv"}, **given})
    return await Drafter(catalog, model, skills=SkillRegistry(registered)).draft(context), model


def marked(text: str) -> str:
    """Return what stands in data marks."""
    return "\n".join(part.split("</data>")[0] for part in text.split("<data name=")[1:])


def unmarked(text: str) -> str:
    """Return what stands outside of data marks."""
    first, *others = text.split("<data name=")
    return "\n".join([first, *(part.partition("</data>")[2] for part in others)])
