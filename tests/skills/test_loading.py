"""Skills load leniently: what is wrong is noted with its file and line, and stops nothing else."""

import os
import tracemalloc
from pathlib import Path

import pytest

import skills
from skills import InvalidSkill, Skill, SkillFolderMissing, SkillRegistry, finding, registry
from tests.support.skill_folders import SINGLE, STANDARD, skill, write_skill


def only(loaded: SkillRegistry) -> Skill:
    (skill,) = loaded.all()
    return skill


def test_the_standards_form_is_read_with_our_hints(tmp_path: Path) -> None:
    front = """name: pdf
description: >-
  Reads PDF files.
license: MIT
compatibility: Python 3.11
allowed-tools: Bash(git add:*) Read
metadata:
  author: somebody
  version: 1.10
  planner.title: Forms
  planner.tags: text mining, pdf
  planner.domain: papers
  planner.modes: planning chat
  planner.flows: travel, mail
  planner.preferred-keys: file
"""
    write_skill(tmp_path, content=skill(front, "Intro.\n\n## planning.instruction\n\nOpen it."))

    loaded = skills.load(tmp_path)

    found = only(loaded)
    assert not loaded.problems
    assert (found.id, found.title, found.description) == ("pdf", "Forms", "Reads PDF files.")
    assert (found.license, found.compatibility, found.version) == ("MIT", "Python 3.11", "1.10")
    assert found.allowed_tools == ["Bash(git add:*)", "Read"]
    assert (found.tags, found.domain, found.modes) == (["text mining", "pdf"], "papers", ["planning", "chat"])
    assert (found.flows, found.preferred_keys) == (["travel", "mail"], ["file"])
    assert found.metadata["author"] == "somebody"
    assert dict(found.sections) == {"body": "Intro.", "planning.instruction": "Open it."}
    assert found.instruction == "Open it."
    assert (found.path, found.trusted) == (tmp_path / "pdf" / "SKILL.md", False)


def test_aethergraphs_form_is_read_and_unknown_keys_become_configuration(tmp_path: Path) -> None:
    front = "---\nid: mail.send\ntitle: Send mail\ndescription: Sends.\ntags: [mail, text]\ndomain: office\n"
    write_skill(tmp_path, "", f"{front}modes: chat\nversion: 2.0\nlimit: 3\nflows: [mail]\n---\nBe brief.\n", "mail.md")

    loaded = skills.load(tmp_path, trusted=True)

    found = only(loaded)
    assert not loaded.problems
    assert (found.id, found.title, found.tags, found.domain) == ("mail.send", "Send mail", ["mail", "text"], "office")
    assert (found.modes, found.version, found.config) == (["chat"], "2.0", {"limit": 3, "flows": ["mail"]})
    assert (found.flows, found.instruction, found.trusted) == (["mail"], "Be brief.", True)


def test_the_instruction_is_the_whole_body_but_the_examples() -> None:
    written = Skill(id="a", title="A", sections={"body": "Intro.", "planning.examples": "{}", "b": "More."})

    assert written.instruction == "Intro.\n\nMore."
    assert Skill(id="a", title="A").instruction == ""


def test_the_instruction_of_a_file_keeps_its_headings(tmp_path: Path) -> None:
    write_skill(tmp_path, content=skill("", "Intro.\n\n## Steps\n\n1. Go.\n\n## planning.examples\n\n```json\n{}\n```"))

    assert only(skills.load(tmp_path)).instruction == "Intro.\n\n## Steps\n\n1. Go."


def test_worked_examples_are_given_as_they_are_written_with_their_lines(tmp_path: Path) -> None:
    body = '## planning.examples\n\n```json\n{"goal": 1}\n```\n\n```json\nno JSON\n```\n'
    write_skill(tmp_path, content=skill("", body))

    examples = only(skills.load(tmp_path)).examples

    assert [(example.text, example.line) for example in examples] == [('{"goal": 1}\n', 8), ("no JSON\n", 12)]
    written = Skill(id="a", title="A", sections={"planning.examples": "```json\n{}\n```"})
    assert [(example.text, example.line) for example in written.examples] == [("{}\n", None)]


