"""Whatever skills bring, a prompt stays small, the trusted come first, and no draft waits for what is wrong."""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from planner.catalog import ActionCatalog, action
from planner.drafting import Drafter, PlanningContext, ScriptedModel
from planner.drafting.examples import ADDED_ACTIONS, MAX_STEPS, READ_EXAMPLES, READ_IN_ALL, ExampleIndex
from planner.drafting.guidance import LISTED, OPENED, SkillRanking
from planner.limits import Limits
from skills import ExampleText, Skill, SkillRegistry, load
from tests.support.skilled_drafts import GOOD, HEAD, REQUEST, Json, asking, draft, marked, skill, unmarked

WEATHER: dict[str, Any] = {"config": {"flows": ["weather"]}}


def calls(goal: str, *names: str) -> Json:
    return {"goal": goal, "steps": [{"id": f"s{at}", "action": name} for at, name in enumerate(names)]}


def fillers(catalog: ActionCatalog, count: int) -> list[str]:
    """Add actions that no goal of these tests finds."""

    def filler(number: int) -> Any:
        @action(name=f"filler_{number}")
        async def made() -> str:
            """Polish the brass knob."""
            raise NotImplementedError

        return made

    return [catalog.add(filler(number)).name for number in range(count)]


async def head(catalog: ActionCatalog, registered: Sequence[Skill], /, **given: Any) -> str:
    _, model = await draft(catalog, registered, **given)
    return model.calls[0].messages[HEAD].content


def listed(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("- ") and "  # " in line]


# --------------------------------------------------------------------------------------------------------- what is open


async def test_skills_for_a_group_are_open_as_far_as_there_is_room(catalog: ActionCatalog) -> None:
    """Those that are most about the goal; the others are listed, and can be asked for."""
    many = [skill(f"s{at}", f"text of s{at} {'x' * 15_000}", about="Polish brass.", **WEATHER) for at in range(6)]
    rain = skill("zz", f"text of zz {'x' * 15_000}", about="Draw the rain.", **WEATHER)

    text = await head(catalog, [*many, rain], flow_ids=["weather"])
    opened = [one.id for one in (*many, rain) if f"text of {one.id} " in text]

    assert opened == ["s0", "zz"]
    assert len(text) < OPENED + 6_000
    assert sorted([*listed(text), *opened]) == sorted(one.id for one in (*many, rain))


async def test_untrusted_skills_for_a_group_are_only_listed(catalog: ActionCatalog) -> None:
    """A project cannot fill a prompt by naming a group; who asks for one of its skills is shown it."""
    theirs = [skill(f"s{at:03}", f"secret {at} " + "x" * 20_000, trusted=False, **WEATHER) for at in range(100)]
    result, model = await draft(catalog, theirs, asking("s007"), GOOD, flow_ids=["weather"])

    assert len(model.calls[0].messages[HEAD].content) < 10_000
    assert "secret" not in model.calls[0].prompt
    assert result.ok
    assert "secret 7 " in marked(model.calls[1].messages[-1].content)
    assert "secret 7 " in marked(await head(catalog, theirs, skills=["s007"]))


async def test_the_files_of_a_skill_that_is_open_for_a_group_can_be_asked_for(
    catalog: ActionCatalog, tmp_path: Path
) -> None:
    """There is nothing else to ask for."""
    (tmp_path / "rain").mkdir()
    front = "---\nname: rain\ndescription: How rain is drawn.\nmetadata:\n  planner.flows: weather\n---\nBars.\n"
    (tmp_path / "rain" / "SKILL.md").write_text(front)
    (tmp_path / "rain" / "colours.md").write_text("Blue.")
    trusted = load(tmp_path, trusted=True).all()

    result, model = await draft(catalog, trusted, asking("rain/colours.md"), GOOD, flow_ids=["weather"])

    assert result.ok
    assert "Blue." in unmarked(model.calls[1].messages[-1].content)


# ------------------------------------------------------------------------------------------------------- what is listed


async def test_trusted_skills_are_listed_before_any_that_are_not(catalog: ActionCatalog) -> None:
    """However well the words of the others fit; and these have half of the lines at most."""
    theirs = [skill(f"t{at:02}", about="draw the rain draw the rain", trusted=False) for at in range(40)]
    ours = [skill(f"o{at:02}", about="Polish brass knobs.") for at in range(LISTED - 3)]

    alone = await head(catalog, theirs)
    few = await head(catalog, [*theirs, skill("house-rules", about="Polish brass knobs.")])
    many = await head(catalog, [*theirs, *ours])
    full = await head(catalog, [*theirs, *ours, *(skill(f"p{at}") for at in range(9))])

    assert len(listed(alone)) == LISTED // 2
    assert "- house-rules" in unmarked(few)
    assert [len(listed(unmarked(many))), len(listed(marked(many)))] == [LISTED - 3, 3]
    assert [len(listed(full)), listed(marked(full))] == [LISTED, []]


