"""A registry has skills by id, and what an untrusted one may not do."""

import random
import re
import time
from pathlib import Path
from typing import Any

import pytest

import skills
from skills import DuplicateSkill, InvalidSkill, Skill, SkillRegistry, UnknownSkill
from skills.loading import shipped_files
from tests.support.skill_folders import SINGLE, skill, write_skill


def made() -> SkillRegistry:
    registry = SkillRegistry()
    registry.register_inline(id="b", title="B", tags=["x", "y"], domain="d", modes=["chat"], sections={"body": "text"})
    registry.register_inline(id="a", title="A", tags=["x"], config={"flows": ["travel"]})
    return registry


def test_skills_are_found_by_all_that_is_given() -> None:
    registry = made()

    def found(**by: object) -> list[str]:
        return [skill.id for skill in registry.find(**by)]  # pyright: ignore[reportArgumentType]  # by name

    assert found() == ["b", "a"]
    assert found(tag="x") == ["b", "a"]
    assert found(tag="x", domain="d") == ["b"]
    assert found(mode="chat", predicate=lambda skill: skill.title == "A") == []
    assert found(predicate=lambda skill: skill.flows) == ["a"]


def test_an_id_is_taken_once() -> None:
    registry = made()

    with pytest.raises(DuplicateSkill, match="'a' already"):
        registry.register(Skill(id="a", title="Other"))
    registry.register(Skill(id="a", title="Other"), overwrite=True)

    assert registry.require("a").title == "Other"
    assert registry.ids() == ["a", "b"]


def test_an_unknown_id_is_answered_with_the_closest() -> None:
    registry = SkillRegistry([Skill(id="travel-plans", title="T")])

    assert registry.get("travel-plan") is None
    with pytest.raises(UnknownSkill, match="closest: travel-plans"):
        registry.require("travel-plan")
    with pytest.raises(KeyError):
        registry.compile_prompt("nobody")
    assert registry.section("nobody", "body", "nothing") == "nothing"


def test_what_resembles_an_unknown_id_is_found_in_bounded_time() -> None:
    """A model may ask for many that are not there; comparing each with all took 50 ms."""
    hostile = ["".join(random.choices("abcd-", k=size)) for size in (60, 120, 250) for _ in range(500)]
    registry = SkillRegistry(Skill(id=name, title="T") for name in [*hostile, "travel"])

    began = time.process_time()
    for size in (60, 120, 200) * 5:
        with pytest.raises(UnknownSkill):
            registry.require("".join(random.choices("abcd-", k=size)))
    assert time.process_time() - began < 1

    with pytest.raises(UnknownSkill, match="closest: travel"):
        registry.require("travl")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"title": None}, "`title` of a skill cannot be 'None'"),
        ({"description": None}, "`description` of a skill cannot be"),
        ({"id": 7}, "`id` of a skill cannot be '7'"),
        ({"config": None}, "`config` of a skill cannot be"),
        ({"modes": None}, "`modes` of a skill cannot be"),
        ({"sections": "text"}, "`sections` of a skill cannot be"),
        ({"id": " "}, "without /, not ' '"),
        ({"id": "travel/fares.md"}, "without /, not 'travel/fares.md'"),
    ],
    ids=["title", "description", "number", "config", "modes", "sections", "empty", "slash"],
)
def test_a_skill_with_odd_fields_is_refused_when_it_is_added(fields: dict[str, Any], said: str) -> None:
    """Not in the middle of a draft."""
    with pytest.raises(InvalidSkill, match=re.escape(said)):
        SkillRegistry([Skill(**{"id": "a", "title": "A", **fields})])


def test_each_change_counts() -> None:
    registry = SkillRegistry()
    before = registry.version

    registry.register(Skill(id="a", title="A"))

    assert registry.version > before


def test_sections_are_joined_as_in_aethergraph() -> None:
    skill = Skill(id="a", title="A", sections={"z": "Z", "body": "B", "a.b": "AB", "none": ""})

    assert skill.compile_prompt() == "B\n\nAB\n\nZ"
    assert skill.compile_prompt("z", "missing", "a.b", separator="|") == "Z|AB"
    assert skill.compile_prompt(fallback_keys=["z"]) == "Z"
    assert skill.compile_prompt("missing", fallback_keys=["z"]) == ""


def test_a_skill_is_described_without_its_text() -> None:
    assert made().describe()[0] == {
        "id": "b",
        "title": "B",
        "description": "",
        "tags": ["x", "y"],
        "domain": "d",
        "modes": ["chat"],
        "version": None,
        "path": None,
        "sections": ["body"],
        "trusted": True,
        "flows": [],
    }


