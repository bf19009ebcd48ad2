"""A plan becomes a picture and a chart, whatever its words are and however large or wrong it is."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import ActionCatalog, action
from planner.plan import CandidatePlan
from planner.plan.drawing.draw import Drawing, draw_plan
from planner.plan.drawing.layout import arrange

SVG = "{http://www.w3.org/2000/svg}"


@action
async def load(path: str) -> list[str]:
    """Read a file."""
    raise NotImplementedError


@action(effect="external", approval=True)
async def send(files: list[str]) -> str:
    """Send files."""
    raise NotImplementedError


CATALOG = ActionCatalog([load, send])
RAIN: dict[str, Any] = {
    "goal": "Draw the rain",
    "steps": [
        {"id": "read", "action": "load", "inputs": {"path": "${user.path}"}},
        {"id": "month", "action": "group", "inputs": {"table": "${read.table}", "by": ["month"]}},
        {"id": "plots", "action": "plot", "for_each": "${month.groups}", "inputs": {"group": "${item}"}},
        {
            "id": "mail",
            "action": "send",
            "inputs": {"files": "${plots.files}"},
            "when": {"ref": "${month.total}", "op": "gt", "value": 0},
            "after": ["read"],
            "optional": True,
        },
    ],
    "outputs": {"pictures": "${plots.files}"},
}


def draw(*steps: dict[str, Any], **options: Any) -> Drawing:
    return draw_plan(CandidatePlan.from_dict({"steps": list(steps)}), **options)


def texts(drawing: Drawing) -> list[str]:
    """The words of the picture; reading them shows that it is ET."""
    return [node.text or "" for node in ET.fromstring(drawing.svg).iter(f"{SVG}text")]


def classes(drawing: Drawing) -> list[str]:
    return [node.get("class", "") for node in ET.fromstring(drawing.svg).iter()]


def test_a_picture_shows_steps_actions_bindings_and_marks() -> None:
    """What a person has to see before agreeing."""
    drawing = draw_plan(CandidatePlan.from_dict(RAIN), catalog=CATALOG)

    assert set(texts(drawing)) == {
        "Draw the rain", "read", "load", "⟵ path", "month", "group", "plots", "plot", "mail", "send", "table", "groups",
        "files", "total", "each", "→ pictures", "if month.total > 0", "optional", "approval", "no undo",
    }  # fmt: skip
    assert {"way data", "way order", "external optional", "broken"} <= set(classes(drawing))


def test_a_chart_has_a_node_for_each_step_and_an_arrow_for_each_edge() -> None:
    """In Mermaid's own words."""
    drawing = draw_plan(CandidatePlan.from_dict(RAIN))

    assert drawing.mermaid.splitlines() == [
        "flowchart TD",
        '  n0("read<br/>load<br/>#10229; path")',
        '  n1("month<br/>group")',
        '  n2[["plots<br/>plot<br/>each<br/>#8594; pictures"]]',
        '  n3{{"mail<br/>send<br/>if month.total #62; 0<br/>optional"}}',
        '  n1 -->|"total"| n3',
        '  n1 -->|"groups"| n2',
        '  n2 -->|"files"| n3',
        "  n0 -.-> n3",
        '  n0 -->|"table"| n1',
    ]


def test_states_colour_the_steps() -> None:
    """With a sign beside the colour."""
    drawing = draw_plan(CandidatePlan.from_dict(RAIN), {"read": "succeeded", "month": "failed", "plots": "skipped"})

    assert {"✓", "✕", "–"} <= set(texts(drawing))
    assert {"succeeded", "failed", "skipped"} <= set(classes(drawing))
    assert "  class n1 failed" in drawing.mermaid


def test_a_notebook_shows_the_picture() -> None:
    """IPython asks for the bundle."""
    drawing = CandidatePlan.from_dict(RAIN).draw()

    assert drawing._repr_mimebundle_() == {"image/svg+xml": drawing.svg, "text/plain": drawing.mermaid}


def test_many_steps_that_differ_in_name_only_are_one_stack() -> None:
    """Thirty boxes side by side are no picture."""
    workers = [{"id": f"w{at}", "action": "work", "inputs": {"x": "${a.items}"}} for at in range(30)]
    last = {"id": "z", "action": "join", "inputs": {"all": [f"${{w{at}.result}}" for at in range(30)]}}
    states = {f"w{at}": "succeeded" for at in range(12)}
    drawing = draw({"id": "a", "action": "load"}, *workers, last, states=states)

    assert {"w0 … w29", "30 steps, 12 done"} <= set(texts(drawing))
    assert drawing.mermaid.count("-->") == 2


