"""Savers that let a test decide when, and whether, a write is stored."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver


class GatedSaver(InMemorySaver):
    """Asks `gate(writes)` before each write of a task; it may wait, or raise to refuse."""

    def __init__(self, gate: Callable[[Sequence[tuple[str, Any]]], Any]) -> None:
        super().__init__()
        self.gate = gate

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        answer = self.gate(writes)
        if asyncio.iscoroutine(answer):
            await answer
        await super().aput_writes(config, writes, task_id, task_path)


def step_of(writes: Sequence[tuple[str, Any]]) -> str | None:
    """The step whose outcome these writes hold."""
    for _, value in writes:
        if isinstance(value, dict) and "step_id" in value:
            return value["step_id"]
    return None
