"""What `goalgraph demo` runs: a question about four years of real weather, and the actions that answer it."""

from goalgraph.demo.actions import (
    draw_chart,
    load_weather,
    longest_dry_spell,
    longest_heat_wave,
    measure_warming,
    rain_by_month,
    summarise_years,
    write_report,
)

__all__ = [
    "draw_chart",
    "load_weather",
    "longest_dry_spell",
    "longest_heat_wave",
    "measure_warming",
    "rain_by_month",
    "summarise_years",
    "write_report",
]
