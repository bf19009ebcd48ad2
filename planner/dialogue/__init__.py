"""One user turn: what a message is taken for, what is asked, planned and run, and what is remembered."""

from planner.dialogue.compaction import MemoryPolicy
from planner.dialogue.context_builder import PlanningContextBuilder
from planner.dialogue.intents import IntentRouter, RoutedIntent
from planner.dialogue.memory import DialogueMemory
from planner.dialogue.model_router import ModelRouter
from planner.dialogue.orchestrator import AgentOrchestrator
from planner.dialogue.quick_actions import Confirmation, QuickActionContext, QuickActionRegistry, QuickActionSpec
from planner.dialogue.rules import RuleRouter
from planner.dialogue.state import Artifact, PendingQuestion, SessionState
from planner.dialogue.turn import AgentTurnResult

__all__ = [
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
]