def test_one_file_is_loaded_by_its_path_or_its_folder(tmp_path: Path) -> None:
    folder = write_skill(tmp_path)
    single = write_skill(tmp_path, "", SINGLE, "mail.md") / "mail.md"
    registry = SkillRegistry()

    assert registry.load_file(str(folder)).id == "pdf"
    assert registry.load_file(single, trusted=True).trusted
    with pytest.raises(DuplicateSkill):
        registry.load_file(folder / "SKILL.md")
    assert registry.load_file(folder / "SKILL.md", overwrite=True) is registry.require("pdf")
    assert not registry.require("pdf").trusted


def test_a_lower_case_file_makes_a_folder_a_skill_too(tmp_path: Path) -> None:
    write_skill(tmp_path, file="skill.md")

    assert skills.load(tmp_path).ids() == ["pdf"]


def test_an_untrusted_skill_under_one_of_our_ids_replaces_nothing(tmp_path: Path) -> None:
    ours = skills.instruction(SkillRegistry(), "planning-rules")
    write_skill(tmp_path, "planning-rules", skill("name: planning-rules", "Call every action."))

    untrusted = skills.load(tmp_path)
    trusted = skills.load(tmp_path, trusted=True)

    assert skills.instruction(untrusted, "planning-rules") == ours
    assert "does not replace our 'planning-rules'" in untrusted.problems[0].message
    assert skills.instruction(trusted, "planning-rules") == "Call every action."
    assert not trusted.problems
    with pytest.raises(UnknownSkill):
        skills.instruction(untrusted, "nothing-of-ours")


def test_a_trusted_skill_takes_the_place_of_one_that_is_not(tmp_path: Path) -> None:
    """In whatever order they come; it is said, since the other one is not there any more."""
    for place in ("project", "home"):
        write_skill(tmp_path / place, "planning-rules", skill("name: planning-rules", f"By {place}."))
    registry = skills.load(tmp_path / "project")
    home = tmp_path / "home" / "planning-rules" / "SKILL.md"

    (added,) = registry.load_path(tmp_path / "home", trusted=True)

    assert skills.instruction(registry, "planning-rules") == "By home."
    assert registry.all() == [added]
    assert [problem.path for problem in registry.problems if "takes the place" in problem.message] == [home]
    assert str(tmp_path / "project") in registry.problems[-1].message
    assert registry.load_path(tmp_path / "project") == []
    with pytest.raises(DuplicateSkill):
        registry.load_file(tmp_path / "project" / "planning-rules")
    assert registry.require("planning-rules") is added

    for name, add in {
        "file": lambda found: found.load_file(home, trusted=True),
        "code": lambda found: found.register_inline(id="planning-rules", title="Ours"),
    }.items():
        other = skills.load(tmp_path / "project")
        assert other.require("planning-rules") is not add(other), name
        assert other.require("planning-rules").trusted, name


def test_what_is_wrong_with_a_file_is_noted_once_and_as_it_is_now(tmp_path: Path) -> None:
    """A service may load its folders again and again."""
    write_skill(tmp_path, "odd", skill("name: other"))
    write_skill(tmp_path, "broken", "no front matter")
    (tmp_path / "gone").symlink_to("/")
    registry = skills.load(tmp_path)
    before = list(registry.problems)

    registry.load_path(tmp_path, overwrite=True)
    registry.load_file(tmp_path / "odd", overwrite=True)
    assert sorted(map(str, registry.problems)) == sorted(map(str, before))
    assert len(before) == 3

    write_skill(tmp_path, "odd", skill("name: odd"))
    (tmp_path / "broken" / "SKILL.md").unlink()
    registry.load_path(tmp_path, overwrite=True)
    assert not [problem for problem in registry.problems if problem.path == tmp_path / "odd" / "SKILL.md"]


def test_what_ships_is_without_any_problem() -> None:
    library = skills.library()

    assert set(library.ids()) == set(shipped_files()) >= {"planning-rules", "replanning"}
    assert skills.check(Path(skills.__file__).with_name("library")) == []
    assert all(skill.trusted and skill.instruction and skill.description for skill in library.all())


def test_a_thousand_skills_load_at_once(tmp_path: Path) -> None:
    """0.15 s where this was written; parsing each body would take as long again."""
    body = "A paragraph about something that is useful to know.\n\n" * 35 + "## planning.instruction\n\nDo it.\n"
    for number in range(1_000):
        write_skill(tmp_path, f"s-{number}", skill(f"name: s-{number}", body))

    began = time.perf_counter()
    loaded = skills.load(tmp_path)

    assert time.perf_counter() - began < 3
    assert len(loaded) == 1_000
    assert loaded.require("s-7").instruction == "Do it."
