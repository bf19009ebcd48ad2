"""What the steps of the demo hand to each other."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel

from planner.catalog import Semantic


class Day(BaseModel):
    """The weather of one day."""

    date: date
    rain_mm: float
    high_c: float
    low_c: float

    @property
    def mean_c(self) -> float:
        """Half way between the highest and the lowest temperature, as climatologists have it."""
        return (self.high_c + self.low_c) / 2


class Weather(BaseModel):
    """A table of days, in order."""

    days: list[Day]


class Month(BaseModel):
    """What falls in one month of the year, on average over the years."""

    name: str
    rain_mm: float
    wet_days: float
    """Days with at least 1 mm."""


class Rain(BaseModel):
    """The rain of a usual year."""

    months: list[Month]
    """January to December."""


class YearSummary(BaseModel):
    """One year in figures."""

    year: int
    mean_c: float
    rain_mm: float
    hot_days: int
    """Days of 30 °C or more."""


class Years(BaseModel):
    """Every year in figures, the first one first."""

    years: list[YearSummary]


class Trend(BaseModel):
    """A straight line through the mean temperatures of the years."""

    degrees_a_year: float
    first: YearSummary
    last: YearSummary
    years: int


class Warming(BaseModel):
    """Whether it is getting warmer."""

    trend: Trend


class Spell(BaseModel):
    """Days on end that have something in common."""

    first: date
    last: date
    days: int


Dry = Annotated[Spell, Semantic("dry_spell")]
Hot = Annotated[Spell, Semantic("heat_wave")]
"""Both are spells; what they mean keeps a planner that goes by types from taking one for the other."""


class DrySpell(BaseModel):
    """The longest time without any rain."""

    dry_spell: Dry


class HeatWave(BaseModel):
    """The longest run of hot days."""

    heat_wave: Hot


class Chart(BaseModel):
    """A picture in the folder of the answer."""

    chart: str
    """Its file name."""


class Report(BaseModel):
    """The answer, and the files that hold it."""

    findings: list[str]
    report: str
    page: str
    """File names, as above."""
