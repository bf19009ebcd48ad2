"""Conversations: the messages of a session, and those of agents among themselves."""

from typing import Any
from urllib.parse import quote

from storage.records import Change, Entry
from storage.sessions.stores import Stores, as_text

AGENTS = "@conversation/"
"""Before the key of a conversation session: its messages are none of a user's session."""


class Conversations(Stores):
    """A message is a dictionary of these: `role`, `content`, `metadata`, `created_at` (ISO 8601, UTC)."""

    async def add_conversation_message(
        self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None
    ) -> bool:
        """Add a message; the session need not have been created."""
        await self._say(session_id, {"role": role}, {"content": content, "metadata": metadata or {}})
        return True

    async def get_conversation_history(self, session_id: str, limit: int = 50) -> list[dict[str, Any]]:
        """Return the newest `limit` messages, oldest of them first."""
        entries = await self.records.read("message", session_id, limit=limit, newest=True)
        return [self._message(entry) for entry in entries]

    async def create_conversation_session(
        self,
        session_id: str,
        participants: list[dict[str, Any]],
        session_type: str,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Open a conversation within a session and return its key; the same participants in the same order share one.

        Args:
            session_id: To which it belongs, and with which it expires.
            participants: Each with `participant_id`, and whatever else tells about it.
            session_type: The seed has `user_to_mc`, `mc_to_agent`, `agent_to_agent` and `user_to_agent`.
            metadata: Anything.
        """
        ids = [str(participant.get("participant_id", "")) for participant in participants]
        key = ":".join(quote(part, safe="", errors="surrogatepass") for part in (session_type, session_id, *ids))
        await self.records.append(
            Change(
                kind="conversation",
                owner=key,
                at=self.clock(),
                fields={
                    "participants": self.codec.dump(participants),
                    "metadata": self.codec.dump(metadata or {}),
                },
                columns={"session": session_id, "type": session_type},
                must="be_new",
            )
        )
        return key

    async def add_agent_communication_message(  # noqa: PLR0913, PLR0917 - the seed's signature
        self,
        session_key: str,
        sender_id: str,
        sender_type: str,
        sender_role: str | None,
        recipient_id: str,
        recipient_type: str,
        recipient_role: str | None,
        content: str,
        message_type: str = "communication",
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Add a message to a conversation session; returns whether there is one of this key."""
        conversation = await self.records.latest("conversation", session_key)
        if conversation is None:
            return False
        values = {
            "sender_id": sender_id,
            "sender_type": sender_type,
            "sender_role": sender_role,
            "recipient_id": recipient_id,
            "recipient_type": recipient_type,
            "recipient_role": recipient_role,
            "content": content,
            "metadata": metadata or {},
        }
        columns = {"session": conversation.columns["session"], "role": sender_type, "type": message_type}
        await self._say(AGENTS + session_key, columns, values)
        return True

    async def get_agent_conversation_history(
        self, session_key: str, limit: int = 50, message_types: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the newest `limit` messages of a conversation session, oldest of them first.

        Args:
            session_key: From `create_conversation_session`.
            limit: Counts those that are returned; with `message_types` all messages are read to find them.
            message_types: Only these.
        """
        owner = AGENTS + session_key
        if message_types is None:
            entries = await self.records.read("message", owner, limit=limit, newest=True)
        else:
            every = await self.records.read("message", owner)
            chosen = [entry for entry in every if entry.columns["type"] in message_types]
            entries = chosen[max(0, len(chosen) - limit) :]
        return [{**self._message(entry), "message_type": entry.columns["type"]} for entry in entries]

    async def _say(self, owner: str, columns: dict[str, str], values: dict[str, Any]) -> None:
        fields = {name: self.codec.dump(value) for name, value in values.items()}
        await self.records.append(Change(kind="message", owner=owner, at=self.clock(), fields=fields, columns=columns))

    def _message(self, entry: Entry) -> dict[str, Any]:
        name = f"message/{entry.owner}/{entry.seq}"
        values = {field: self.codec.load(value, f"{name}/{field}") for field, value in entry.fields.items()}
        return {"role": entry.columns["role"], **values, "created_at": as_text(entry.at)}
