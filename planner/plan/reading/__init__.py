"""Reads a plan from whatever a person or a model wrote: leniently, within bounds, every change recorded."""

from planner.plan.reading.decode import Decoded, decode_plan

__all__ = ["Decoded", "decode_plan"]
