"""`goalgraph catalog ls`, `show` and `search`."""

from collections.abc import Sequence
from typing import Any

from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.console import people
from goalgraph.cli.exits import CommandError, Ending
from goalgraph.cli.show import action_details, actions_table, spec_rules
from planner.catalog import MISSING, ActionSpec, Slot
from planner.errors import InvalidRef, UnknownAction, closest


def ls(catalog: str | None) -> Ending:
    """List the actions."""
    specs = load_catalog(catalog).list_actions()
    people().print(actions_table(specs))
    return Ending(document=[document(spec) for spec in specs])


def show(name: str, catalog: str | None) -> Ending:
    """Show one action."""
    actions = load_catalog(catalog)
    try:
        spec = actions.get_action_by_name(name) or actions.get_action(name)
    except (InvalidRef, UnknownAction) as error:
        if isinstance(error, UnknownAction) and (versions := _versions(name, error.known)):
            raise CommandError(f"there is no {name}; there is {', '.join(versions)}") from None
        similar = closest(name, list(actions.view.by_name))
        raise CommandError(f"there is no action {name!r}; closest: {similar}") from None
    people().print(action_details(spec))
    return Ending(document=document(spec))


def _versions(ref: str, known: Sequence[str]) -> list[str]:
    """Return the references among `known` that differ from `ref` in the version only."""
    name, mark, _ = ref.rpartition("@")
    return [other for other in known if mark and other.rpartition("@")[0] == name]


def search(goal: str, catalog: str | None, count: int) -> Ending:
    """Find the actions that a goal may need."""
    hits = load_catalog(catalog).search(goal, count)
    if hits:
        people().print(actions_table(hit.action for hit in hits))
    else:
        people().print("nothing here fits that goal; goalgraph catalog ls shows what there is")
    found = [{"action": hit.action.ref, "score": hit.score, "reason": hit.reason} for hit in hits]
    return Ending(document=found)


def document(spec: ActionSpec) -> dict[str, Any]:
    """Return an action as JSON."""
    return {
        "name": spec.name,
        "ref": spec.ref,
        "kind": spec.kind,
        "version": spec.version,
        "description": spec.description,
        "tags": list(spec.tags),
        "flow_id": spec.flow_id,
        "inputs": [_slot(slot) for slot in spec.inputs],
        "outputs": [_slot(slot) for slot in spec.outputs],
        "rules": spec_rules(spec),
    }


def _slot(slot: Slot) -> dict[str, Any]:
    shape: dict[str, Any] = {"name": slot.name, "required": slot.required, "schema": dict(slot.schema)}
    if slot.description:
        shape["description"] = slot.description
    if slot.default is not MISSING:
        shape["default"] = slot.default
    if slot.semantic:
        shape["semantic"] = slot.semantic
    return shape