def test_the_summary_is_one_line_of_bounded_length() -> None:
    assert Skill(id="a", title="Title").summary == "Title"
    assert Skill(id="a", title="Title", description="two\n lines").summary == "two lines"
    assert len(Skill(id="a", title="Title", description="x" * 5_000).summary) == 1_024


@pytest.mark.parametrize(
    ("front", "line", "message"),
    [
        ("name: other", 2, "they have to be the same"),
        ("name: PDF", 2, "lower case"),
        ("name: pdf--a", 2, "hyphen"),
        ("name: " + "a" * 70, 2, "70 characters"),
        ("name: [a]", 2, "`name` is missing, or is no text"),
        ("name: ''", 2, "`name` is missing"),
        ("description: " + "d" * 2_000, 3, "2000 characters"),
        ("compatibility: [a]", 3, "`compatibility` has to be text"),
        ("license: [a]", 3, "'license' has to be text"),
        ("effort: high", 3, "'effort' is no field of the standard"),
        ("tags: {a: b}", 3, "'tags' has to be a list of words"),
        ("metadata: text", 3, "'metadata' has to be lines"),
        ("metadata:\n  a: [b, c]", 4, "'metadata.a' has to be text, so its parts are joined"),
        ("metadata:\n  a: {b: c}", 4, "'metadata.a' has to be text, so it is left out"),
        ("allowed-tools: [Read]", 3, "'allowed-tools' has to be one text"),
        ("license: MIT\nlicense: BSD", 4, "there twice"),
    ],
)
def test_what_is_against_the_standard_is_a_warning_and_the_skill_loads(
    tmp_path: Path, front: str, line: int, message: str
) -> None:
    folder = write_skill(tmp_path, content=skill(front))

    loaded = skills.load(tmp_path)

    assert len(loaded) == 1
    assert {problem.severity for problem in loaded.problems} == {"warning"}
    assert [p.path for p in loaded.problems if message in p.message and p.line == line] == [folder / "SKILL.md"]


@pytest.mark.parametrize(("name", "loaded_as"), [("123", "123"), ("no", "no"), ("2026-01-02", "2026-01-02")])
def test_a_name_that_yaml_takes_for_something_else_is_text(tmp_path: Path, name: str, loaded_as: str) -> None:
    write_skill(tmp_path, name, skill(f"name: {name}"))

    loaded = skills.load(tmp_path)

    assert (loaded.ids(), loaded.problems) == ([loaded_as], [])


def test_a_name_that_reads_as_a_file_of_another_skill_is_no_id(tmp_path: Path) -> None:
    """A model asks for files by such names."""
    write_skill(tmp_path, "mine", skill("name: pdf/fares.md"))

    assert skills.load(tmp_path).ids() == ["mine"]


def test_unknown_keys_and_lists_are_kept(tmp_path: Path) -> None:
    front = "effort: high\ntags: [a, b]\nversion: 3\nmetadata:\n  planner.flows: [x, y]\nallowed-tools: [Read, Grep]"
    write_skill(tmp_path, content=skill(front))

    found = only(skills.load(tmp_path))

    assert (found.config, found.tags, found.version) == ({"effort": "high"}, ["a", "b"], "3")
    assert (found.flows, found.allowed_tools) == (["x", "y"], ["Read", "Grep"])


