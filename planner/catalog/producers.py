"""Which outputs can fill an input: an index by meaning, by name and by the shape of the type."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from planner.catalog.schemas import Fit, fits
from planner.catalog.signature import resolve_local
from planner.catalog.slot import Slot
from planner.catalog.spec import ActionSpec


@dataclass(frozen=True, slots=True)
class Producer:
    """One output of one action that could fill an input."""

    action: ActionSpec
    output: Slot


class ProducerIndex:
    """Outputs of the newest actions, found without looking at each.

    An output is a producer when it fits the type and has the same semantic type, the same name, or the same shape of
    record. A bare `string` that only happens to be a string is not offered.
    """

    def __init__(self, specs: Iterable[ActionSpec]) -> None:
        self._by_key: defaultdict[tuple[str, str], list[Producer]] = defaultdict(list)
        for spec in specs:
            for output in spec.outputs:
                for key in _keys(output):
                    self._by_key[key].append(Producer(spec, output))

    def find(self, slot: Slot) -> list[Producer]:
        """Return the producers of `slot`: same meaning first, then same name, then same shape; surely fitting before maybe."""
        found: dict[tuple[str, str], tuple[int, int, Producer]] = {}
        for rank, key in enumerate(_keys(slot)):
            for producer in self._by_key.get(key, ()):
                identity = (producer.action.ref, producer.output.name)
                if identity in found or _different_meaning(slot, producer.output):
                    continue
                fit = fits(producer.output.schema, slot.schema)
                if fit is not Fit.NO:
                    found[identity] = (0 if fit is Fit.YES else 1, rank, producer)
        return [producer for *_, producer in sorted(found.values(), key=lambda entry: entry[:2])]


def _keys(slot: Slot) -> list[tuple[str, str]]:
    keys = [("semantic", slot.semantic)] if slot.semantic else []
    keys.append(("name", slot.name.replace("_", "").replace("-", "").lower()))
    if shape := _shape(slot):
        keys.append(("shape", shape))
    return keys


def _shape(slot: Slot) -> str:
    """Name a record, an enumeration or a list of these; plain types have no shape of their own."""
    schema = resolve_local(slot.schema)
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        inner = _shape(Slot(slot.name, {"$defs": slot.schema.get("$defs", {}), **schema["items"]}))
        return f"[{inner}]" if inner else ""
    if "enum" in schema:
        return json.dumps(schema["enum"], default=str)
    return ",".join(sorted(schema.get("properties", ())))


def _different_meaning(wanted: Slot, offered: Slot) -> bool:
    return wanted.semantic is not None and offered.semantic is not None and wanted.semantic != offered.semantic
