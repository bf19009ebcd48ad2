"""A plan as data: what it says, whether it is right, what it costs, how it looks. No I/O."""

from planner.plan.bindings import Reference, Template, parse_reference, parse_text
from planner.plan.drawing import Drawing
from planner.plan.estimate import Estimate, estimate
from planner.plan.graph import EdgeKind, PlanGraph, build_graph
from planner.plan.issues import MissingUserInput, ValidationIssue, ValidationResult, get_missing_user_inputs
from planner.plan.mending.patches import Patch
from planner.plan.mending.repair import RepairResult, repair, undo_patches
from planner.plan.models import After, CandidatePlan, Condition, PlanStep, resolve_step
from planner.plan.reading import Decoded, decode_plan
from planner.plan.validator import validate

__all__ = [
    "After",
    "CandidatePlan",
    "Condition",
    "Decoded",
    "Drawing",
    "EdgeKind",
    "Estimate",
    "MissingUserInput",
    "Patch",
    "PlanGraph",
    "PlanStep",
    "Reference",
    "RepairResult",
    "Template",
    "ValidationIssue",
    "ValidationResult",
    "build_graph",
    "decode_plan",
    "estimate",
    "get_missing_user_inputs",
    "parse_reference",
    "parse_text",
    "repair",
    "resolve_step",
    "undo_patches",
    "validate",
]
