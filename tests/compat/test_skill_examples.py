"""E15: the calls in the docstrings of aethergraph's skills and registry work with ours.

Each test also passes with aethergraph 0.1.0a4 itself, which is not among what the tests need.
"""

from pathlib import Path

import pytest

from skills import Skill, SkillRegistry

CODING = """---
id: coding.generic
title: Generic coding helper
description: Helps with code.
tags: [coding, surrogate]
modes: [planning]
style: plain
---
Before all sections.

## chat.system
You help.

## Chat User
Somebody asks.

### Deeper
Still the user.

## chat.system
You review, too.

## empty

"""


@pytest.fixture
def registry() -> SkillRegistry:
    return SkillRegistry()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    (tmp_path / "coding.md").write_text(CODING)
    (tmp_path / "more" / "travel.md").write_text("---\nid: travel\ntitle: Travel\ndescription: Plans.\n---\nGo.\n")
    return tmp_path


def test_a_skill_is_registered_and_replaced(registry: SkillRegistry) -> None:
    skill = Skill(
        id="example.skill", title="Example", description="Shows.", tags=["example"], domain="general", modes=["chat"]
    )

    registry.register(skill)
    with pytest.raises(ValueError, match=r"example\.skill"):
        registry.register(skill)
    registry.register(skill, overwrite=True)

    assert registry.get("example.skill") is skill
    assert registry.all() == [skill]


def test_a_skill_is_made_in_code(registry: SkillRegistry) -> None:
    skill = registry.register_inline(
        id="coding.generic",
        title="Generic coding helper",
        description="Helps.",
        tags=["coding"],
        modes=["chat", "coding"],
        sections={"chat.system": "You help.", "coding.system": "You write JSON."},
    )

    assert skill.section("chat.system") == "You help."
    assert skill.section("nonexistent.key", default="Default") == "Default"
    assert skill.has_section("coding.system")
    assert skill.compile_prompt("coding.system", "chat.system") == "You write JSON.\n\nYou help."


def test_a_file_is_loaded(registry: SkillRegistry, folder: Path) -> None:
    skill = registry.load_file(str(folder / "coding.md"))

    assert (skill.id, skill.title, skill.tags, skill.modes) == (
        "coding.generic",
        "Generic coding helper",
        ["coding", "surrogate"],
        ["planning"],
    )
    assert skill.config == {"style": "plain"}
    assert sorted(skill.sections) == ["body", "chat.system", "chat_user"]
    assert skill.section("chat_user") == "Somebody asks.\n\n### Deeper\nStill the user."
    assert skill.section("chat.system").split() == ["You", "help.", "You", "review,", "too."]
    assert (skill.raw_markdown, skill.path) == (CODING, folder / "coding.md")


def test_a_file_may_be_called_like_the_standards(registry: SkillRegistry, folder: Path) -> None:
    (folder / "skill.md").write_text(CODING)

    assert registry.load_file(folder / "skill.md").id == "coding.generic"


def test_a_folder_is_loaded(registry: SkillRegistry, folder: Path) -> None:
    assert [skill.id for skill in registry.load_path(folder, recursive=False)] == ["coding.generic"]
    assert [skill.id for skill in registry.load_path(folder, pattern="*.md", recursive=True, overwrite=True)] == [
        "coding.generic",
        "travel",
    ]
    assert registry.ids() == ["coding.generic", "travel"]


def test_a_skill_is_looked_up(registry: SkillRegistry, folder: Path) -> None:
    registry.load_path(folder)

    assert registry.get("nobody") is None
    assert registry.require("travel").title == "Travel"
    with pytest.raises(KeyError, match="nobody"):
        registry.require("nobody")
    assert registry.section("travel", "body") == "Go."
    assert registry.section("travel", "missing.section", default="Default") == "Default"
    assert registry.section("nonexistent.skill", "missing.section", default="Default") == "Default"


def test_a_prompt_is_compiled(registry: SkillRegistry, folder: Path) -> None:
    registry.load_path(folder)

    assert registry.compile_prompt("coding.generic", "chat_user", "nothing").startswith("Somebody asks.")
    assert registry.compile_prompt("coding.generic", "nothing", fallback_keys=["chat_user"]) == ""
    assert registry.compile_prompt("coding.generic", fallback_keys=["body"], separator="|") == "Before all sections."
    assert registry.compile_prompt("coding.generic").startswith("Before all sections.\n\nYou help.")


def test_skills_are_found_and_described(registry: SkillRegistry, folder: Path) -> None:
    registry.load_path(folder)

    assert [skill.id for skill in registry.find(tag="surrogate", mode="planning")] == ["coding.generic"]
    assert [skill.id for skill in registry.find(predicate=lambda skill: "Travel" in skill.title)] == ["travel"]
    described = registry.describe()[1]
    assert {key: described[key] for key in ("id", "title", "tags", "domain", "modes", "version", "sections")} == {
        "id": "travel",
        "title": "Travel",
        "tags": [],
        "domain": None,
        "modes": [],
        "version": None,
        "sections": ["body"],
    }


def test_a_skill_is_made_of_a_mapping() -> None:
    skill = Skill.from_dict({"id": "a", "title": "A", "limit": 3}, {"body": "Text."})

    assert (skill.id, skill.config, skill.sections) == ("a", {"limit": 3}, {"body": "Text."})
    with pytest.raises(ValueError, match="id"):
        Skill.from_dict({"title": "A"}, {})
