"""Each benchmark measures something at a tiny size, and what it measured can be written down. No figure is judged."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import makespan, overhead, report, validation
from benchmarks.rows import Row, Unmeasured
from benchmarks.systems import SYSTEMS
from benchmarks.worker import Worker

OURS = ("goalgraph", "goalgraph, InMemorySaver")
TYPED = (*OURS, "StateGraph", "StateGraph, InMemorySaver", "asyncio")


def peers_of(rows: Sequence[Row]) -> set[str]:
    return {peer for row in rows for peer in row.peers}


def assert_measured(rows: Sequence[Row]) -> None:
    """Ours is a number in every row, and a peer that has none says why."""
    assert [row.what for row in rows if isinstance(row.value, str)] == []
    assert all(figure != "" for row in rows for figure in row.peers.values())


def test_makespan_gives_rows_for_all_systems() -> None:
    rows = makespan.run(quick=True, plans=1, size=3)

    assert len(rows) == 4
    assert_measured(rows)
    assert peers_of(rows) == {"StateGraph", "asyncio", "aethergraph"}


def test_overhead_gives_rows_for_chains_and_fans() -> None:
    rows = overhead.run(quick=True, sizes=(3,))

    assert_measured(rows)
    assert {row.what.split(" of ")[0] for row in rows[:-1]} == {"chain", "fan"}
    assert peers_of(rows) == {"StateGraph", "asyncio", "aethergraph"}


def test_validation_gives_rows_for_each_catalog() -> None:
    rows = validation.run(quick=True, catalogs=(50, 60), long=60)

    assert_measured(rows)
    assert peers_of(rows) == {"aethergraph"}


@pytest.mark.parametrize("system", TYPED)
@pytest.mark.parametrize("shape", overhead.SHAPES)
async def test_every_system_runs_each_step_once(system: str, shape: str) -> None:
    run = SYSTEMS[system](overhead.SHAPES[shape](5))

    await run()
    await run()  # raises unless the second run, too, ran every step


def test_a_critical_path_is_the_longest_way() -> None:
    steps = makespan.random_steps(seed=1)

    assert steps == makespan.random_steps(seed=1)
    assert max(step.seconds for step in steps) <= makespan.critical_path(steps) <= sum(step.seconds for step in steps)


def test_what_takes_too_long_is_ended_and_the_next_is_measured() -> None:
    with Worker() as worker:
        with pytest.raises(Unmeasured, match=r"over 0\.001 s"):
            worker.call("overhead:measure", "asyncio", "chain", 3, 1, limit=0.001)
        with pytest.raises(Unmeasured, match="KeyError"):
            worker.call("overhead:measure", "no such system", "chain", 3, 1, limit=60)

        assert worker.call("overhead:measure", "asyncio", "chain", 3, 1, limit=60)["step"] > 0


@pytest.mark.parametrize(
    ("value", "goal", "met"),
    [(0.3, "≤ 0.4", True), (0.5, "≤ 0.4", False), (94, "≥ 93", True), (100, "100", True), (0.1, "0", False),
     (0.9, "< 1", True), (1, "", None), ("over 60 s", "≤ 0.4", False)],
)  # fmt: skip
def test_a_goal_is_met_or_missed(value: float | str, goal: str, met: object) -> None:
    assert Row(what="it", value=value, goal=goal).met is met


def test_mappings_are_read_as_rows() -> None:
    row = Row.of({"what": "repaired", "value": 80, "unit": "%", "goal": "100", "peer": 77})

    assert row == Row(what="repaired", value=80, unit="%", goal="100", peers={"peer": 77})
    assert Row.of({"what": "repaired", "value": 80, "peer": ""}).peers == {}


def test_figures_are_written_between_their_markers(tmp_path: Path) -> None:
    rows = [
        Row(what="chain", value=0.3, unit="ms", goal="≤ 0.4", peers={"asyncio": 0.003, "aethergraph": "not installed"})
    ]
    facts = report.machine()
    readme = tmp_path / "README.md"
    readme.write_text("# Benchmarks\n\nWords.\n", encoding="utf-8")

    for _ in range(2):
        report.write_section("overhead", report.markdown(rows, facts), readme)
        report.write_section("repair", "other figures", readme)
    report.write_json("overhead", rows, facts, quick=True, folder=tmp_path / "results")
    report.show("overhead", rows, Console(quiet=True))

    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Benchmarks\n\nWords.\n")
    assert text.count("| chain | 0.3 ms | ≤ 0.4 met | 0.003 (100×) | not installed |") == 1
    assert text.count("other figures") == 1
    written = json.loads((tmp_path / "results" / "overhead-quick.json").read_text(encoding="utf-8"))
    assert written["rows"][0]["met"] is True
