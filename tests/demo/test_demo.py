"""The demo: its figures are right, its plan has every shape, and its files can be looked at."""

import asyncio
import csv
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from goalgraph.cli.exits import Exit
from goalgraph.demo.actions import (
    SEATTLE,
    draw_chart,
    load_weather,
    longest_dry_spell,
    longest_heat_wave,
    measure_warming,
    rain_by_month,
    summarise_years,
    write_report,
)
from planner.catalog import ActionCatalog
from planner.plan import CandidatePlan, build_graph
from tests.support.command_line import CommandLine, own_environment
from tests.support.openai_server import refused, serve

ROOT = Path(__file__).parents[2]


def test_the_data_are_whole_years_in_order() -> None:
    weather = load_weather()

    assert len(weather.days) == 1461
    assert [one.year for one in summarise_years(weather.days).years] == [2012, 2013, 2014, 2015]
    assert [weather.days[0].date, weather.days[-1].date] == [date(2012, 1, 1), date(2015, 12, 31)]


def test_the_rain_of_the_months_adds_up_to_the_rain_of_the_years() -> None:
    days = load_weather().days
    with SEATTLE.open(encoding="utf-8", newline="") as file:
        total = sum(float(row["precipitation"]) for row in csv.DictReader(file))

    assert sum(month.rain_mm for month in rain_by_month(days).months) == pytest.approx(total / 4)


def test_the_longest_dry_spell_is_dry_and_ends_with_rain() -> None:
    days = load_weather().days
    spell = longest_dry_spell(days).dry_spell
    at = next(index for index, day in enumerate(days) if day.date == spell.first)

    assert {day.rain_mm for day in days[at : at + spell.days]} == {0.0}
    assert [days[at - 1].rain_mm > 0, days[at + spell.days].rain_mm > 0] == [True, True]
    assert spell.days == 48


def test_the_longest_heat_wave_is_found() -> None:
    wave = longest_heat_wave(load_weather().days).heat_wave

    assert (wave.days, wave.first) == (6, date(2015, 6, 30))


def test_a_straight_line_of_years_is_measured_exactly() -> None:
    years = summarise_years(load_weather().days).years
    line = [year.model_copy(update={"mean_c": 10 + 0.5 * at}) for at, year in enumerate(years)]

    assert measure_warming(line[::-1]).trend.degrees_a_year == pytest.approx(0.5)


@pytest.mark.parametrize("step", [load_weather, draw_chart, write_report])
def test_no_plan_says_which_files_are_read_or_written(step: Callable[..., object]) -> None:
    spec = ActionCatalog([step]).list_actions()[0]

    assert {slot.name for slot in spec.inputs} & {"folder", "csv_file", "path"} == set()


@pytest.mark.parametrize("chart", ["/etc/hostname", "../secret.txt", "a/b.png", "a\\b.png", "..", ".", "", "link.png"])
def test_a_report_takes_its_chart_from_its_own_folder_only(chart: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (out / "link.png").symlink_to(tmp_path / "secret.txt")
    days = load_weather().days
    years = summarise_years(days).years
    facts = (rain_by_month(days).months, years, measure_warming(years).trend, longest_dry_spell(days).dry_spell)

    with pytest.raises(ValueError, match="name of a file"):
        write_report(out, *facts, longest_heat_wave(days).heat_wave, chart)

    assert [path.name for path in out.iterdir()] == ["link.png"]


def test_a_report_for_each_of_something_is_no_fault_of_the_demo(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model may plan that; the step then returns lists of findings and of files."""
    out = tmp_path / "answer"
    plan = CandidatePlan.from_dict(command.json("demo", "--out", out)["plan"])
    steps = [
        step.model_copy(update={"for_each": "${summarise_years.years}"}) if step.action == "write_report" else step
        for step in plan.steps
    ]

    async def of_a_model(*_: object) -> CandidatePlan:
        return plan.model_copy(update={"steps": tuple(steps)})

    monkeypatch.setattr("goalgraph.cli.demo._plan", of_a_model)
    result = command("demo", "--out", out)
    told = command.json("demo", "--out", out)

    assert (result.exit_code, result.exception) == (Exit.OK, None)
    assert (told["findings"], told["files"]) == ([], {"chart": str(out / "chart.png")})


def test_the_demo_answers_without_a_model(command: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "answer"

    result = command("demo", "--out", out)

    assert (result.exit_code, result.stdout) == (Exit.OK, "")
    assert "November, December and March are the wettest months" in result.stderr
    assert "48 days without a drop" in result.stderr
    assert "6 days of 30 °C or more" in result.stderr
    assert {path.name for path in out.iterdir()} == {"chart.png", "plan.json", "plan.svg", "report.html", "report.md"}
    assert (out / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert "chart.png" in (out / "report.md").read_text(encoding="utf-8")
    assert "data:image/png;base64," in (out / "report.html").read_text(encoding="utf-8")


def test_the_plan_of_the_demo_branches_and_joins(command: CommandLine, tmp_path: Path) -> None:
    told = command.json("demo", "--out", tmp_path / "answer")
    plan = CandidatePlan.from_dict(told["plan"])
    waits = {step: len(others) for step, others in build_graph(plan).edges.items()}

    assert (told["ok"], len(told["findings"])) == (True, 5)
    assert build_graph(plan).width >= 4
    assert waits["write_report"] >= 5


def test_the_saved_plan_runs_again(command: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "answer"
    command("demo", "--out", out)

    result = command("run", out / "plan.json", "-c", "goalgraph.demo")

    assert (result.exit_code, (tmp_path / "goalgraph-demo" / "report.md").is_file()) == (Exit.OK, True)


def test_a_place_that_cannot_be_written_is_named(command: CommandLine) -> None:
    result = command("demo", "--out", command.plan / "below-a-file")

    assert (result.exit_code, "cannot be written" in result.stderr) == (Exit.USAGE, True)


def test_without_matplotlib_the_demo_says_how_to_install_it(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goalgraph.cli.demo.find_spec", lambda name: None)

    result = command("demo")

    assert (result.exit_code, "pip install 'goalgraph[demo]'" in result.stderr) == (Exit.USAGE, True)


def test_without_matplotlib_the_chart_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    days = load_weather().days

    with pytest.raises(RuntimeError, match="goalgraph\\[demo\\]"):
        draw_chart(tmp_path, days, rain_by_month(days).months, [], longest_dry_spell(days).dry_spell)


async def test_with_a_model_that_gives_no_plan_the_demo_goes_by_types(tmp_path: Path) -> None:
    async with serve() as server:
        server.replies.extend([refused()] * 3)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "goalgraph", "demo", "--model", "m", "--base-url", server.url),
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env={**own_environment(), "PYTHONPATH": str(ROOT), "GOALGRAPH_API_KEY": "made-up"},
        )
        _, stderr = await process.communicate()

    assert (process.returncode, len(server.requests)) == (Exit.OK, 3)
    assert "made from types" in stderr.decode()
    assert (tmp_path / "goalgraph-demo" / "report.md").is_file()
