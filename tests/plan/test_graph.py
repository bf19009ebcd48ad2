"""What waits for what."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.plan import CandidatePlan, EdgeKind, build_graph
from planner.plan.graph import MAX_CYCLES, find_cycles


def plan_of(**waits: Any) -> CandidatePlan:
    """Steps by id, each with the ids of the steps whose output it takes."""
    return CandidatePlan.from_dict(
        {
            "steps": [
                {"id": step, "action": "act", "inputs": {"x": [f"${{{other}.out}}" for other in others]}}
                for step, others in waits.items()
            ]
        }
    )


def step(**fields: Any) -> dict[str, Any]:
    return {"id": "s", "action": "act", **fields}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"inputs": {"x": "${a.out}"}}, EdgeKind.DATA),
        ({"inputs": {"x": [{"y": "in ${a.out}"}]}}, EdgeKind.DATA),
        ({"for_each": "${a.out}"}, EdgeKind.DATA),
        ({"when": {"ref": "${a.out}"}}, EdgeKind.DATA),
        ({"when": {"ref": "${user.x}", "op": "eq", "value": ["${a.out}"]}}, EdgeKind.DATA),
        ({"after": ["a"]}, EdgeKind.REQUIRED),
        ({"after": [{"step": "a", "required": False}]}, EdgeKind.ORDER),
        ({"after": [{"step": "a", "required": False}], "inputs": {"x": "${a.out}"}}, EdgeKind.DATA),
        ({"inputs": {"x": "$${a.out}", "y": "${user.a} ${item.a} ${b.out}", "z": "${"}}, None),
    ],
)
def test_every_place_of_a_binding_makes_a_step_wait(fields: dict[str, Any], kind: EdgeKind | None) -> None:
    """A4: also nested ones; the strongest reason counts, and what the plan does not have is left out."""
    graph = build_graph(CandidatePlan.from_dict({"steps": [step(**fields), {"id": "a", "action": "act"}]}))

    assert ({} if kind is None else {"a": kind}) == graph.edges["s"]


def test_levels_are_the_longest_way_from_a_step_without_dependencies() -> None:
    """The order is by level, then id; neither depends on how the steps are listed."""
    waits = {"d": "bc", "c": "b", "b": "a", "a": "", "x": "", "y": "ax"}
    graph = build_graph(plan_of(**waits))

    assert {"a": 0, "x": 0, "b": 1, "y": 1, "c": 2, "d": 3} == graph.levels
    assert ["a", "x", "b", "y", "c", "d"] == graph.order
    assert graph.order == build_graph(plan_of(**dict(reversed(waits.items())))).order
    assert 2 == graph.width


@pytest.mark.parametrize(
    ("waits", "cycles"),
    [
        ({"a": "b", "b": ""}, []),
        ({"a": "a"}, [["a"]]),
        ({"b": "a", "a": "b"}, [["a", "b"]]),
        ({"b": "c", "c": "a", "a": "b", "z": "a", "y": ""}, [["a", "b", "c"]]),
        ({"a": "b", "b": "a", "c": "d", "d": "c", "e": "ac"}, [["a", "b"], ["c", "d"]]),
        ({"a": "bc", "b": "a", "c": "a"}, [["a", "b"], ["a", "c"]]),
        ({"a": "bc", "b": "x", "x": "y", "y": "x", "c": "a"}, [["a", "c"], ["x", "y"]]),
    ],
)
def test_every_knot_is_found(waits: dict[str, str], cycles: list[list[str]]) -> None:
    """Each way round once, from the step that sorts first; what is behind a cycle is not in it."""
    graph = build_graph(plan_of(**waits))

    assert cycles == sorted(find_cycles(graph))
    assert {name for cycle in cycles for name in cycle}.isdisjoint(graph.levels)


@given(st.dictionaries(st.sampled_from("abcdefg"), st.text("abcdefg", max_size=3), max_size=7))
def test_without_one_edge_of_each_cycle_nothing_goes_round(waits: dict[str, str]) -> None:
    """So that mending what is reported is enough; and each reported way is there."""
    cycles = find_cycles(build_graph(plan_of(**waits)))
    edges = {name: set(others) & waits.keys() for name, others in waits.items()}
    for cycle in cycles:
        assert all(after in edges[name] for name, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    found = {tuple(cycle) for cycle in cycles}

    assert len(found) == len(cycles)
    assert bool(cycles) == (len(build_graph(plan_of(**waits)).levels) < len(waits))


def test_ten_thousand_steps_in_a_row_are_read_without_recursion() -> None:
    """A23: also when they come in no order, and when they go round."""
    count = 10_000
    row = {f"s{at}": [f"s{at - 1}"] if at else [] for at in range(count)}
    mixed = list(row.items())
    random.shuffle(mixed)
    graph = build_graph(plan_of(**dict(mixed)))
    round_about = build_graph(plan_of(**row | {"s0": [f"s{count - 1}"]}))

    assert [f"s{at}" for at in range(count)] == graph.order
    assert [] == find_cycles(graph)
    assert [count] == [len(cycle) for cycle in find_cycles(round_about)]


def test_a_plan_full_of_cycles_gives_a_number_that_can_be_read() -> None:
    """A hostile plan cannot make the answer larger than itself."""
    names = [f"s{at}" for at in range(60)]

    assert MAX_CYCLES == len(find_cycles(build_graph(plan_of(**dict.fromkeys(names, names)))))