UNUSABLE = [
    pytest.param("---\nname: pdf\n---\nbody", "no `description`", id="no description"),
    pytest.param("---\nname: pdf\ndescription: ~\n---\nbody", "no `description`", id="null description"),
    pytest.param("---\nname: pdf\ndescription: [a]\n---\nbody", "no `description`", id="list as description"),
    pytest.param("", "there is no front matter", id="empty"),
    pytest.param("# Just text", "there is no front matter", id="no front matter"),
    pytest.param("---\nname: pdf\ndescription: Does.\n", "has no end", id="no end"),
    pytest.param("---\nname: 'pdf\n---\n", "is not YAML", id="no YAML"),
    pytest.param("---\na: &a [x]\nb: [*a, *a]\n---\n", "anchors and aliases", id="bomb"),
    pytest.param("---\n- a\n---\n", "is a list", id="list"),
    pytest.param("---\n---\n", "is empty", id="nothing in it"),
    pytest.param(b"---\nname: pdf\ndescription: \xe9t\xe9\n---\n", r"not text in UTF-8 \(line 3\)", id="latin"),
    pytest.param(b"\xff\xfe-\x00-\x00", "not text in UTF-8", id="utf-16"),
    pytest.param(skill("", "a\0b"), "NUL", id="nul"),
    pytest.param(skill("", "x" * 10_000_000), "larger than 1 MB", id="10 MB"),
    pytest.param("---\nid: ''\ntitle: T\n---\n", "`id` has to be a text", id="empty id"),
    pytest.param('---\nid: "a\\x1b[31m"\n---\n', "`id` has to be a text", id="id with control characters"),
    pytest.param("---\nid: pdf/fares.md\n---\n", "`id` has to be a text", id="id that reads as a file of another"),
]


@pytest.mark.parametrize(("content", "reason"), UNUSABLE)
def test_a_file_that_cannot_be_used_is_skipped_with_a_reason_and_the_others_load(
    tmp_path: Path, content: str | bytes, reason: str
) -> None:
    bad = write_skill(tmp_path, "bad", content) / "SKILL.md"
    write_skill(tmp_path)

    loaded = skills.load(tmp_path)

    assert loaded.ids() == ["pdf"]
    (problem,) = loaded.problems
    assert (problem.path, problem.severity) == (bad, "warning")
    assert problem.message.startswith("skipped: ")
    with pytest.raises(InvalidSkill, match=reason) as refused:
        SkillRegistry().load_file(bad)
    assert str(refused.value).startswith(str(bad))


def test_windows_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path: Path) -> None:
    write_skill(tmp_path, content=b"\xef\xbb\xbf" + STANDARD.replace("\n", "\r\n").encode())

    loaded = skills.load(tmp_path)

    assert (only(loaded).section("body"), loaded.problems) == ("Open the file.", [])


def test_what_is_no_skill_is_passed_over_and_what_looks_like_one_is_named(tmp_path: Path) -> None:
    folder = write_skill(tmp_path)
    write_skill(folder, "references", SINGLE, "mail.md")
    write_skill(folder, "", SINGLE, "mail.md")
    write_skill(tmp_path, "", "# Read me\n", "README.md")
    write_skill(tmp_path, "", "---\ntitle: A page\n---\n", "page.md")
    write_skill(tmp_path, "", "text", "notes.txt")

    loaded = skills.load(tmp_path)

    assert loaded.ids() == ["pdf"]
    assert [(problem.path, "no `id`" in problem.message) for problem in loaded.problems] == [
        (tmp_path / "page.md", True)
    ]


def test_hidden_folders_and_deep_ones_are_not_looked_at(tmp_path: Path) -> None:
    for number, place in enumerate((".git", "node_modules", "1/2/3/4/5/6/7", "1/2/3/4/5/6")):
        write_skill(tmp_path / place, f"s-{number}", skill(f"name: s-{number}"))

    assert skills.load(tmp_path).ids() == ["s-3"]


