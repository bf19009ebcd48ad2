"""Mends what has exactly one explanation, without guessing, and without the model."""

from planner.plan.mending.patches import ABSENT, Patch
from planner.plan.mending.repair import RepairResult, repair, undo_patches

__all__ = ["ABSENT", "Patch", "RepairResult", "repair", "undo_patches"]
