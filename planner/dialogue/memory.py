"""What a session remembers: messages, what is open, and what runs gave, in the application's storage."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, cast
from weakref import WeakKeyDictionary

from langchain_core.utils.uuid import uuid7

from planner.catalog.relevance import estimate_tokens
from planner.context import RequestIdentity
from planner.dialogue import results
from planner.dialogue.compaction import Compaction, MemoryPolicy, compact, unsummarised
from planner.dialogue.excerpts import cut, relevant_artifacts, relevant_lines, window_of
from planner.dialogue.state import SessionState
from planner.dialogue.stored import from_stored, merged, take_over, to_stored
from planner.drafting import LanguageModel, Message
from planner.drafting.language_model import encodable
from planner.errors import SessionNotFound
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan
from skills import SkillRegistry
from skills.shipped import instruction
from storage.records import Change
from storage.seed_protocols import ConversationStorage, SessionStorage, TaskContextStorage
from storage.sessions import StorageFacade

RECENT = 200
"""Messages that are looked through for what is relevant, and the most that a window shows: one read of the store."""
MAX_ID = 512
"""Characters of a session's id."""
SUMMARY = "conversation-summary"
"""The skill that tells a model how to summarise."""

_CLAIMS: WeakKeyDictionary[object, dict[str, str]] = WeakKeyDictionary()
"""Of storages that cannot claim: what was claimed in this process."""


class DialogueStorage(SessionStorage, ConversationStorage, TaskContextStorage, Protocol):
    """What sessions are kept in: any `StorageBackend`."""