def test_without_recursion_only_the_folder_and_the_skills_in_it_are_read(tmp_path: Path) -> None:
    write_skill(tmp_path)
    write_skill(tmp_path, "", SINGLE, "mail.md")
    write_skill(tmp_path / "more", "deep", skill("name: deep"))
    write_skill(tmp_path, "more", SINGLE.replace("mail.send", "other"), "other.md")

    loaded = SkillRegistry()

    assert [found.id for found in loaded.load_path(tmp_path, recursive=False)] == ["mail.send", "pdf"]
    assert [found.id for found in SkillRegistry().load_path(tmp_path, pattern="ma*.md")] == ["mail.send"]


def test_the_first_of_two_skills_with_one_id_counts_and_both_files_are_named(tmp_path: Path) -> None:
    first = write_skill(tmp_path / "a", content=skill("license: first")) / "SKILL.md"
    second = write_skill(tmp_path / "b", content=skill("license: second")) / "SKILL.md"

    loaded = skills.load(tmp_path)

    assert only(loaded).license == "first"
    (problem,) = loaded.problems
    assert problem.path == second
    assert str(first) in problem.message
    loaded.load_path(tmp_path / "b", overwrite=True)
    assert only(loaded).license == "second"


def test_a_skill_made_in_code_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    loaded = SkillRegistry([Skill(id="pdf", title="Ours")])
    write_skill(tmp_path)

    assert loaded.load_path(tmp_path) == []
    assert "made in code" in loaded.problems[0].message


def test_a_folder_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        write_skill(tmp_path, f"s-{number}", skill(f"name: s-{number}"))

    with monkeypatch.context() as bounded:
        bounded.setattr(finding, "MOST_SKILLS", 3)
        few = skills.load(tmp_path)
    with monkeypatch.context() as bounded:
        bounded.setattr(registry, "MOST_MEMORY", 10)
        small = skills.load(tmp_path)

    with monkeypatch.context() as bounded:
        bounded.setattr(finding, "MOST_ENTRIES", 7)  # 5 folders and what is in 2 of them
        some = skills.load(tmp_path)

    assert few.ids() == ["s-0", "s-1", "s-2"]
    assert len(some) == 2
    assert all("no more are looked at" in loaded.problems[0].message for loaded in (few, some))
    assert small.ids() == ["s-0"]
    assert "skipped" in small.problems[0].message


