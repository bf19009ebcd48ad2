"""The words of the demo: what was found, as sentences, as Markdown and as a web page that stands alone."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from goalgraph.demo.models import Month, Spell, Trend, YearSummary

TITLE = "Rain and warmth in Seattle"
SOURCE = "Daily observations, NOAA (public domain), by way of vega_datasets."
HEADINGS = ("Year", "Mean temperature", "Rain", "Days of 30 °C or more")

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  body {{ font: 17px/1.55 system-ui, sans-serif; color: #1f2933; max-width: 46rem; margin: 3rem auto; padding: 0 1rem }}
  h1 {{ font-size: 1.7rem; line-height: 1.2 }}
  img {{ width: 100%; margin: 1.2rem 0 }}
  table {{ border-collapse: collapse; width: 100% }}
  th, td {{ text-align: right; padding: .35rem .6rem; border-bottom: 1px solid #e4e7eb }}
  th:first-child, td:first-child {{ text-align: left }}
  footer {{ color: #7b8794; font-size: .85rem; margin-top: 1.5rem }}
</style>
<h1>{title}</h1>
<ul>
{findings}
</ul>
<img alt="Rain by month, temperature by year, and the longest dry spell" src="data:image/png;base64,{picture}">
<table>
<tr>{headings}</tr>
{rows}
</table>
<footer>{source}</footer>
</html>
"""


def find(months: Sequence[Month], trend: Trend, dry_spell: Spell, heat_wave: Spell) -> list[str]:
    """Answer in sentences."""
    wettest = sorted(months, key=lambda month: month.rain_mm, reverse=True)
    year = sum(month.rain_mm for month in months)
    share = sum(month.rain_mm for month in wettest[:3]) / year if year else 0
    first, second, third = (month.name for month in wettest[:3])
    last = wettest[-1]
    return [
        f"{first}, {second} and {third} are the wettest months, with {share:.0%} of a year's {year:,.0f} mm.",
        f"{last.name} is the driest month, with {last.rain_mm:.0f} mm.",
        _warming(trend),
        f"The longest dry spell: {dry_spell.days} days without a drop, {_span(dry_spell)}.",
        f"The longest heat wave: {heat_wave.days} days of 30 °C or more, {_span(heat_wave)}.",
    ]


def to_markdown(findings: Sequence[str], years: Sequence[YearSummary], chart: str) -> str:
    """Write the report as Markdown that shows the picture beside it."""
    lines = [f"# {TITLE}", "", *(f"- {finding}" for finding in findings), "", f"![chart]({chart})", ""]
    lines += [f"| {' | '.join(HEADINGS)} |", "|---|--:|--:|--:|"]
    lines += [f"| {' | '.join(_row(one))} |" for one in years]
    return "\n".join([*lines, "", SOURCE, ""])


def to_html(findings: Sequence[str], years: Sequence[YearSummary], chart: Path) -> str:
    """Write the report as one page with the picture inside it, so that it can be sent as it is."""
    return PAGE.format(
        title=TITLE,
        findings="\n".join(f"<li>{escape(finding)}</li>" for finding in findings),
        picture=b64encode(chart.read_bytes()).decode("ascii"),
        headings="".join(f"<th>{heading}</th>" for heading in HEADINGS),
        rows="\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _row(one))}</tr>" for one in years),
        source=SOURCE,
    )


def _warming(trend: Trend) -> str:
    """Say what the years show, and no more than that."""
    if trend.years < 2:
        return f"One year, {trend.first.year}, says nothing about warming."
    way = "warmer" if trend.degrees_a_year > 0 else "colder"
    caution = f" ({trend.years} years are too few to call that a climate.)" if trend.years < 30 else ""
    return (
        f"It got {way}: from {trend.first.mean_c:.1f} °C in {trend.first.year} to {trend.last.mean_c:.1f} °C in "
        f"{trend.last.year}, {abs(trend.degrees_a_year):.1f} °C a year.{caution}"
    )


def _span(spell: Spell) -> str:
    return f"{spell.first.day} {spell.first:%B} to {spell.last.day} {spell.last:%B %Y}"


def _row(one: YearSummary) -> list[str]:
    return [str(one.year), f"{one.mean_c:.1f} °C", f"{one.rain_mm:,.0f} mm", str(one.hot_days)]
