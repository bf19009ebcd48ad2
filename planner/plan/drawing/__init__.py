"""Draws a plan: what is shown, where it stands, and the SVG and Mermaid text of it."""

from planner.plan.drawing.draw import Drawing, draw_plan

__all__ = ["Drawing", "draw_plan"]