def test_the_words_of_skills_are_read_once_as_long_as_they_stay() -> None:
    """A draft only compares them with its goal."""

    @dataclass
    class Watched(Skill):
        looks: list[str] = field(default_factory=list[str])

        @property
        def summary(self) -> str:
            self.looks.append(goal)
            return self.description

    registry = SkillRegistry([Watched(f"s{at}", "", "brass") for at in range(5)])
    ranking = SkillRanking(registry)
    for goal in ("draw the rain", "polish the brass"):
        ranking.ranked(registry.all(), goal)
    assert [len(one.looks) for one in registry.all() if isinstance(one, Watched)] == [1] * 5

    registry.register(skill("rain", about="Draw the rain."))
    assert [one.id for one in ranking.ranked(registry.all(), "draw the rain")] == [
        "rain",
        *(f"s{at}" for at in range(5)),
    ]


# ------------------------------------------------------------------------------------------------------ worked examples


async def test_an_example_of_too_many_steps_is_a_problem(catalog: ActionCatalog) -> None:
    """It would fill the prompt."""
    names = fillers(catalog, MAX_STEPS + 1)
    given = [calls("Draw the long rain", *names), calls("Draw the rain", *names[:-1])]
    drafter = Drafter(catalog, skills=SkillRegistry([skill("long", examples=given)]))

    (problem,) = drafter.skill_problems()
    text = (await draft(catalog, [skill("long", examples=given)]))[1].calls[0].messages[REQUEST].content

    assert f"{MAX_STEPS + 1} steps" in problem.message
    assert (text.count('{"goal"'), "long rain" in text) == (1, False)


async def test_untrusted_examples_offer_nothing_that_is_not_offered_anyway(catalog: ActionCatalog) -> None:
    """They are left out, unless everything that they call is there."""
    names = fillers(catalog, 80)
    theirs = skill("theirs", examples=[calls("Draw the rain", names[3])], trusted=False)
    fitting = skill("fitting", examples=[calls("Draw the blue rain", names[3])])

    _, alone = await draft(catalog, [theirs], goal="draw the rain of a table", max_iter=1)
    _, beside = await draft(catalog, [theirs, fitting], goal="draw the rain of a table", max_iter=1)

    assert "plot(" in alone.calls[0].messages[HEAD].content
    assert (f"{names[3]}(" in alone.calls[0].prompt, "# Examples" in alone.calls[0].prompt) == (False, False)
    assert f"{names[3]}(" in beside.calls[0].messages[HEAD].content
    assert '"Draw the rain"' in marked(beside.calls[0].messages[REQUEST].content)


async def test_all_examples_together_offer_a_few_actions_more(catalog: ActionCatalog) -> None:
    """One that would need more is passed over."""
    names = fillers(catalog, 80)
    goals = [calls("Draw rain", *names[:6]), calls("Draw the old rain", *names[6:12])]
    goals += [calls("Draw the cold old rain", *names[:6])]

    _, model = await draft(catalog, [skill("ours", examples=goals)], goal="draw the rain of a table", max_iter=1)
    text = model.calls[0].messages[REQUEST].content

    shown = [json.loads(line)["goal"] for line in text.splitlines() if line.startswith('{"goal"')]
    assert shown == ["Draw rain", "Draw the cold old rain"]
    assert model.calls[0].messages[HEAD].content.count("filler_") == 6 <= ADDED_ACTIONS


async def test_examples_of_trusted_skills_come_first(catalog: ActionCatalog) -> None:
    """Copies of a likely goal do not displace them."""
    goal = "draw the rain of a year"
    theirs = skill("theirs", examples=[calls(goal, "filler_0") for _ in range(3)], trusted=False)
    ours = skill("ours", examples=[calls("Draw something", "filler_0")])
    fillers(catalog, 1)

    text = (await draft(catalog, [theirs, ours], goal=goal))[1].calls[0].messages[REQUEST].content

    assert "Draw something" in unmarked(text)
    assert marked(text).count('{"goal"') == 2