class DialogueMemory:
    """Sessions, their messages and their state over a storage.

    Several processes may talk in one session: each message that was added is there, and what two turns change in
    different parts of the state is kept. Where both change one part, the one that saves last counts.

    Args:
        storage: Keeps everything; what it raises is passed on.
        llm: Writes summaries; without one, older messages are only left out.
        skills: Where a `conversation-summary` of one's own may be; else ours.
        policy: How much a model is shown.
    """

    def __init__(
        self,
        storage: DialogueStorage,
        *,
        llm: LanguageModel | None = None,
        skills: SkillRegistry | None = None,
        policy: MemoryPolicy | None = None,
    ) -> None:
        self.storage = storage
        self.llm = llm
        self.skills = SkillRegistry() if skills is None else skills
        self.policy = policy or MemoryPolicy()

    async def open(self, session_id: str, identity: RequestIdentity) -> SessionState:
        """Take up the session, or create it; an empty id gives a new one (UUIDv7).

        Raises:
            SessionNotFound: it belongs to another user, or to the same one of another tenant.
            CorruptRecord: its state cannot be read; also when something else stored a context under this id.
            ValueError: this cannot be the id of a session.
        """
        session_id = session_id or str(uuid7())
        check_session_id(session_id)
        found = await self.storage.get_session(session_id)
        if found is None:
            try:
                metadata = {"org_id": identity.org_id}
                found = await self.storage.create_session(session_id, identity.user_id, metadata)
            except ValueError:  # somebody else was a moment faster
                raise SessionNotFound(session_id) from None
        if _owner(found) != (identity.user_id, identity.org_id):
            raise SessionNotFound(session_id)
        stored = await self.storage.get_task_context(session_id)
        if stored is None:
            return SessionState(session_id=session_id, identity=identity)
        return from_stored(session_id, identity, stored)

    async def save(self, state: SessionState, *, since: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Store the state, and return what is stored now.

        Args:
            state: Of the session; takes over what others have stored `since`.
            since: What was stored when the state was read, as this method or `to_stored` returns it: where nothing has
                changed, nothing is written. Without it, the state is written as it is.

        Raises:
            UnstorableOutput: the question that is open cannot be stored.
        """
        mine = to_stored(state)
        if not state.session_id or mine == since:
            return mine
        if since is not None:
            stored = await self.storage.get_task_context(state.session_id)
            if stored is not None and stored != since:
                theirs = to_stored(from_stored(state.session_id, state.identity, stored))
                take_over(state, merged(since, mine, theirs))
                mine = to_stored(state)
                if mine == theirs:
                    return mine
        await self.storage.store_task_context(state.session_id, mine)
        return mine

    async def claim(self, state: SessionState, question_id: str, what: str) -> str:
        """Take a question of the session for `what`, once and for all.

        Of several turns that answer one question at once, in one process or many, one is first: all are told what the
        question was taken for by that one. Over a `StorageFacade` (each backend of ours) this is one atomic write; over
        another storage it holds among the memories of this process only. Without a session the caller is always first.
        """
        if not state.session_id:
            return what
        owner = f"@claim/{question_id}"
        if not isinstance(self.storage, StorageFacade):
            return _CLAIMS.setdefault(self.storage, {}).setdefault(owner, what)
        claim = Change(
            kind="context",
            owner=owner,
            at=self.storage.clock(),
            fields={"context": self.storage.codec.dump(what)},
            columns={"session": state.session_id},  # with which it expires
            must="be_new",
        )
        if await self.storage.records.append(claim) is not None:
            return what
        return str(await self.storage.get_task_context(owner))

    async def say(
        self,
        state: SessionState,
        role: Literal["user", "assistant"],
        content: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Add a message to the session.

        Args:
            state: Of the session.
            role: Who says it.
            content: What is said, as it was.
            metadata: Such as `run_id` and `mode`; plain data.
        """
        if state.session_id:
            await self.storage.add_conversation_message(state.session_id, role, encodable(content), metadata)

    async def history(self, session_id: str, limit: int = 50) -> list[dict[str, Any]]:
        """Return the newest messages, oldest of them first: `role`, `content`, `metadata`, `created_at`.

        Nobody asks here whose session it is: that is done by `open`.
        """
        return await self.storage.get_conversation_history(session_id, limit) if session_id and limit > 0 else []

    async def snippets(self, state: SessionState, text: str, *, beside_window: bool = False) -> list[str]:
        """Return the summary, if there is one, and the messages that are about `text`, in order of time.

        Args:
            state: Of the session.
            text: The message or goal at hand. A message of the user that nobody has answered yet is not among the
                snippets: it is the one at hand.
            beside_window: Leave out what `window` shows, for a prompt that has both.
        """
        budget = self.policy.memory_tokens
        found: list[str] = []
        if state.summary:
            found.append(cut(f"summary of what was said before: {state.summary}", budget))
            budget -= estimate_tokens(found[0])
        messages = await self._spoken(state)
        if beside_window:
            count = len(window_of(unsummarised(state, messages), self.policy.window_tokens))
            messages = messages[: len(messages) - count]
        elif messages and messages[-1]["role"] == "user":
            messages = messages[:-1]
        return [*found, *relevant_lines(messages, text, budget)]

    def artifacts(self, state: SessionState, text: str) -> list[str]:
        """Return what earlier runs gave, as far as there is room: what is about `text`, and the newest."""
        return relevant_artifacts(state.artifacts, text, self.policy.artifact_tokens)

    async def window(self, state: SessionState) -> tuple[str, list[Message]]:
        """Return the summary, and the newest messages as they were said; the newest of all is cut if it must be.

        The summary was written from what users said: in a prompt it is data.
        """
        messages = unsummarised(state, await self._spoken(state))
        return state.summary, window_of(messages, self.policy.window_tokens)

    async def compact(self, state: SessionState) -> Compaction:
        """Summarise or leave out older messages when there are more than the window has room for.

        What was said stays in storage. A model that fails is a note in what is returned, never an error.
        """

        async def history(limit: int) -> list[dict[str, Any]]:
            return await self.history(state.session_id, limit)

        if not state.session_id:
            return Compaction()
        return await compact(state, history, self.llm, instruction(self.skills, SUMMARY), self.policy)

    def keep(self, state: SessionState, goal: str, plan: CandidatePlan | None, result: ExecutionResult) -> None:
        """Note what became of a run: an artifact in words, and small plain outputs as values for later plans."""
        results.keep(state, goal, plan, result)

    async def _spoken(self, state: SessionState) -> list[dict[str, Any]]:
        """Return the newest messages of the user and of ours; one of another role came from somewhere else."""
        messages = await self.history(state.session_id, RECENT)
        return [message for message in messages if message["role"] in {"user", "assistant"}]


def check_session_id(session_id: str) -> None:
    """Make sure that an id can be one of a session.

    Raises:
        ValueError: it is too long, holds what cannot be seen or stored, or is of the storage's own.
    """
    if len(session_id) > MAX_ID:
        raise ValueError(f"the id of a session has at most {MAX_ID} characters, and this one has {len(session_id):,}")
    if not session_id.isprintable() or session_id.strip() != session_id:
        raise ValueError(f"{session_id!a} is no id of a session: take printable characters, without blanks at the ends")
    if session_id.startswith("@"):  # such as `@conversation/…`, where agents talk among themselves
        raise ValueError(f"{session_id!r} is no id of a session: those that begin with @ are the storage's own")


def _owner(session: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return user and tenant; a session that the seed's API created without a tenant is of a local process."""
    metadata = cast("Mapping[str, Any]", session.get("metadata") or {})
    return session.get("user_id"), metadata.get("org_id", RequestIdentity.org_id)
