"""`goalgraph catalog explain`: for people on stderr, as JSON on stdout, and nothing in a goal acts on the terminal."""

import json

import pytest

from goalgraph.cli.exits import Exit
from tests.support.command_line import CommandLine

MANY = '''
"""Sixty actions, one for agents and one of a flow."""

from goalgraph import ActionCatalog, action

catalog = ActionCatalog()
for verb in ("paint", "weigh", "polish", "inspect", "label", "insure"):
    for noun in ("river", "engine", "violin", "museum", "recipe", "garden", "ladder", "mirror", "barrel", "anchor"):
        def made() -> str:
            return ""

        made.__name__ = f"{verb}_{noun}"
        made.__doc__ = f"{verb.title()} a {noun}."
        catalog.add(made)


@action(roles=["agent"])
async def book_flight(flight: str) -> str:
    """Book a flight."""
    return flight


@action(flow_id="charts")
async def plot_flight(flight: str) -> str:
    """Draw the way of a flight."""
    return flight


catalog.add(book_flight)
catalog.add(plot_flight)
'''


@pytest.fixture
def many(command: CommandLine) -> str:
    return f"{command.file('many.py', MANY)}:catalog"


def test_people_see_what_was_found_and_why(command: CommandLine) -> None:
    """Rank, action, reason, words; the verdict; and that a small catalog is sent whole."""
    result = command("catalog", "explain", "the weather of a city", "-c", command.catalog)

    assert (result.exit_code, result.stdout) == (Exit.OK, "")
    for said in ("forecast_weather", "weather ", "find_city", "clause 1", "passed", "3 of 3 actions", "offered all"):
        assert said in result.stderr


def test_json_has_all_of_it(command: CommandLine, many: str) -> None:
    """The same facts, on stdout alone."""
    found = command.json("catalog", "explain", "polish the violin of Ole", "-c", many, "--count", "2")

    assert [one["name"] for one in found["found"]][:1] == ["polish_violin"]
    assert {word["text"] for word in found["found"][0]["words"]} == {"polish", "violin"}
    assert (found["k"], len(found["found"]), found["unknown_words"]) == (2, 2, ["Ole"])
    assert (found["sends_all"], found["refused"], found["rule"]) == (False, False, "floor")
    assert {"action", "name", "reason"} == set(found["left_out"][0])


def test_roles_and_flows_are_those_of_whoever_asks(command: CommandLine, many: str) -> None:
    """Without a role, what needs one is left out, as it is of a draft."""
    goal = ("catalog", "explain", "book a flight and draw the way of a flight", "-c", many)
    stranger = command.json(*goal, "--flow", "mail")
    agent = command.json(*goal, "--role", "agent", "--flow", "charts", "--flow", "mail")

    assert stranger["unknown_flows"] == agent["unknown_flows"] == ["mail"]
    assert "no action is of the flow mail; there is: charts" in command(*goal, "--flow", "mail").stderr
    left = {one["name"]: one["reason"] for one in stranger["left_out"]}
    assert left["book_flight"] == "needs one of the roles: agent"
    assert left["plot_flight"] == "belongs to the flow charts"
    assert {"book_flight", "plot_flight"} <= {one["name"] for one in agent["found"]}
    assert "needs one of the roles: agent" in command(*goal).stderr


def test_a_goal_that_nothing_is_about_is_no_error(command: CommandLine, many: str) -> None:
    """It says why, and what a draft would do."""
    result = command("catalog", "explain", "zzz qqq", "-c", many)

    assert result.exit_code == Exit.OK
    for said in ("refused: no action", "no action has: zzz, qqq", "61 of 62 actions", "asks it once"):
        assert said in result.stderr


def test_what_a_draft_would_do_is_said_where_the_search_alone_finds_nothing(command: CommandLine) -> None:
    said = command("catalog", "explain", "zzz qqq", "-c", command.catalog).stderr

    assert "✗" not in said
    assert "a search finds nothing, but a draft does not search here" in said
    assert "a draft is offered all 3 of them (up to 50 are offered without a search)" in said


@pytest.mark.parametrize("goal", ["violin \x1b[31m\x07", "violin \u202e\x9b2J", "violin \udc9b"])
def test_control_characters_of_a_goal_are_shown_escaped(command: CommandLine, many: str, goal: str) -> None:
    """And reach no terminal, nor a program that reads the JSON."""
    shown = command("catalog", "explain", goal, "-c", many)
    written = command("catalog", "explain", goal, "-c", many, "--json").stdout

    last = goal[-1] if goal[-1] in "\x07\udc9b" else goal[7]
    assert f"\\u{ord(last):04x}" in shown.stderr
    assert set(shown.stderr + written).isdisjoint("\x1b\x07\u202e\x9b\udc9b")
    assert json.loads(written)["goal"] == goal


def test_a_long_goal_is_cut_for_people(command: CommandLine, many: str) -> None:
    """200 kB of it scroll nobody's screen away."""
    result = command("catalog", "explain", "polish a violin, " * 12_000, "-c", many)

    assert result.exit_code == Exit.OK
    assert len(result.stderr) < 20_000
    assert "polish_violin" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("violin", "--count", "0")])
def test_wrong_usage_is_told(command: CommandLine, many: str, arguments: tuple[str, ...]) -> None:
    """No goal; no actions asked for."""
    assert command("catalog", "explain", *arguments, "-c", many).exit_code == Exit.USAGE
