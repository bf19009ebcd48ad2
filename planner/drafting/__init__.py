"""From a goal to candidate plans: language models, prompts, the wire form, the loop, typed search, input parsing."""

from planner.drafting.drafter import Drafter
from planner.drafting.input_parser import InputParser, ParsedInputs
from planner.drafting.langchain_model import LangChainModel, as_language_model
from planner.drafting.language_model import Completion, LanguageModel, Message, Schema, Usage
from planner.drafting.openai_model import OpenAIModel
from planner.drafting.ranking import rank
from planner.drafting.replanning import DraftReplanner
from planner.drafting.request import Candidate, PlanningContext, PlanResult
from planner.drafting.scripted import ScriptedCall, ScriptedModel
from planner.drafting.typed_search import TypedSearch

__all__ = [
    "Candidate",
    "Completion",
    "DraftReplanner",
    "Drafter",
    "InputParser",
    "LangChainModel",
    "LanguageModel",
    "Message",
    "OpenAIModel",
    "ParsedInputs",
    "PlanResult",
    "PlanningContext",
    "Schema",
    "ScriptedCall",
    "ScriptedModel",
    "TypedSearch",
    "Usage",
    "as_language_model",
    "rank",
]
