"""What can be done: typed actions and flows, and the ways to find them."""

from planner.catalog.catalog import ActionCatalog
from planner.catalog.decorator import action, is_action
from planner.catalog.producers import Producer
from planner.catalog.schemas import Fit, at_path, fits
from planner.catalog.search import SearchHit
from planner.catalog.slot import MISSING, JsonSchema, Semantic, Slot, as_slot, compile_schema
from planner.catalog.spec import (
    ActionContext,
    ActionPolicy,
    ActionSpec,
    Approval,
    Cost,
    Rate,
    Resource,
    make_ref,
    parse_ref,
)
from planner.catalog.values import Codecs, Plain, conform, to_plain

__all__ = [
    "MISSING",
    "ActionCatalog",
    "ActionContext",
    "ActionPolicy",
    "ActionSpec",
    "Approval",
    "Codecs",
    "Cost",
    "Fit",
    "JsonSchema",
    "Plain",
    "Producer",
    "Rate",
    "Resource",
    "SearchHit",
    "Semantic",
    "Slot",
    "action",
    "as_slot",
    "at_path",
    "compile_schema",
    "conform",
    "fits",
    "is_action",
    "make_ref",
    "parse_ref",
    "to_plain",
]
