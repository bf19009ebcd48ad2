"""Texts, bytes and data of every kind become a plan, or issues that say where and what to do; nothing is guessed."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.limits import Limits
from planner.plan.reading.decode import Decoded, decode_plan

LIMITS = Limits()
PLAN: dict[str, Any] = {
    "goal": "rain",
    "steps": [
        {"id": "load", "action": "load_table", "inputs": {"path": "${user.path}", "rows": 10, "deep": [{"a": None}]}},
        {
            "id": "mail",
            "action": "send",
            "inputs": {"text": "it's {done}: ${load.table}", "ok": True},
            "after": ["load"],
        },
    ],
    "outputs": {"sent": "${mail.sent}"},
}
TEXT = json.dumps(PLAN)


def kinds(decoded: Decoded) -> list[tuple[str, str, str]]:
    return [(issue.kind, issue.step_id, issue.field) for issue in decoded.issues]


def meaning(decoded: Decoded) -> Any:
    assert decoded.plan is not None, decoded.issues
    shape = decoded.plan.to_dict()
    return [(step["id"], step["action"], step["inputs"], step.get("after")) for step in shape["steps"]], shape.get(
        "outputs"
    )


MEANT = meaning(decode_plan(TEXT, LIMITS))

LENIENT = {
    "as it is": TEXT,
    "indented": json.dumps(PLAN, indent=2),
    "fenced with a language": f"```json\n{TEXT}\n```",
    "fenced without one": f"```\n{TEXT}\n```",
    "fenced in prose": f"Here is the plan:\n\n```json\n{TEXT}\n```\nIt has [2] steps.",
    "a fence that is not closed": f"```json\n{TEXT}",
    "in prose": f"Sure! The plan is: {TEXT} I hope {{this}} helps [1].",
    "after reasoning": f'<think>perhaps {{"steps": []}}?</think>\n{TEXT}',
    "Python": repr(PLAN),
    "Python in prose": f"plan = {PLAN!r}",
    "trailing commas": TEXT.replace("}]", "},]").replace("10,", "10 ,"),
    "trailing commas in a fence": f"```json\n{TEXT.replace('}]', '},]')}\n```",
    "unquoted keys": TEXT.replace('"steps"', "steps"),
    "JSON in a JSON string": json.dumps(TEXT),
    "a byte order mark": f"\ufeff{TEXT}",
    "a NUL": TEXT.replace("rain", "ra\0in"),
    "a raw line break in a string": TEXT.replace("rain", "ra\nin"),
    "UTF-8 bytes": TEXT.encode(),
    "UTF-8 bytes with a mark": TEXT.encode("utf-8-sig"),
    "UTF-16 bytes": TEXT.encode("utf-16"),
    "UTF-32 bytes": TEXT.encode("utf-32"),
    "a wrapper": json.dumps({"plan": PLAN}),
    "two wrappers": json.dumps({"result": {"plan": PLAN}}),
    "a version": json.dumps({"plan_version": "2", **PLAN}),
    "the last brace missing": TEXT[:-1],
    "the same plan twice": f"{TEXT}\n{TEXT}",
    "the same key twice with one value": TEXT.replace('"rows": 10', '"rows": 10, "rows": 10'),
    "other names for fields": TEXT.replace('"inputs"', '"arguments"').replace('"after"', '"depends_on"'),
    "remarks": TEXT.replace('"id": "mail"', '"id": "mail", "description": "tell them"'),
}


@pytest.mark.parametrize("source", LENIENT.values(), ids=LENIENT.keys())
def test_a_plan_is_read_however_it_is_written(source: str | bytes) -> None:
    """None of these can be misread."""
    decoded = decode_plan(source, LIMITS)

    assert (meaning(decoded), decoded.issues) == (MEANT, [])


def test_each_change_of_the_text_is_a_patch_with_an_empty_path() -> None:
    """What was changed can be shown."""
    decoded = decode_plan(f"\ufeff```json\n{TEXT.replace('}]', '},]')}\n```", LIMITS)

    reasons = ["a byte order mark was left out", "trailing commas were left out"]
    assert [((), reason) for reason in reasons] == [(patch.path, patch.reason) for patch in decoded.patches]


def test_a_plan_given_as_data_is_read_without_changing_it() -> None:
    """The caller's mapping stays the caller's."""
    decoded = decode_plan({**PLAN, "steps": tuple(PLAN["steps"])}, LIMITS)

    assert (meaning(decoded), decoded.patches) == (MEANT, ())
    assert json.loads(TEXT) == PLAN


def test_a_bare_list_of_steps_is_a_plan() -> None:
    """Models leave the object out."""
    decoded = decode_plan(json.dumps(PLAN["steps"]), LIMITS)

    assert ((MEANT[0], None), []) == (meaning(decoded), decoded.issues)


def test_numbers_as_ids_get_a_letter_wherever_they_are_used() -> None:
    """References, `after` and escaped text are told apart."""
    steps = [
        {"id": 1, "action": "a", "inputs": {}},
        {"id": "12", "action": "b", "inputs": {"x": ["${1.r}", "in ${ 1[0] }", "$${1.r}", 1]}, "after": [1]},
    ]

    decoded = decode_plan({"steps": steps, "outputs": {"r": "${12.r}"}}, LIMITS)

    assert decoded.plan is not None
    inputs = {"x": ["${s1.r}", "in ${s1[0] }", "$${1.r}", 1]}
    assert [step.id for step in decoded.plan.steps] == ["s1", "s12"]
    assert (inputs, "s1") == (decoded.plan.steps[1].inputs, decoded.plan.steps[1].after[0].step)
    assert decoded.plan.outputs == {"r": "${s12.r}"}
    assert "steps[1].inputs.x[0]: a step's id starts with a letter" in [patch.reason for patch in decoded.patches]


@pytest.mark.parametrize("end", range(len(TEXT)))
def test_a_plan_that_was_cut_off_is_never_taken_for_the_whole(end: int) -> None:
    """There is an issue, unless all steps are there."""
    decoded = decode_plan(TEXT[:end], LIMITS)

    assert decoded.issues or meaning(decoded)[0] == MEANT[0]


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


BREAKING = [at for at, one in enumerate(TEXT) if one in '{}[]":,' and not is_json(TEXT[:at] + TEXT[at + 1 :])]


@pytest.mark.parametrize("at", BREAKING)
def test_a_lost_character_never_gives_another_plan_in_silence(at: int) -> None:
    """What json_repair makes of it is either what was meant or comes with an issue."""
    decoded = decode_plan(TEXT[:at] + TEXT[at + 1 :], LIMITS)

    assert decoded.issues or meaning(decoded) == MEANT


FAULTS = {
    "an empty text": ("", [("undecodable", "", "")]),
    "prose": ("I cannot do that [sorry].", [("undecodable", "", "")]),
    "other JSON": ('{"answer": 42}', [("undecodable", "", "")]),
    "null": ("null", [("undecodable", "", "")]),
    "two different plans": (f"{TEXT} or {TEXT.replace('10', '11')}", [("undecodable", "", "")]),
    "a key twice": (TEXT.replace('"rows": 10', '"rows": 10, "rows": 11'), [("undecodable", "load", "inputs.rows")]),
    "a key twice in Python": (repr(PLAN).replace("'rows': 10", "'rows': 10, 'rows': 11"), [("undecodable", "", "")]),
    "NaN": (TEXT.replace("10", "NaN"), [("invalid_literal", "load", "inputs.rows")]),
    "infinity": (TEXT.replace("10", "-1e999"), [("invalid_literal", "load", "inputs.rows")]),
    "5,000 digits": (TEXT.replace("10", "1" * 5000), [("invalid_literal", "load", "inputs.rows")]),
    "half a surrogate pair": (TEXT.replace("it's", "\\ud800"), [("invalid_literal", "mail", "inputs.text")]),
    "bytes that are no UTF-8": (TEXT.encode().replace(b"it's", b"\xff"), [("invalid_literal", "mail", "inputs.text")]),
    "a step without an id": (TEXT.replace('"id": "mail", ', ""), [("undecodable", "", "steps[1].id")]),
    "a step that is a text": ('{"steps": ["load"]}', [("undecodable", "", "steps[0]")]),
    "an unknown field": (TEXT.replace('"mail"', '"mail", "foreach": 1', 1), [("undecodable", "mail", "foreach")]),
    "deep text": ("[" * 100_000, [("over_budget", "", "")]),
    "deep data": ({"steps": [], "extras": {"a": json.loads("[" * 70 + "]" * 70)}}, None),
    "lists that contain themselves": ({"steps": [], "extras": {"a": (knot := [], knot.append(knot))[0]}}, None),
}  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_read_for_sure_becomes_an_issue(
    source: Any, expected: list[tuple[str, str, str]] | None
) -> None:
    """Each at its place, and each says what to do."""
    decoded = decode_plan(source, LIMITS)

    assert decoded.issues
    assert expected in (None, kinds(decoded))
    assert all(issue.message for issue in decoded.issues)


def test_issues_do_not_repeat_values() -> None:
    """A literal may be a secret."""
    decoded = decode_plan({"steps": [{"id": "a", "inputs": "hunter2"}, {"id": ["hunter2"]}]}, LIMITS)

    assert kinds(decoded) == [("undecodable", "a", "inputs"), ("undecodable", "", "steps[1].id")]
    assert "hunter2" not in str(decoded.issues)


@pytest.mark.parametrize("source", ["x" * 101, "é" * 51, b"x" * 101, {"steps": [], "goal": "x" * 101}])
def test_a_plan_over_the_bound_is_refused_before_it_is_read(source: Any) -> None:
    """Bytes count, not characters."""
    decoded = decode_plan(source, Limits(plan_bytes=100))

    assert (decoded.plan, kinds(decoded)) == (None, [("over_budget", "", "")])
    assert "plan_bytes" in decoded.issues[0].message


def test_more_steps_than_allowed_are_refused() -> None:
    """The bound is named."""
    decoded = decode_plan(TEXT, Limits(steps=1))

    assert (decoded.plan, kinds(decoded)) == (None, [("over_budget", "", "steps")])


def test_a_plan_of_megabytes_is_read() -> None:
    """The bound on broken texts is not one on good ones."""
    long = {"steps": [{"id": f"s{at}", "action": "a", "inputs": {"x": "y" * 300}} for at in range(9_000)]}

    decoded = decode_plan(json.dumps(long), LIMITS)

    assert decoded.plan is not None
    assert len(decoded.plan.steps) == 9_000


def test_remarks_are_kept_where_they_harm_nobody() -> None:
    """What a model says about a step is not lost."""
    decoded = decode_plan(LENIENT["remarks"], LIMITS)

    assert decoded.plan is not None
    assert decoded.plan.steps[1].extras == {"description": "tell them"}
    assert [patch.reason for patch in decoded.patches] == ["steps[1].description is a remark, kept in extras"]


def test_another_form_is_reshaped_before_it_is_checked() -> None:
    """The wire form comes in that way."""
    decoded = decode_plan('{"steps": [7]}', LIMITS, reshape=lambda data: {"steps": [{"id": f"s{data['steps'][0]}"}]})

    assert decoded.plan is not None
    assert decoded.plan.steps[0].id == "s7"


@given(st.binary(max_size=200))
@example(b'{"steps": [{"id": "\xff", "action": "\x00"}]}')
def test_random_bytes_never_raise(source: bytes) -> None:
    """Neither as bytes nor as text."""
    for given_source in (source, source.decode("latin-1")):
        decoded = decode_plan(given_source, LIMITS)

        assert decoded.plan is not None or decoded.issues


keys = st.sampled_from(["steps", "id", "action", "inputs", "after", "when", "for_each", "plan", "extras", "x", "args"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_random_json_never_raises(value: Any) -> None:
    """As a text, cut in the middle, and as data."""
    text = json.dumps(value)
    for source in (text, text[: len(text) // 2], text.encode("utf-16"), {"steps": value}, {"steps": [value]}):
        decoded = decode_plan(source, LIMITS)

        assert decoded.plan is not None or decoded.issues


@given(st.text(alphabet="{}[]:,'\"\\ \nab1$`", max_size=120))
def test_random_brackets_and_quotes_never_raise(text: str) -> None:
    """Broken JSON is made of these."""
    for source in (text, f'{{"steps": [{text}', f'{{"steps": [{{"id": "a", "inputs": {text}}}]}}'):
        decoded = decode_plan(source, LIMITS)

        assert decoded.plan is not None or decoded.issues


@pytest.mark.parametrize("unit", ["},'}{1]", "`1(/` }", "'tn]", "'ta\\](]", "{", '["', "[1] ", "```\n"])
@pytest.mark.parametrize("begin", ["", '{"steps": ', '{"steps": [{"id": "a", "inputs": {"x": '])
def test_a_text_made_to_keep_the_reader_busy_is_given_up(begin: str, unit: str) -> None:
    """Without a bound, json_repair takes minutes for some of these, and pytest would end the test."""
    decoded = decode_plan((begin + unit * 8_000)[:31_000], LIMITS)

    assert decoded.issues


HOSTILE = [
    " ",
    "$",
    '"',
    "'",
    "`",
    "[",
    "{}",
    "}",
    "\\",
    '\\"',
    "\n",
    "\n ",
    ", ",
    "```\n",
    "${1 ",
    "</think>",
    "{'a': ",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_long_runs_of_one_thing_are_read_in_reasonable_time(unit: str) -> None:
    """Work that grows faster than the text would meet the timeout of the tests."""
    run = unit * (400_000 // len(unit))
    for text in (run, f"```json\n{run}", f'{{"steps": [{{"id": "a", "action": "b", "x": {run}}}]}}'):
        found = decode_plan(text)
        assert found.plan is not None or found.issues


def test_many_numbers_for_names_are_replaced_in_long_texts_in_reasonable_time() -> None:
    """Each reference is looked up, not searched for among all the names."""
    steps = [{"id": at, "action": "a", "inputs": {}} for at in range(1_000_000, 1_009_000)]
    steps[0]["inputs"] = {"x": "${1008999.a} ${17.a} " + "${1009999.a} " * 250_000}

    found = decode_plan({"steps": steps})

    assert found.plan is not None
    assert found.plan.steps[0].inputs["x"][:29] == "${s1008999.a} ${17.a} ${10099"


def test_an_empty_fence_does_not_hide_the_next_one() -> None:
    """Models open and close one by mistake."""
    plan = {"steps": [{"id": "a", "action": "b"}]}

    found = decode_plan(f"```\n```\n```json\n{json.dumps(plan)[:-1]},}}\n```")

    assert found.plan is not None
    assert found.plan.steps[0].id == "a"
