"""Who asks, from where, and how a run is listed: values that travel beside a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from langchain_core.utils.uuid import uuid7


class RunOrigin(StrEnum):
    """What started a run."""

    app = "app"
    agent = "agent"
    chat = "chat"
    playground = "playground"
    api = "api"
    system = "system"
    user = "user"


class RunVisibility(StrEnum):
    """Where a run is listed: everywhere, under the run that started it, or only by its id."""

    normal = "normal"
    inline = "inline"
    hidden = "hidden"


class RunImportance(StrEnum):
    """How long a run is kept close: an ephemeral one leaves the hot tier sooner."""

    normal = "normal"
    ephemeral = "ephemeral"


@dataclass(frozen=True, kw_only=True)
class RequestIdentity:
    """Who a call is made for; the default is the one user of a local process."""

    user_id: str = "local"
    org_id: str = "local"
    """The tenant."""
    roles: Sequence[str] = ()
    client_id: str | None = None
    mode: str = "local"


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Everything about one execution that is not the plan or its inputs."""

    run_id: str
    identity: RequestIdentity = field(default_factory=RequestIdentity)
    session_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    tags: tuple[str, ...] = ()
    origin: RunOrigin | None = None
    visibility: RunVisibility = RunVisibility.normal
    importance: RunImportance = RunImportance.normal
    resources: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What `Resource("name")` parameters receive."""


@dataclass(frozen=True, kw_only=True)
class NodeContext:
    """The LangGraph node (or any place in an agent) that a `NodePlanner` speaks for."""

    identity: RequestIdentity = field(default_factory=RequestIdentity)
    session_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    graph_id: str | None = None
    node_id: str | None = None
    run_id: str | None = None

    @property
    def tags(self) -> list[str]:
        """`graph:…`, `node:…` and `run:…` for what is known."""
        known = {"graph": self.graph_id, "node": self.node_id, "run": self.run_id}
        return [f"{kind}:{value}" for kind, value in known.items() if value]

    def asked_by(self, identity: RequestIdentity | None) -> dict[str, Any]:
        """Say whose roles count in planning, and what is not offered: a flow must not plan itself into its own plan."""
        own = self.graph_id
        return {"identity": identity or self.identity, "exclude_actions": (own,) if own else ()}

    def origin_of(self, agent_id: str | None) -> RunOrigin:
        """Say what starts a run for which nothing is said."""
        return RunOrigin.agent if agent_id or self.agent_id else RunOrigin.user

    def run_context(  # noqa: PLR0913 - the fields of a RunContext
        self,
        run_id: str | None,
        *,
        identity: RequestIdentity | None = None,
        visibility: RunVisibility = RunVisibility.normal,
        importance: RunImportance = RunImportance.normal,
        session_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        tags: Sequence[str] | None = None,
        origin: RunOrigin | None = None,
    ) -> RunContext:
        """Gather who runs a plan and where it is listed; what is not given comes from the node, an id is a UUIDv7."""
        return RunContext(
            run_id=run_id or str(uuid7()),
            identity=identity or self.identity,
            session_id=session_id or self.session_id,
            agent_id=agent_id or self.agent_id,
            app_id=app_id or self.app_id,
            tags=(*(tags or ()), *self.tags),
            origin=origin,
            visibility=visibility,
            importance=importance,
        )
