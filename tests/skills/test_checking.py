"""The strict check finds a skill invalid where the standard's own validator does."""

import re
import string
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skills_ref.validator import validate

from skills import check, load
from tests.support.skill_folders import SINGLE, STANDARD, skill, write_skill

Case = tuple[str, str, bool]
"""The folder, the content of its file, and whether it is valid."""

FULL = 'license: MIT\ncompatibility: Python\nallowed-tools: Read Grep\nmetadata:\n  author: me\n  version: "1.0"'

CORPUS: dict[str, Case] = {
    "smallest": ("pdf", STANDARD, True),
    "all fields": ("pdf", skill(FULL), True),
    "no body": ("pdf", "---\nname: pdf\ndescription: Does it.\n---", True),
    "remarks": ("pdf", skill("# first\nlicense: MIT # last"), True),
    "windows lines": ("pdf", STANDARD.replace("\n", "\r\n"), True),
    "old mac lines": ("pdf", STANDARD.replace("\n", "\r"), True),
    "quoted": ("pdf", skill("name: 'pdf'\ndescription: \"Does: it.\""), True),
    "folded": ("pdf", skill("description: >-\n  Does\n  it."), True),
    "literal": ("pdf", skill("description: |\n  Does\n  it."), True),
    "number as name": ("123", skill("name: 123"), True),
    "truth as name": ("yes", skill("name: yes"), True),
    "date as licence": ("pdf", skill("license: 2026-01-02"), True),
    "licence that is a list": ("pdf", skill("license:\n  - MIT\n  - BSD"), True),
    "metadata that is text": ("pdf", skill("metadata: text"), True),
    "accents": ("données", skill("name: données"), True),
    "chinese": ("技能", skill("name: 技能\ndescription: 处理文件。"), True),
    "cyrillic": ("навык", skill("name: навык"), True),
    "cyrillic in upper case": ("Навык", skill("name: Навык"), False),
    "ligature and plain": ("file", skill("name: ﬁle"), True),
    "composed and not": ("e\u0301", skill("name: é"), True),
    "spaces around the name": ("pdf", skill('name: " pdf "'), True),
    "64 characters": ("a" * 64, skill("name: " + "a" * 64), True),
    "65 characters": ("a" * 65, skill("name: " + "a" * 65), False),
    "upper case": ("PDF", skill("name: PDF"), False),
    "hyphen first": ("-pdf", skill("name: -pdf"), False),
    "hyphen last": ("pdf-", skill("name: pdf-"), False),
    "two hyphens": ("p--df", skill("name: p--df"), False),
    "underscore": ("p_df", skill("name: p_df"), False),
    "space": ("p df", skill("name: p df"), False),
    "emoji": ("😀", skill("name: 😀"), False),
    "other folder": ("other", STANDARD, False),
    "no name": ("pdf", "---\ndescription: Does it.\n---\n", False),
    "empty name": ("pdf", skill("name: ''"), False),
    "name that is a list": ("pdf", skill("name:\n  - pdf"), False),
    "name that is =": ("=", skill("name: ="), False),
    "no description": ("pdf", "---\nname: pdf\n---\n", False),
    "empty description": ("pdf", skill("description:"), False),
    "description of spaces": ("pdf", skill('description: "  "'), False),
    "description that is a mapping": ("pdf", skill("description:\n  a: b"), False),
    "description of 1024": ("pdf", skill("description: " + "d" * 1024), True),
    "description of 1025": ("pdf", skill("description: " + "d" * 1025), False),
    "literal of 1025": ("pdf", skill("description: |\n  " + "d" * 1024 + "\nlicense: a"), False),
    "compatibility of 500": ("pdf", skill("compatibility: " + "c" * 500), True),
    "compatibility of 501": ("pdf", skill("compatibility: " + "c" * 501), False),
    "compatibility that is a list": ("pdf", skill("compatibility:\n  - a"), False),
    "unknown field": ("pdf", skill("version: 1.0"), False),
    "field in upper case": ("pdf", skill("License: MIT"), False),
    "list in brackets": ("pdf", skill("license: [MIT]"), False),
    "mapping in braces": ("pdf", skill("metadata: {a: b}"), False),
    "brackets in text": ("pdf", skill("license: a [b] {c}"), True),
    "anchor": ("pdf", skill("license: &a MIT"), False),
    "alias": ("pdf", skill("license: *a"), False),
    "tag": ("pdf", skill("license: !!str MIT"), False),
    "own tag": ("pdf", skill("license: !mine MIT"), False),
    "key twice": ("pdf", skill("license: a\nlicense: b"), False),
    "key twice further in": ("pdf", skill("metadata:\n  a: b\n  a: c"), False),
    "uneven": ("pdf", skill("license:\n  a: b\nmetadata:\n    a: b"), False),
    "colon in text": ("pdf", skill("description: Does: it"), False),
    "tab before a value": ("pdf", skill("license:\tMIT"), False),
    "at sign": ("pdf", skill("license: @me"), False),
    "open quote": ("pdf", skill("license: 'MIT"), False),
    "list": ("pdf", "---\n- name\n---\n", False),
    "text": ("pdf", "---\nname\n---\n", False),
    "empty file": ("pdf", "", False),
    "empty front matter": ("pdf", "---\n---\n", False),
    "no front matter": ("pdf", "# PDF\n", False),
    "blank line first": ("pdf", "\n" + STANDARD, False),
    "byte order mark": ("pdf", "\ufeff" + STANDARD, False),
    "no end": ("pdf", "---\nname: pdf\ndescription: Does it.\n", False),
    "dashes in the last value": ("pdf", skill("name: pdf\ndescription: a --- b"), True),
    "dashes in the first value": ("pdf", "---\ndescription: a --- b\nname: pdf\n---\n", False),
    "line separator": ("pdf", skill("license: a\u2028b"), True),
    "next line": ("pdf", skill("license: a\x85b"), True),
    "second document": ("pdf", skill("license: a\n...\nb: c"), False),
}


