"""The benchmarks of skills and of turns measure something at a tiny size. No figure is judged."""

from pathlib import Path

import pytest

from benchmarks import skills, turns
from benchmarks.skill_folders import EXAMPLES, names, write
from benchmarks.three_steps import catalog
from benchmarks.turn_systems import NO_STORE, STORES, SYSTEMS
from planner import PlannerService
from skills import check, load


def test_skills_gives_rows_for_both_forms() -> None:
    rows = skills.run(quick=True, count=10)

    assert [row for row in rows if isinstance(row.value, str)] == []
    assert {peer for row in rows for peer in row.peers} == {skills.AETHERGRAPH, skills.REFERENCE, skills.WITHOUT}
    assert [row.what.split(" ")[1] for row in rows].count("single") == 4


def test_turns_gives_rows_with_and_without_stores_and_messages() -> None:
    rows = turns.run(quick=True, rounds=2, histories=(4,))

    assert [row for row in rows if isinstance(row.value, str)] == []
    assert {row.what.partition(":")[0] for row in rows} == {
        f"{place}{before}" for place in (NO_STORE, STORES) for before in ("", ", 4 messages before")
    }


@pytest.mark.parametrize("system", [NO_STORE, STORES])
async def test_every_turn_does_what_it_says(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each raises when something else came of it."""
    monkeypatch.chdir(tmp_path)

    async with SYSTEMS[system](6) as ways:
        for _ in range(2):
            await ways.begin()
            for way in ways.turns.values():
                await way()


def test_the_skills_that_are_measured_are_right_and_differ(tmp_path: Path) -> None:
    """A fault would be measured instead of a skill."""
    for form in ("folders", "files"):
        write(tmp_path / form, 30, single=form == "files")
    registry = load(tmp_path / "folders")

    assert check(tmp_path / "folders") == []
    assert load(tmp_path / "files").ids() == registry.ids() == sorted(name for name, _ in names(30))
    assert PlannerService(catalog(), skills=registry).skill_problems() == []
    assert sum(len(skill.examples) for skill in registry.all()) == 30 / EXAMPLES
    sizes = [len(skill.raw_markdown or "") for skill in registry.all()]
    assert all(1_800 <= size <= 2_600 for size in sizes)
