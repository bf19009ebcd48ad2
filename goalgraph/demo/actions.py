"""The actions of the demo: daily weather in, a chart and a report out."""

import csv
from collections.abc import Callable
from datetime import date
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Annotated

from goalgraph.demo.models import (
    Chart,
    Day,
    Dry,
    DrySpell,
    HeatWave,
    Hot,
    Month,
    Rain,
    Report,
    Spell,
    Trend,
    Warming,
    Weather,
    Years,
    YearSummary,
)
from planner.catalog import Cost, Resource, action

CHART, REPORT, PAGE = "chart.png", "report.md", "report.html"
SEATTLE = Path(__file__).with_name("seattle-weather.csv")
HOT_C = 30.0
WET_MM = 1.0

Folder = Annotated[Path, Resource("folder")]
"""Where the answer goes. The application gives it, so that no plan, least of all a model's, chooses what is written."""


@action(tags=["weather", "data"], cost=Cost(seconds=0.02))
def load_weather() -> Weather:
    """Load the daily weather of Seattle from 2012 to 2015."""
    with SEATTLE.open(encoding="utf-8", newline="") as file:
        days = [
            Day(
                date=date.fromisoformat(row["date"].replace("/", "-")),
                rain_mm=float(row["precipitation"]),
                high_c=float(row["temp_max"]),
                low_c=float(row["temp_min"]),
            )
            for row in csv.DictReader(file)
        ]
    days.sort(key=lambda day: day.date)
    return Weather(days=days)


@action(tags=["weather", "rain"], cost=Cost(seconds=0.01))
def rain_by_month(days: list[Day]) -> Rain:
    """Average the rain of each month of the year, which shows the wettest months."""
    years = len({day.date.year for day in days})
    months: list[Month] = []
    for number in range(1, 13):
        rain = [day.rain_mm for day in days if day.date.month == number]
        wet = sum(amount >= WET_MM for amount in rain)
        months.append(Month(name=f"{date(2000, number, 1):%B}", rain_mm=sum(rain) / years, wet_days=wet / years))
    return Rain(months=months)


@action(tags=["weather", "temperature"], cost=Cost(seconds=0.01))
def summarise_years(days: list[Day]) -> Years:
    """Sum up each year: mean temperature, rain and hot days."""
    by_year = groupby(days, lambda day: day.date.year)
    return Years(years=[_summary(year, list(own)) for year, own in by_year])


@action(tags=["weather", "temperature", "climate"], cost=Cost(seconds=0.01))
def measure_warming(years: list[YearSummary]) -> Warming:
    """Measure whether it is getting warmer: the straight line that fits the years best."""
    middle, mean = fmean(one.year for one in years), fmean(one.mean_c for one in years)
    spread = sum((one.year - middle) ** 2 for one in years)
    slope = sum((one.year - middle) * (one.mean_c - mean) for one in years) / spread if spread else 0.0
    first, last = min(years, key=lambda one: one.year), max(years, key=lambda one: one.year)
    return Warming(trend=Trend(degrees_a_year=slope, first=first, last=last, years=len(years)))


@action(tags=["weather", "rain", "drought"], cost=Cost(seconds=0.01))
def longest_dry_spell(days: list[Day]) -> DrySpell:
    """Find the longest time without any rain."""
    return DrySpell(dry_spell=_longest(days, lambda day: day.rain_mm == 0))


@action(tags=["weather", "temperature", "heat"], cost=Cost(seconds=0.01))
def longest_heat_wave(days: list[Day]) -> HeatWave:
    """Find the longest run of days of 30 °C or more."""
    return HeatWave(heat_wave=_longest(days, lambda day: day.high_c >= HOT_C))


@action(tags=["weather", "picture"], effect="write", cost=Cost(seconds=2))
def draw_chart(folder: Folder, days: list[Day], months: list[Month], years: list[YearSummary], dry_spell: Dry) -> Chart:
    """Draw the rain of the months, the temperature of the years and the dry spell as one picture."""
    from goalgraph.demo.chart import draw  # noqa: PLC0415 - matplotlib is an extra, and slow to import

    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / CHART, days, months, years, dry_spell)
    return Chart(chart=CHART)


@action(tags=["weather", "answer"], effect="write", cost=Cost(seconds=0.01))
def write_report(
    folder: Folder,
    months: list[Month],
    years: list[YearSummary],
    trend: Trend,
    dry_spell: Dry,
    heat_wave: Hot,
    chart: str,
) -> Report:
    """Write the findings, the chart and the figures as a report, in Markdown and as a web page."""
    from goalgraph.demo.report import find, to_html, to_markdown  # noqa: PLC0415 - only this step needs it

    picture = _inside(folder, chart)
    findings = find(months, trend, dry_spell, heat_wave)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).write_text(to_markdown(findings, years, chart), encoding="utf-8")
    (folder / PAGE).write_text(to_html(findings, years, picture), encoding="utf-8")
    return Report(findings=findings, report=REPORT, page=PAGE)


def _inside(folder: Path, name: str) -> Path:
    """Return a file of the folder; a name that could lead anywhere else is refused."""
    if name in ("", ".", "..") or any(mark in name for mark in "/\\:\0") or (folder / name).is_symlink():
        raise ValueError(f"the chart is {name!r}, and has to be the name of a file in the report's folder")
    return folder / name


def _summary(year: int, days: list[Day]) -> YearSummary:
    return YearSummary(
        year=year,
        mean_c=fmean(day.mean_c for day in days),
        rain_mm=sum(day.rain_mm for day in days),
        hot_days=sum(day.high_c >= HOT_C for day in days),
    )


def _longest(days: list[Day], holds: Callable[[Day], bool]) -> Spell:
    runs = [list(run) for held, run in groupby(days, holds) if held]
    if not runs:
        raise ValueError("no day is like that")
    longest = max(runs, key=len)
    return Spell(first=longest[0].date, last=longest[-1].date, days=len(longest))