def test_a_folder_is_bounded_by_the_memory_that_its_texts_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One emoji makes each character of a text four bytes long."""
    for name, body in (("a", "\U0001f600" + "x" * 10_000), ("b", "y" * 10_000), ("c", "z" * 10_000)):
        write_skill(tmp_path / "wide", name, skill(f"name: {name}", body))
        write_skill(tmp_path / "plain", name, skill(f"name: {name}", body.strip("\U0001f600")))
    monkeypatch.setattr(registry, "MOST_MEMORY", 35_000)

    assert skills.load(tmp_path / "wide").ids() == ["a"]
    assert skills.load(tmp_path / "plain").ids() == ["a", "b", "c"]


def test_a_skill_has_its_text_once_in_memory(tmp_path: Path) -> None:
    write_skill(tmp_path, content=skill("", "x\n" * 450_000 + "## planning.instruction\n\nDo it."))
    tracemalloc.start()
    try:
        found = only(skills.load(tmp_path))
        assert found.instruction == "Do it."
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 900_000 < held < 1_200_000


def test_many_problems_of_one_file_are_cut_off(tmp_path: Path) -> None:
    write_skill(tmp_path, content=skill("".join(f"k{number}: 1\n" for number in range(2_000))))

    loaded = skills.load(tmp_path)

    assert len(loaded.problems) == 51
    assert "there is more" in loaded.problems[-1].message


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SkillFolderMissing, match="no folder"):
        skills.load(tmp_path / "nowhere")

    loaded = SkillRegistry()
    assert loaded.load_path(tmp_path / "nowhere") == []
    assert "cannot be read" in loaded.problems[0].message


def test_control_characters_of_escapes_do_not_reach_the_terminal(tmp_path: Path) -> None:
    front = 'description: "Clears \\x1b[2J it."\nlicense: "\\a"\nmetadata:\n  planner.title: "\\x9b31m"'
    write_skill(tmp_path, content=skill(front))

    found = only(skills.load(tmp_path))

    assert (found.description, found.license, found.title) == ("Clears  [2J it.", None, "31m")


def test_what_nobody_sees_does_not_stand_in_a_description(tmp_path: Path) -> None:
    """It could tell a model what people do not read; the joiners of Persian and of emoji do not."""
    hidden = "\u202e\u2066\u200b\ufeff\u00ad\U000e0041"
    front = f'description: "Be{hidden} می\u200cروم"\nmetadata:\n  planner.title: "T\\u202eitle"'
    write_skill(tmp_path, content=skill(front))

    found = only(skills.load(tmp_path))

    assert (found.description, found.title) == ("Be می\u200cروم", "Title")
    assert Skill(id="a", title="A", description=f"\x1b[2JGo{hidden}\n on").summary == "[2JGo on"


def test_strange_names_of_files_do_not_reach_the_terminal(tmp_path: Path) -> None:
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\x1b[31m\xff")
    Path(strange).mkdir()
    write_skill(Path(strange), content="no front matter")
    write_skill(Path(strange), "\x1b[2J", '---\ndescription: "Does \\x1b[31m it."\n---\n')

    loaded = skills.load(tmp_path)

    assert len(loaded.problems) == 2
    assert all(str(problem).isprintable() for problem in loaded.problems)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("```yaml\ngoal: a\n```", 9, "none that is marked as json"),
        ("```\n{}\n```", 9, "none that is marked as json"),
        ("Go to Oslo.", 7, "no block that is marked as json"),
        ("```json\n{}\n```" + " x" * 60_000, 7, "no example behind 100,000 is read"),
    ],
    ids=["yaml", "no mark", "no block", "long"],
)
def test_worked_examples_that_would_not_be_read_are_noted(tmp_path: Path, text: str, line: int, message: str) -> None:
    """Nobody would hear of it otherwise."""
    write_skill(tmp_path, content=skill("", f"Do it.\n\n## planning.examples\n\n{text}"))

    (problem,) = skills.load(tmp_path).problems

    assert (problem.line, message in problem.message) == (line, True)


def test_examples_that_are_read_are_no_problem(tmp_path: Path) -> None:
    write_skill(tmp_path, content=skill("", "## planning.examples\n```yaml\na: b\n```\n~~~ json\n{}\n~~~"))

    assert skills.load(tmp_path).problems == []


def test_a_folder_that_looks_like_a_skill_is_noted(tmp_path: Path) -> None:
    write_skill(tmp_path, "forms/scripts", "", "fill.py")
    write_skill(tmp_path, "all/references", "", "about.md")
    write_skill(tmp_path, "all/pdf")
    write_skill(tmp_path, "scripts", "", "release.py")
    write_skill(tmp_path, "pdf2/scripts", "", "fill.py")
    write_skill(tmp_path, "pdf2", skill("name: pdf2"))

    loaded = skills.load(tmp_path)

    assert loaded.ids() == ["pdf", "pdf2"]
    assert [(problem.path, "no SKILL.md" in problem.message) for problem in loaded.problems] == [
        (tmp_path / "forms", True)
    ]


def test_several_folders_make_one_registry(tmp_path: Path) -> None:
    write_skill(tmp_path / "first")
    write_skill(tmp_path / "second", "mail", skill("name: mail"))
    write_skill(tmp_path / "second", "pdf")

    loaded = skills.load(tmp_path / "first", str(tmp_path / "second"))

    assert loaded.ids() == ["mail", "pdf"]
    assert loaded.require("pdf").path == tmp_path / "first" / "pdf" / "SKILL.md"
    with pytest.raises(SkillFolderMissing, match="no folder of skills at"):
        skills.load(tmp_path / "first", tmp_path / "third")
