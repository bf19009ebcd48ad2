"""Skills are named in the calls that plan, and come from the folders that the application names."""

import re
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from goalgraph import open_planner
from goalgraph.settings import Settings
from planner import PlannerService
from planner.catalog import ActionCatalog, action
from planner.drafting import ScriptedModel
from skills import SkillRegistry


@action
async def greet(name: str) -> str:
    """Say hello."""
    return f"Hello {name}"


PLAN = {"steps": [{"id": "g", "action": "greet", "inputs": {"name": "Ada"}}]}


async def test_a_named_skill_is_open_in_each_call_that_plans() -> None:
    """Otherwise it is only listed."""
    registry = SkillRegistry()
    registry.register_inline(id="manners", title="Manners", description="Tone.", sections={"body": "Never shout."})
    model = ScriptedModel([PLAN], repeat=True)
    service = PlannerService(ActionCatalog([greet]), model, skills=registry)

    planned = await service.plan(goal="greet Ada", skills=["manners"])
    _, ran = await service.plan_and_execute(goal="greet Ada", skills=["manners"])
    _, handle = await service.plan_and_execute_background(goal="greet Ada", skills=["manners"])
    await service.plan(goal="greet Ada")

    assert handle is not None
    results = [ran, await handle.wait()]
    assert planned.ok
    assert [result and result.outputs for result in results] == [{"result": "Hello Ada"}] * 2
    assert ["Never shout." in call.prompt for call in model.calls] == [True, True, True, False]
    assert "- manners  # Tone." in model.calls[3].prompt
    await service.aclose()


async def test_a_skill_that_is_not_there_is_no_exception() -> None:
    """Nothing is run, and the result says why."""
    service = PlannerService(ActionCatalog([greet]), ScriptedModel([PLAN]))

    planned, ran = await service.plan_and_execute(goal="greet Ada", skills=["manners"])

    assert (planned.ok, ran) == (False, None)
    assert "there is no skill 'manners'" in (planned.events[-1].message or "")
    await service.aclose()


def write_skill(folder: Path, skill_id: str, body: str) -> Path:
    (folder / skill_id).mkdir(parents=True)
    (folder / skill_id / "SKILL.md").write_text(f"---\nname: {skill_id}\ndescription: Tone.\n---\n{body}\n")
    return folder


@pytest.mark.parametrize("trusted", [False, True], ids=["data", "instruction"])
async def test_a_folder_of_the_settings_is_data_or_instruction_as_they_say(tmp_path: Path, *, trusted: bool) -> None:
    """And replaces our own instructions only when it is trusted."""
    folder = write_skill(write_skill(tmp_path / "s", "manners", "Never shout."), "planning-rules", "Plan in rhyme.")
    plain, vouched_for = ((), (folder,)) if trusted else ((folder,), ())
    prompt = await prompt_of(settings=Settings(skills=plain, trusted_skills=vouched_for))

    assert ("Plan in rhyme." in prompt) == trusted
    assert "Never shout." in prompt
    assert ("Never shout." in outside_marks(prompt)) == trusted


async def test_a_folder_that_is_given_is_data(tmp_path: Path) -> None:
    """Whoever vouches for it loads it as trusted."""
    prompt = await prompt_of(skills=write_skill(tmp_path, "manners", "Never shout."))

    assert "Never shout." in prompt
    assert "Never shout." not in outside_marks(prompt)


async def test_several_folders_can_be_given(tmp_path: Path) -> None:
    folders = [write_skill(tmp_path / "a", "other", "Whisper."), write_skill(tmp_path / "b", "manners", "Never shout.")]

    assert "Never shout." in await prompt_of(skills=folders)
    assert "Never shout." in await prompt_of(skills=(str(folder) for folder in folders))


def test_what_is_wrong_with_skills_is_logged_and_much_of_it_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(9):
        write_skill(tmp_path / "s", f"s{number}", "Text.")
        (tmp_path / "s" / f"s{number}" / "SKILL.md").write_text("no front matter")

    open_planner(settings=Settings(skills=(tmp_path / "s", tmp_path / "typo")), checkpointer=InMemorySaver())

    assert caplog.text.count("there is no front matter") == 5
    assert "and 5 more problems with skills" in caplog.text


def test_a_folder_that_the_settings_name_and_is_not_there_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that is looked for by default need not be there."""
    open_planner(settings=Settings(skills=(tmp_path / "typo",)), checkpointer=InMemorySaver())
    open_planner(settings=Settings(), checkpointer=InMemorySaver())

    assert [record.message for record in caplog.records if record.name == "goalgraph"] == [
        f"{tmp_path / 'typo'}: there is no such folder, which the setting GOALGRAPH_SKILLS names"
    ]


async def prompt_of(**given: Any) -> str:
    """Return what a model is told when the skill `manners` is named."""
    model = ScriptedModel([PLAN])
    async with open_planner(actions=[greet], llm=model, checkpointer=InMemorySaver(), **given) as planner:
        await planner.plan(goal="greet Ada", skills=["manners"])
    return model.calls[0].prompt


def outside_marks(prompt: str) -> str:
    return re.sub(r'<data name="[^"]*">.*?</data>', "", prompt, flags=re.DOTALL)
