"""Goalgraph turns a goal into a plan that can be read, checked and edited, and runs it.

Everything that users need is imported from here; names are loaded when they are first used, so that
`import goalgraph` and `goalgraph --help` stay fast.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from goalgraph.application import open_planner
    from goalgraph.live import watch
    from goalgraph.settings import Settings
    from planner.catalog import (
        ActionCatalog,
        ActionContext,
        ActionSpec,
        Approval,
        Cost,
        Rate,
        Resource,
        Semantic,
        Slot,
        action,
    )
    from planner.context import NodeContext, RequestIdentity, RunImportance, RunOrigin, RunVisibility
    from planner.dialogue import (
        AgentOrchestrator,
        AgentTurnResult,
        Artifact,
        Confirmation,
        DialogueMemory,
        IntentRouter,
        MemoryPolicy,
        ModelRouter,
        PendingQuestion,
        PlanningContextBuilder,
        QuickActionContext,
        QuickActionRegistry,
        QuickActionSpec,
        RoutedIntent,
        RuleRouter,
        SessionState,
    )
    from planner.drafting import (
        Completion,
        InputParser,
        LangChainModel,
        LanguageModel,
        Message,
        OpenAIModel,
        ParsedInputs,
        PlanningContext,
        PlanResult,
        ScriptedModel,
        TypedSearch,
        Usage,
    )
    from planner.errors import PlannerError
    from planner.events import ExecutionEvent, PlanningEvent
    from planner.execution import ExecutionResult, StepOutcome
    from planner.limits import Limits
    from planner.node_planner import NodePlanner
    from planner.plan import CandidatePlan, PlanStep, ValidationIssue, ValidationResult
    from planner.runs import BackgroundExecutionHandle, RunPolicy
    from planner.service import PlannerService

__version__ = "0.1.0"

__all__ = [
    "ActionCatalog",
    "ActionContext",
    "ActionSpec",
    "AgentOrchestrator",
    "AgentTurnResult",
    "Approval",
    "Artifact",
    "BackgroundExecutionHandle",
    "CandidatePlan",
    "Completion",
    "Confirmation",
    "Cost",
    "DialogueMemory",
    "ExecutionEvent",
    "ExecutionResult",
    "InputParser",
    "IntentRouter",
    "LangChainModel",
    "LanguageModel",
    "Limits",
    "MemoryPolicy",
    "Message",
    "ModelRouter",
    "NodeContext",
    "NodePlanner",
    "OpenAIModel",
    "ParsedInputs",
    "PendingQuestion",
    "PlanResult",
    "PlanStep",
    "PlannerError",
    "PlannerService",
    "PlanningContext",
    "PlanningContextBuilder",
    "PlanningEvent",
    "QuickActionContext",
    "QuickActionRegistry",
    "QuickActionSpec",
    "Rate",
    "RequestIdentity",
    "Resource",
    "RoutedIntent",
    "RuleRouter",
    "RunImportance",
    "RunOrigin",
    "RunPolicy",
    "RunVisibility",
    "ScriptedModel",
    "Semantic",
    "SessionState",
    "Settings",
    "Slot",
    "StepOutcome",
    "TypedSearch",
    "Usage",
    "ValidationIssue",
    "ValidationResult",
    "action",
    "open_planner",
    "watch",
]

_HOMES = {
    "goalgraph.application": ["open_planner"],
    "goalgraph.live": ["watch"],
    "goalgraph.settings": ["Settings"],
    "planner.catalog": [
        "ActionCatalog",
        "ActionContext",
        "ActionSpec",
        "Approval",
        "Cost",
        "Rate",
        "Resource",
        "Semantic",
        "Slot",
        "action",
    ],
    "planner.context": ["NodeContext", "RequestIdentity", "RunImportance", "RunOrigin", "RunVisibility"],
    "planner.dialogue": [
        "AgentOrchestrator",
        "AgentTurnResult",
        "Artifact",
        "Confirmation",
        "DialogueMemory",
        "IntentRouter",
        "MemoryPolicy",
        "ModelRouter",
        "PendingQuestion",
        "PlanningContextBuilder",
        "QuickActionContext",
        "QuickActionRegistry",
        "QuickActionSpec",
        "RoutedIntent",
        "RuleRouter",
        "SessionState",
    ],
    "planner.drafting": [
        "Completion",
        "InputParser",
        "LangChainModel",
        "LanguageModel",
        "Message",
        "OpenAIModel",
        "ParsedInputs",
        "PlanResult",
        "PlanningContext",
        "ScriptedModel",
        "TypedSearch",
        "Usage",
    ],
    "planner.errors": ["PlannerError"],
    "planner.events": ["ExecutionEvent", "PlanningEvent"],
    "planner.execution": ["ExecutionResult", "StepOutcome"],
    "planner.runs": ["BackgroundExecutionHandle", "RunPolicy"],
    "planner.limits": ["Limits"],
    "planner.node_planner": ["NodePlanner"],
    "planner.plan": ["CandidatePlan", "PlanStep", "ValidationIssue", "ValidationResult"],
    "planner.service": ["PlannerService"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _check_siblings() -> None:
    """Our packages have general names: say so when a file of the user's project hides one of them."""
    home = Path(__file__).resolve().parent.parent
    for name in ("planner", "checkpointer", "storage", "skills"):
        found = find_spec(name)
        origin = None if found is None else found.origin or next(iter(found.submodule_search_locations or ()), None)
        if origin is None:
            raise ImportError(f"goalgraph's package {name!r} is not installed beside it; install goalgraph again")
        if not Path(origin).resolve().is_relative_to(home / name):
            raise ImportError(
                f"{origin} hides goalgraph's own package {name!r}; rename it, or run Python from another folder"
            )


_check_siblings()
