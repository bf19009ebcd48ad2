"""From a goal to a finished run: the catalog, plans as data, drafting, execution, and the facades over them."""

from planner.catalog import ActionCatalog, ActionContext, ActionSpec, Cost, Rate, Resource, Semantic, Slot, action
from planner.context import NodeContext, RequestIdentity, RunContext, RunImportance, RunOrigin, RunVisibility
from planner.drafting import InputParser, ParsedInputs, PlanningContext, PlanResult, TypedSearch
from planner.errors import PlannerError
from planner.events import ExecutionEvent, PlanningEvent
from planner.execution import ExecutionResult, StepOutcome
from planner.limits import Limits
from planner.node_planner import NodePlanner
from planner.plan import CandidatePlan, PlanStep, ValidationIssue, ValidationResult
from planner.runs import BackgroundExecutionHandle
from planner.service import PlannerService

__all__ = [
    "ActionCatalog",
    "ActionContext",
    "ActionSpec",
    "BackgroundExecutionHandle",
    "CandidatePlan",
    "Cost",
    "ExecutionEvent",
    "ExecutionResult",
    "InputParser",
    "Limits",
    "NodeContext",
    "NodePlanner",
    "ParsedInputs",
    "PlanResult",
    "PlanStep",
    "PlannerError",
    "PlannerService",
    "PlanningContext",
    "PlanningEvent",
    "Rate",
    "RequestIdentity",
    "Resource",
    "RunContext",
    "RunImportance",
    "RunOrigin",
    "RunVisibility",
    "Semantic",
    "Slot",
    "StepOutcome",
    "TypedSearch",
    "ValidationIssue",
    "ValidationResult",
    "action",
]