def test_a_large_plan_is_drawn_in_part() -> None:
    """With a note about the rest, in little time."""
    chain = [
        {"id": f"s{at}", "action": "work", "inputs": {"x": f"${{s{at - 1}.result}}"} if at else {}}
        for at in range(10_000)
    ]
    drawing = draw(*chain)

    assert "… and 9,800 more steps that are not drawn" in texts(drawing)
    assert drawing.svg.count('class="box"') == 200
    assert "9,800" in drawing.mermaid


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [{"id": "a", "action": "work", "inputs": {"x": "${a.result}"}}],
        [{"id": "a", "action": "work", "after": ["b"]}, {"id": "b", "action": "work", "inputs": {"x": "${a.result}"}}],
        [{"id": "a", "action": "work"}, {"id": "a", "action": "work"}],
        [{"id": "a", "inputs": {"x": "${ghost.result} ${"}, "after": ["ghost"]}],
        [{"id": "user", "action": "work"}, {"id": "", "action": ""}],
    ],
    ids=["no steps", "waits for itself", "cycle", "one id twice", "dangling", "odd ids"],
)
def test_a_plan_that_is_not_valid_is_drawn(steps: list[dict[str, Any]]) -> None:
    """It is looked at to see what is wrong."""
    drawing = draw(*steps, catalog=CATALOG)

    assert drawing.svg.count('class="box"') == len({step["id"] for step in steps})


HOSTILE = "</title><script>alert(1)</script>\"'&]]>`|{}#quot;\n\x00\x1b\u202e\ud800"


def test_hostile_words_stay_words() -> None:
    """Nothing in a plan becomes markup, and nothing turns the line around."""
    plan = CandidatePlan.from_dict({
        "goal": HOSTILE,
        "steps": [
            {"id": HOSTILE, "action": HOSTILE, "inputs": {"x": f"${{user.{'k' * 99}}}"}, "for_each": ["<b>"]},
            {"id": "b", "action": "x", "when": {"ref": HOSTILE, "op": "eq", "value": HOSTILE}, "after": [HOSTILE]},
        ],
        "outputs": {HOSTILE: "${b.result}"},
    })  # fmt: skip
    drawing = draw_plan(plan, {"b": HOSTILE})

    assert {node.tag.removeprefix(SVG) for node in ET.fromstring(drawing.svg).iter()} == {
        "svg", "style", "rect", "g", "title", "text", "path"
    }  # fmt: skip
    for unseen in ("\x00", "\x1b", "\u202e", "\ud800", "<script"):
        assert unseen not in drawing.svg + drawing.mermaid
    assert all(line.count('"') in (0, 2) for line in drawing.mermaid.splitlines())


@given(st.text(max_size=120), st.text(max_size=40), st.text(max_size=40))
def test_any_words_give_a_picture(goal: str, name: str, key: str) -> None:
    """Also those that no XML may hold."""
    step = {"id": name, "action": name, "inputs": {key: key}, "when": {"ref": key, "value": key, "op": "ne"}}
    drawing = draw_plan(CandidatePlan.from_dict({"goal": goal, "steps": [step], "outputs": {key: f"${{{name}}}"}}))

    ET.fromstring(drawing.svg.encode())
    assert not re.search(r"[^\w #;<>/\"(){}\[\]\-|.,…\n\u0300-\uffff\U00010000-\U0010ffff]", drawing.mermaid)


NEAR = 0.01
SHAPES = st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=25)


@given(SHAPES)
def test_boxes_never_overlap(shape: list[list[int]]) -> None:
    """Nor do the bends of long edges run through a box of their row."""
    edges = [(str(source % at), str(at)) for at, sources in enumerate(shape) for source in sources if at]
    level = {"0": 0}
    for at in range(1, len(shape)):
        level[str(at)] = max([level[one] + 1 for one, other in edges if other == str(at)], default=0)
    rows = [[name for name in level if level[name] == one] for one in range(max(level.values()) + 1)]
    layout = arrange(rows, {name: (100.0, 40.0 + 5 * int(name)) for name in level}, list(dict.fromkeys(edges)))
    boxes = list(layout.boxes.values())

    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            apart = abs(one.x - other.x) >= (one.width + other.width) / 2 - NEAR
            assert apart or one.y + one.height <= other.y or other.y + other.height <= one.y
        for way in layout.ways.values():
            for x, y in way[1:-1]:
                assert abs(x - one.x) >= one.width / 2 - NEAR or not one.y < y < one.y + one.height
    assert all(box.x - box.width / 2 >= -NEAR and box.x + box.width / 2 <= layout.width + NEAR for box in boxes)
