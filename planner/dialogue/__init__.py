"""One user turn: what a message is taken for, what is asked, planned and run, and what is remembered."""

from planner.dialogue.intents import IntentRouter, RoutedIntent
from planner.dialogue.state import Artifact, PendingQuestion, SessionState
from planner.dialogue.turn import AgentTurnResult

__all__ = ["AgentTurnResult", "Artifact", "IntentRouter", "PendingQuestion", "RoutedIntent", "SessionState"]
