"""`goalgraph chat --list`: the conversations of a user."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from rich.table import Table
from rich.text import Text

from goalgraph.cli.console import people
from goalgraph.cli.exits import Ending
from goalgraph.cli.runs import Where, ask
from goalgraph.live.words import cut
from goalgraph.stores import OpenStores
from planner.context import RequestIdentity

LISTED = 50
LOOKED_AT = 2_000
"""Sessions, the newest, among which those of the user are found."""
SAID_CHARS = 80


@dataclass(frozen=True, slots=True)
class Conversation:
    """One of the conversations of a user."""

    session: str
    last_activity: str
    """ISO 8601, UTC."""
    said: str
    """What was said last."""


def ls(where: Where) -> Ending:
    """List the conversations of a user, the one in which something was said last first."""

    async def read(stores: OpenStores) -> list[Conversation]:
        return await _conversations(stores, where.identity)

    found = ask(where, read) or []
    if found:
        people().print(_table(found))
    else:
        people().print(f"no conversations of {where.owner} here; begin one with: goalgraph chat", markup=False)
    return Ending(document=[asdict(one) for one in found])


async def _conversations(stores: OpenStores, identity: RequestIdentity) -> list[Conversation]:
    if (sessions := stores.sessions) is None:
        return []
    found: list[Conversation] = []
    for owner in await _newest(stores):
        session = await sessions.get_session(owner)
        org = RequestIdentity.org_id if session is None else session["metadata"].get("org_id", RequestIdentity.org_id)
        if session is None or (session["user_id"], org) != (identity.user_id, identity.org_id):
            continue
        said = await sessions.get_conversation_history(owner, 1)
        found.append(Conversation(owner, session["last_activity"], str(said[-1]["content"]) if said else ""))
    return sorted(found, key=lambda one: one.last_activity, reverse=True)[:LISTED]


async def _newest(stores: OpenStores) -> list[str]:
    """Return the ids of the sessions that changed last; of more, none is asked for."""
    owners: list[str] = []
    async for owner in stores.records.owners("session"):
        owners.append(owner)
        if len(owners) == LOOKED_AT:
            break
    return owners


def _table(found: Sequence[Conversation]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("Session", "Last", "Said last"):
        table.add_column(heading, overflow="fold")
    for one in found:
        table.add_row(
            Text(one.session, style="bold cyan"),
            Text(f"{datetime.fromisoformat(one.last_activity).astimezone():%b %d %H:%M}"),
            Text(cut(" ".join(one.said.split()), SAID_CHARS), style="dim"),
        )
    return table
