"""The picture of the demo. matplotlib is imported here only, because it is an extra and slow to import."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from goalgraph.demo.models import Day, Month, Spell, YearSummary

INK, GREY, PALE = "#1f2933", "#7b8794", "#e4e7eb"
WET, DAMP, WARM, DRY = "#1f5f8b", "#9cc3dc", "#c8553d", "#f3e3bf"
CONTEXT = timedelta(days=45)
"""How much is shown before and after the dry spell."""


def draw(
    path: Path, days: Sequence[Day], months: Sequence[Month], years: Sequence[YearSummary], dry_spell: Spell
) -> None:
    """Draw three panels into a PNG file: rain by month, temperature by year, and the dry spell in its season.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; without pyplot it is safe in any thread
    except ImportError:
        raise RuntimeError("the chart needs matplotlib: pip install 'goalgraph[demo]'") from None
    figure: Any = Figure(figsize=(10, 6.4), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, hspace=0.06, wspace=0.04)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.7, 1), height_ratios=(1.5, 1))
    _rain(figure.add_subplot(grid[0, 0]), months)
    _temperature(figure.add_subplot(grid[0, 1]), years)
    _spell(figure.add_subplot(grid[1, :]), days, dry_spell)
    figure.savefig(path, dpi=150)


def _rain(axes: Any, months: Sequence[Month]) -> None:
    wettest = sorted(months, key=lambda month: month.rain_mm)[-3:]
    names, amounts = [month.name[:3] for month in months], [month.rain_mm for month in months]
    bars = axes.bar(names, amounts, width=0.72, color=[WET if month in wettest else DAMP for month in months])
    axes.bar_label(bars, fmt="{:.0f}", padding=2, color=INK, fontsize=9)
    axes.set_ylim(0, max(amounts) * 1.1)
    _plain(axes, "Rain in a usual month (mm)")
    axes.set_yticks([])


def _temperature(axes: Any, years: Sequence[YearSummary]) -> None:
    at, means = [one.year for one in years], [one.mean_c for one in years]
    axes.plot(at, means, color=WARM, linewidth=2.5, marker="o", markersize=7, clip_on=False)
    for year, mean in zip(at, means, strict=True):
        axes.annotate(f"{mean:.1f}", (year, mean), (-3, 9), textcoords="offset points", ha="right", color=INK)
    axes.set_xticks(at)
    axes.set_ylim(min(means) - 0.6, max(means) + 0.5)
    axes.margins(x=0.12)
    _plain(axes, "Mean temperature (°C)")
    axes.set_yticks([])


def _spell(axes: Any, days: Sequence[Day], spell: Spell) -> None:
    shown = [day for day in days if spell.first - CONTEXT <= day.date <= spell.last + CONTEXT]
    axes.axvspan(spell.first, spell.last, color=DRY, linewidth=0)
    axes.bar([day.date for day in shown], [day.rain_mm for day in shown], width=0.9, color=WET)
    top = max(5.0, *(day.rain_mm for day in shown))
    middle = spell.first + (spell.last - spell.first) / 2
    axes.annotate(f"{spell.days} days without rain", (middle, top * 0.55), ha="center", color=INK, fontsize=11)
    axes.set_ylim(0, top * 1.08)
    axes.margins(x=0.01)
    _plain(axes, f"Rain each day around the longest dry spell, {spell.first:%Y} (mm)")
    _dates(axes)


def _dates(axes: Any) -> None:
    from matplotlib.dates import DateFormatter, MonthLocator  # noqa: PLC0415 - as above

    axes.xaxis.set_major_locator(MonthLocator())
    axes.xaxis.set_major_formatter(DateFormatter("%b %Y"))


def _plain(axes: Any, title: str) -> None:
    """Leave away everything that is not data."""
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold", pad=10)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    axes.tick_params(colors=GREY, length=0, labelsize=10)