@pytest.mark.parametrize("name", CORPUS)
def test_the_check_agrees_with_the_standards_validator(tmp_path: Path, name: str) -> None:
    folder, content, valid = CORPUS[name]
    path = write_skill(tmp_path, folder, content)

    assert (validate(path) == []) is valid
    errors = [problem for problem in check(path) if problem.severity == "error"]
    assert (errors == []) is valid
    assert all(
        problem.path == path / "SKILL.md" and problem.line for problem in errors if "missing" not in str(problem)
    )


VALUES = [
    *("Does it.", "pdf", "a: b", "a #b", "a#b", "- a", "[a]", "{a: b}", "&a b", "*a", "!a b", "'it''s'", '"\\t"', "'a"),
    *("@a", "`a`", "%a", "? a", "|\n  a", ">\n  a\n\n", "|2\n  a", "\n  a: b", "\n  - a", "\n- a", "\n    a: b", "\t"),
    *(
        "",
        "7",
        "yes",
        "a,b",
        "-",
        "a\n  b",
        "a\nb",
        "日本語",
        "a\u2028b",
        "\xa0",
        "d" * 1024,
        "d" * 1025,
        "=",
        "]",
        ":",
    ),
]
KEYS = [
    "description",
    "license",
    "compatibility",
    "metadata",
    "allowed-tools",
    "version",
    "'name'",
    "",
    "1",
    "? a",
    "é",
]
LINES = st.tuples(st.sampled_from(KEYS), st.sampled_from([": ", ":", ":\t"]), st.sampled_from(VALUES)).map("".join)
TEXT = st.text(string.ascii_letters + " -:#'\"[]{}&*!|>%@`,?=\n\tüß字", max_size=20)
NAMES = st.sampled_from(["pdf", "PDF", "-a", "a--b", "é", "ﬁle", "a_b", "7", "yes", "''", "a" * 65, "技能", '"pdf"'])


def odd(front: str) -> bool:
    """Tell whether this is one of the cases that the docstring of `check` leaves out."""
    return "---" in front or bool(re.search(r"<<|^=|[?] =|description:\s*(~|null)\s*$", front, re.MULTILINE))


@settings(max_examples=100)
@given(name=NAMES, lines=st.lists(LINES | TEXT, max_size=3), first=st.booleans(), described=st.booleans())
@example(name="pdf", lines=[], first=True, described=True)
def test_the_check_agrees_on_whatever_front_matter(
    *, name: str, lines: list[str], first: bool, described: bool
) -> None:
    wanted = [f"name: {name}", *(["description: Does it."] if described else [])]
    front = "\n".join([*wanted, *lines] if first else [*lines, *wanted])
    with TemporaryDirectory() as root:
        path = write_skill(Path(root), name.strip("\"'") or "pdf", f"---\n{front}\n---\nbody\n")
        try:
            valid = not validate(path)
        except (AssertionError, AttributeError):  # its YAML reader fails on a list as a key, and on control characters
            valid = False
        errors = [problem for problem in check(path) if problem.severity == "error"]

    assert odd(front) or (errors == []) is valid, (front, errors)


def warnings(path: Path) -> list[tuple[int | None, str]]:
    found = check(path)
    assert {problem.severity for problem in found} <= {"warning"}
    return [(problem.line, problem.message) for problem in found]


