"""The steps that every saver stores: a conversation that grows by a message a step."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from string import ascii_lowercase
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base.id import uuid6

from benchmarks.rows import Unmeasured
from benchmarks.saver_systems import Saver

_rng = random.Random(0)
WORDS = ["".join(_rng.choices(ascii_lowercase, k=_rng.randint(2, 10))) for _ in range(2000)]
LETTERS = 440
"""Of a message; with all that LangChain keeps of it, about 650 bytes. ZSTD takes half off, as of English."""


class Turn:
    """What one step hands to a saver."""

    def __init__(self, conversation: "Conversation", at: int) -> None:
        message = conversation.messages[-1]
        self.checkpoint = Checkpoint(
            v=4,
            id=str(uuid6(clock_seq=at)),
            ts=datetime.now(UTC).isoformat(),
            channel_values={"messages": conversation.messages, "turn": at},
            channel_versions=dict(conversation.versions),
            versions_seen={"__input__": {}, "model": dict(conversation.versions)},
            updated_channels=["messages", "turn"],
        )
        self.metadata = CheckpointMetadata(source="loop", step=at, parents={}, run_id=conversation.run)
        self.versions: ChannelVersions = dict(conversation.versions)
        self.writes: Sequence[tuple[str, Any]] = (
            ("messages", [message]),
            ("turn", at + 1),
            ("branch:to:model", None),
            ("notes", {"seen": at, "topic": message.text[:40]}),
        )
        self.task = str(uuid4())


class Conversation:
    """One thread: `turns` gives what to store, and `check` looks at what is read.

    Args:
        saver: Where.
        number: Which; conversations with the same number have the same words.
        steps: How long it will be: its messages are made now, so that this is not measured.
    """

    def __init__(self, saver: Saver, number: int = 0, steps: int = 1) -> None:
        self.saver = saver
        self.run = str(uuid4())
        self.thread = f"{number}-{self.run}"
        self.script = [message(number, at) for at in range(steps)]
        self.messages: list[BaseMessage] = []
        self.versions: dict[str, Any] = {}
        self.parent = self.newest

    @property
    def newest(self) -> RunnableConfig:
        """The config that means the newest checkpoint."""
        return {"configurable": {"thread_id": self.thread, "checkpoint_ns": ""}}

    def turns(self) -> Iterator[Turn]:
        """Give the steps, each with one more message."""
        for at, new in enumerate(self.script):
            self.messages = [*self.messages, new]
            for channel in ("messages", "turn"):
                self.versions[channel] = self.saver.get_next_version(self.versions.get(channel), None)
            yield Turn(self, at)

    def check(self, found: Any) -> None:
        """Look whether a read gave what was stored last.

        Raises:
            Unmeasured: it did not.
        """
        if found is None or len(found.checkpoint["channel_values"]["messages"]) != len(self.messages):
            raise Unmeasured("reads something else than was stored")
        if len(found.pending_writes or ()) != 4:
            raise Unmeasured("lost writes")


def message(conversation: int, number: int) -> BaseMessage:
    """Return a message like no other; the same for the same numbers, but for its id."""
    words = " ".join(random.Random(f"{conversation} {number}").choices(WORDS, k=LETTERS // 5))
    return AIMessage(content=words[:LETTERS], id=str(uuid4()))
