"""A request as the record of its run keeps it: enough for another process to go on with the run, and no secret.

The field `start` is for people; the field `request` holds what it lacks. An input that `start` shows whole is only
there; a large or odd one is in the blob store; a secret, what says it, and what is no data, is named and has to be
given again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from planner.catalog import Codecs, to_plain
from planner.context import RequestIdentity, RunContext, RunImportance, RunOrigin, RunVisibility
from planner.errors import MissingSecrets, UnstorableOutput
from planner.execution.attempt import Returned
from planner.execution.blobs import load, set_aside_value
from planner.execution.outcome import BlobPart, StepOutcome
from planner.execution.request import RunRequest
from planner.execution.run_records import RunRecord
from planner.execution.secrets import secret_within, secrets_in
from planner.plan import CandidatePlan
from storage.protocols import BlobStore
from storage.records import Value
from storage.serde import ValueCodec

VERSION = 1
"""Of the field; another one needs a migration."""


async def request_field(
    request: RunRequest, codecs: Codecs, blobs: BlobStore, largest: int, codec: ValueCodec
) -> Value:
    """Write what `start` does not say; inputs larger than `largest` bytes go to `blobs`."""
    aside: dict[str, list[list[Any]]] = {}
    values: dict[str, Any] = {}
    missing: list[str] = []
    secrets = secrets_in(request.user_inputs)
    for name, value in request.user_inputs.items():
        if secrets_in({name: value}):
            missing.append(name)
            continue
        try:
            plain = to_plain(value, codecs)
        except UnstorableOutput:
            missing.append(name)
            continue
        if secret_within(plain.value, secrets):
            missing.append(name)
            continue
        if not plain.encoded and plain.size <= largest:
            continue
        returned = Returned(plain.value, plain.encoded, plain.size)
        values[name], parts = await set_aside_value(returned, blobs, largest)
        aside[name] = [[list(path), digest, kind, size] for path, digest, kind, size in parts]
    identity = request.context.identity
    document = {
        "v": VERSION,
        "aside": aside,
        "values": values,
        "missing": missing,
        "roles": list(identity.roles),
        "client_id": identity.client_id,
        "mode": identity.mode,
        "stop_on_failure": request.stop_on_failure,
        "on_failure": request.on_failure,
        "on_cancel": request.on_cancel,
        "max_replans": request.max_replans,
        "undo_again": request.undo_again,
    }
    return codec.dump(document)


async def read_request(record: RunRecord, given: Mapping[str, Any], blobs: BlobStore, codecs: Codecs) -> RunRequest:
    """Return the request that a run was started with.

    Args:
        record: Of the run.
        given: Inputs that the record does not hold, by name.
        blobs: Where large inputs are.
        codecs: Of the catalog.

    Raises:
        MissingSecrets: an input is neither recorded nor given.
        CorruptRecord: an input that was recorded cannot be read.
    """
    said = record.request
    lacking = [name for name in said.get("missing", ()) if name not in given]
    if lacking:
        raise MissingSecrets(record.id, lacking)
    aside: Mapping[str, list[list[Any]]] = said.get("aside", {})
    inputs = {name: value for name, value in record.inputs.items() if name not in said.get("missing", ())}
    for name, parts in aside.items():
        told = cast("Sequence[BlobPart]", [(tuple(path), digest, kind, size) for path, digest, kind, size in parts])
        whole = StepOutcome(step_id=f"input {name}", ref="", status="succeeded", value=said["values"][name], blobs=told)
        inputs[name] = await load(whole, blobs, codecs)
    identity = RequestIdentity(
        user_id=record.user_id,
        org_id=record.org_id,
        roles=tuple(said.get("roles", ())),
        client_id=said.get("client_id"),
        mode=said.get("mode", RequestIdentity.mode),
    )
    context = RunContext(
        run_id=record.id,
        identity=identity,
        session_id=record.session_id,
        agent_id=record.agent_id,
        app_id=record.app_id,
        tags=tuple(record.tags),
        origin=RunOrigin(record.origin) if record.origin else None,
        visibility=RunVisibility(record.visibility),
        importance=RunImportance(record.importance),
    )
    return RunRequest(
        plan=CandidatePlan.from_dict(record.plan),
        user_inputs={**inputs, **given},
        context=context,
        stop_on_failure=said.get("stop_on_failure", True),
        on_failure=said.get("on_failure", "keep"),
        on_cancel=said.get("on_cancel", "keep"),
        max_replans=said.get("max_replans", 0),
        undo_again=said.get("undo_again", False),
        attempt=record.attempt,
        recorded=True,
    )


def lacks_inputs(request: RunRequest) -> bool:
    """Say whether a record of this request would lack an input that is secret."""
    return bool(secrets_in(request.user_inputs))