def test_of_one_skill_a_few_examples_are_looked_at(catalog: ActionCatalog, tmp_path: Path) -> None:
    """One problem says where the others begin."""
    (tmp_path / "many").mkdir()
    block = "```json\n{]\n```\n"
    front = "---\nname: many\ndescription: Much.\n---\n## planning.examples\n"
    (tmp_path / "many" / "SKILL.md").write_text(front + block * 2_000)

    problems = Drafter(catalog, skills=load(tmp_path)).skill_problems()

    assert len(problems) == READ_EXAMPLES + 1
    assert f"more than {READ_EXAMPLES}" in problems[-1].message
    assert problems[-1].line == front.count("\n") + 3 * READ_EXAMPLES + 2


def test_of_all_skills_a_bounded_number_of_examples_is_looked_at(catalog: ActionCatalog) -> None:
    """Those of trusted skills before the others, whatever their number; one problem says it."""
    bad = [{"goal": "x"}] * READ_EXAMPLES
    flood = [skill(f"s{at:03}", examples=bad, trusted=False) for at in range(READ_IN_ALL // READ_EXAMPLES + 20)]
    ours = skill("zz", examples=[calls("Draw the rain", "filler_0")])
    fillers(catalog, 1)
    index = ExampleIndex(catalog, SkillRegistry([*flood, ours]), Limits())

    *_, last = problems = index.problems()

    assert READ_IN_ALL - READ_EXAMPLES < len(problems) <= READ_IN_ALL
    assert f"{READ_IN_ALL:,} worked examples are the most" in last.message
    assert len(index.choose("draw the rain", ["zz"], catalog.view.by_name, ["filler_0"])) == 1


def test_examples_are_checked_again_only_where_something_changed(catalog: ActionCatalog) -> None:
    """Another skill changes nothing about them; another action may; their text is read once."""
    texts: list[str] = []

    @dataclass
    class Watched(Skill):
        @property
        def examples(self) -> list[ExampleText]:
            texts.append(self.id)
            return super().examples

    fillers(catalog, 1)
    given = skill("a", examples=[calls("Draw the rain", "filler_0")])
    registry = SkillRegistry([Watched("a", "a", "d", sections=given.sections)])
    index = ExampleIndex(catalog, registry, Limits())

    def chosen() -> Any:
        (one,) = index.choose("draw the rain", ["a"], catalog.view.by_name, ["filler_0"])
        return one

    first = chosen()
    registry.register(skill("b", examples=[{"goal": "x"}]))
    assert chosen() is first
    catalog.add(action(name="late")(_late))
    assert (chosen() is first, texts) == (False, ["a"])


async def _late() -> str:
    """Come late."""
    raise NotImplementedError


def test_a_draft_does_not_wait_while_another_checks_examples(catalog: ActionCatalog) -> None:
    """It takes those that were there before."""
    entered, go_on = Event(), Event()

    @dataclass
    class Slow(Skill):
        @property
        def examples(self) -> list[ExampleText]:
            entered.set()
            assert go_on.wait(10)
            return []

    fillers(catalog, 1)
    registry = SkillRegistry([skill("a", examples=[calls("Draw the rain", "filler_0")])])
    index = ExampleIndex(catalog, registry, Limits())
    assert index.problems() == []
    registry.register(Slow("slow", "slow", "d"))

    with ThreadPoolExecutor() as pool:
        checking = pool.submit(index.problems)
        assert entered.wait(10)
        chosen = pool.submit(index.choose, "draw the rain", ["a"], catalog.view.by_name, ["filler_0"])
        try:
            assert len(chosen.result(5)) == 1
            assert not checking.done()
        finally:
            go_on.set()


async def test_what_is_wrong_with_examples_is_logged_by_drafts_in_a_line_for_each_skill(
    catalog: ActionCatalog, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks for the problems has them; and what was mended and broken again is told again."""
    bad = [skill(name, examples=[{"goal": "x"}] * 30, trusted=False) for name in ("a", "b")]
    registry = SkillRegistry(bad)
    drafter = Drafter(catalog, ScriptedModel([GOOD], repeat=True), skills=registry)
    context = PlanningContext(goal="draw the rain", user_inputs={"path": "x"})

    with caplog.at_level(logging.WARNING, "goalgraph"):
        assert len(drafter.skill_problems()) == 2 * (READ_EXAMPLES + 1)
        assert caplog.records == []
        for _ in range(2):
            await drafter.draft(context)
        told = [record.getMessage() for record in caplog.records]
        for again in (skill("a"), bad[0]):
            registry.register(again, overwrite=True)
            await drafter.draft(context)

    assert [("of 'a'" in line, "(and 20 more)" in line) for line in told] == [(True, True), (False, True)]
    assert [record.getMessage() for record in caplog.records] == [*told, told[0]]