@pytest.mark.parametrize(
    ("front", "body", "line", "message"),
    [
        ("", "line\n" * 501, None, "the body has 501 lines"),
        ("", "See [forms](references/forms.md).", 5, "refers to 'references/forms.md'"),
        ("", "\nRun `scripts/fill.py`.", 6, "refers to 'scripts/fill.py'"),
        ("", "[up](../other.md)", 5, "refers to '../other.md'"),
        ("", f"[long](a{'b' * 500})", 5, "refers to 'abbb"),
        ("metadata:\n  planner.flow: a", "", 4, "'planner.flow' is no hint"),
        ("metadata:\n  planner.flows: ''", "", 4, "'planner.flows' says nothing"),
        ("", "## planning.examples\n\nNone.", 5, "no block that is marked as json"),
        ("", "## planning.examples\n\n```json\n{\n  a\n}\n```", 9, "is not JSON"),
        ("", "## planning.examples\n\n```json\n" + "[" * 60_000 + "\n```", 8, "nested too deeply"),
        ("license:\n  - MIT", "", 3, "'license' has to be text"),
        ("description: a --- b", "", 3, "--- within a line"),
    ],
)
def test_what_the_validator_does_not_look_at_is_a_warning(
    tmp_path: Path, front: str, body: str, line: int | None, message: str
) -> None:
    assert [
        found for found, text in warnings(write_skill(tmp_path, content=skill(front, body))) if message in text
    ] == [line]


def test_what_is_there_or_elsewhere_is_not_missed(tmp_path: Path) -> None:
    text = "[a](references/a%20b.md#part) [b](https://example.org/x) [c](#part) [d](mailto:a@b.c) `myscripts/x.py`"
    folder = write_skill(tmp_path, content=skill("", text))
    write_skill(folder, "references", "text", "a b.md")

    assert check(folder) == []


def test_a_folder_of_skills_is_checked_file_by_file(tmp_path: Path) -> None:
    write_skill(tmp_path)
    write_skill(tmp_path / "more", content=skill("license: again"))
    bad = write_skill(tmp_path, "bad", "---\nname: bad\n---\n")
    write_skill(tmp_path, "", SINGLE, "mail.md")
    write_skill(tmp_path, "", "---\nid: a\n---\n", "old.md")
    write_skill(tmp_path, "", "# Read me", "README.md")

    found = check(tmp_path)

    assert [(p.path, p.severity) for p in found if p.severity == "error"] == [(bad / "SKILL.md", "error")]
    messages = "\n".join(map(str, found))
    assert "no `title`" in messages
    assert "has the id 'pdf' too" in messages


@pytest.mark.parametrize("make", ["nothing", "folder without a skill", "folder with a text", "text"])
def test_where_there_is_no_skill_that_is_an_error(tmp_path: Path, make: str) -> None:
    path = tmp_path / "pdf"
    if make != "nothing":
        path.mkdir()
    if make in {"folder with a text", "text"}:
        write_skill(path, "", "# Text", "README.md")

    (problem,) = check(path / "README.md" if make == "text" else path)

    assert validate(path) != []
    assert problem.severity == "error"


@pytest.mark.parametrize("content", [b"\xff", skill("", "x" * 1_100_000).encode(), skill("", "\0").encode()])
def test_a_file_that_is_not_loaded_is_an_error(tmp_path: Path, content: bytes) -> None:
    assert [problem.severity for problem in check(write_skill(tmp_path, content=content))] == ["error"]


def test_a_path_to_the_file_is_a_path_to_the_skill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_skill(tmp_path)
    monkeypatch.chdir(folder)

    assert check(folder / "SKILL.md") == check("SKILL.md") == check(".") == check(folder) == []


def test_no_link_is_followed_unless_skills_are_trusted(tmp_path: Path) -> None:
    """Its beginning would be told in the errors."""
    outside = write_skill(tmp_path / "outside")
    root = write_skill(tmp_path / "root", "own", skill("name: own")).parent
    (root / "pdf").mkdir()
    (root / "pdf" / "SKILL.md").symlink_to(outside / "SKILL.md")
    (root / "folder").symlink_to(outside)
    (root / "mail.md").symlink_to(write_skill(tmp_path, "", SINGLE, "mail.md") / "mail.md")

    found = {(problem.path, problem.severity, problem.message) for problem in check(root)}

    link = "it is a link, which is followed only where skills are trusted"
    assert found == {
        (root / "pdf" / "SKILL.md", "error", f"it cannot be read: {link}"),
        (root / "mail.md", "warning", f"it cannot be read: {link}"),
        (root / "folder", "warning", "it is a link that leads out of the folder of skills, so it is not followed"),
    }
    assert [problem.message for problem in check(root / "pdf", trusted=True)] == [link]
    assert [problem.severity for problem in check(root / "mail.md")] == ["error"]


def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    folder = write_skill(tmp_path, content=skill("hooks: {a: [b], c: [d]}"))

    assert len(set(check(folder))) == len(check(folder)) == 2


@pytest.mark.parametrize("content", ["", "# PDF\n", "---\nname: pdf\n", skill("description: Use when: it rains")])
def test_the_check_says_of_front_matter_what_loading_says(tmp_path: Path, content: str) -> None:
    folder = write_skill(tmp_path, content=content)

    (checked,), (loaded,) = check(folder), load(tmp_path).problems

    assert (checked.line, checked.message) == (loaded.line, loaded.message.removeprefix("skipped: "))
