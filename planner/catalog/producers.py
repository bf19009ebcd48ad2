"""Which outputs can fill an input: an index by meaning, by name and by the shape of the type."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

from planner.catalog.schemas import Fit, at_path, fits
from planner.catalog.slot import Slot
from planner.catalog.spec import ActionSpec

Key = tuple[Literal["semantic", "name", "shape", "alias"], str]
_encode = json.JSONEncoder(sort_keys=True, default=str).encode  # `json.dumps` would make an encoder for each call
_VERB = re.compile(r"[A-Za-z][a-z0-9]*(?:_+|(?=[A-Z]))")
RANKS = {"semantic": 0, "name": 1, "shape": 2, "alias": 3}
CERTAIN = frozenset({"semantic", "name"})
"""What is linked by these may be of a type that is not known to fit; by anything else it has to fit."""


@dataclass(frozen=True, slots=True)
class Producer:
    """One output of one action that could fill an input."""

    action: ActionSpec
    output: Slot
    """For the whole value that an action with several outputs returns: that value."""
    whole: bool = False
    """Whether the whole return value is meant, `${step}`, and not one output of it."""

    @property
    def path(self) -> tuple[str, ...]:
        """Where the value lies below the step that calls the action."""
        return () if self.whole else (self.output.name,)


@dataclass(frozen=True, slots=True)
class Need:
    """A value that is needed, and what could give it."""

    key: str
    """The same for slots which the same outputs can fill."""
    slot: Slot
    producers: tuple[Producer, ...]


class ProducerIndex:
    """Outputs of the newest actions, found without looking at each.

    An output is a producer when its type may fit and it has the same semantic type, the same name, or the same shape
    of record, or when its action is named for the input (`load_table` gives a `table`). A `string` that only happens to
    be a string is not offered.
    """

    def __init__(self, specs: Iterable[ActionSpec]) -> None:
        self.specs = list(specs)
        self._by_key: defaultdict[Key, list[Producer]] = defaultdict(list)
        self._found: dict[str, tuple[Producer, ...]] = {}
        self._needs: dict[str, tuple[Need, ...]] = {}
        for spec in self.specs:
            for producer in _producers_in(spec):
                for key in _offered_keys(producer):
                    self._by_key[key].append(producer)

    @cached_property
    def network(self) -> "Network":
        """What feeds what, for a search over all actions."""
        return Network(self.specs, self)

    def needs(self, spec: ActionSpec) -> tuple[Need, ...]:
        """Return the required inputs of an action, each with what other actions give for it; looked up once."""
        if spec.ref not in self._needs:
            self._needs[spec.ref] = tuple(self.need(slot) for slot in spec.inputs if slot.required)
        return self._needs[spec.ref]

    def need(self, slot: Slot) -> Need:
        """Return `slot` with its producers."""
        key = identity(slot)
        return Need(key, slot, self._producers(key, slot))

    def find(self, slot: Slot) -> Sequence[Producer]:
        """Return the producers of `slot`: the surely fitting first, then by meaning, name, shape and action."""
        return self._producers(identity(slot), slot)

    def _producers(self, key: str, slot: Slot) -> tuple[Producer, ...]:
        if key not in self._found:
            self._found[key] = tuple(self._search(slot))
        return self._found[key]

    def _search(self, slot: Slot) -> Iterator[Producer]:
        found: dict[tuple[str, str, bool], tuple[bool, int, Producer]] = {}
        for key in keys_of(slot):
            for producer in self._by_key.get(key, ()):
                same = (producer.action.ref, producer.output.name, producer.whole)
                if same in found or _different_meaning(slot, producer.output):
                    continue
                fit = fits(producer.output.schema, slot.schema)
                if fit is Fit.YES or (fit is Fit.UNKNOWN and key[0] in CERTAIN):
                    found[same] = (fit is not Fit.YES, RANKS[key[0]], producer)
        return (producer for *_, producer in sorted(found.values(), key=lambda entry: entry[:2]))


class Network:
    """Actions and the values between them.

    A value is a class of required inputs that the same outputs can fill. Actions and values go by their positions.
    """

    def __init__(self, specs: Sequence[ActionSpec], index: "ProducerIndex") -> None:
        self.index = index
        self.specs = specs
        self.position = {spec.ref: at for at, spec in enumerate(specs)}
        self.values: list[Need] = []
        self.value_of: dict[str, int] = {}
        self.inputs: list[tuple[int, ...]] = []
        """Action → the values that it requires, each once."""
        for spec in specs:
            self.inputs.append(tuple({self._value(need): None for need in index.needs(spec)}))
        self.counts = [len(inputs) for inputs in self.inputs]
        self.free = [action for action, count in enumerate(self.counts) if count == 0]
        """Actions that require nothing."""
        self.users: list[list[int]] = [[] for _ in self.values]
        """Value → the actions that require it."""
        for action, inputs in enumerate(self.inputs):
            for value in inputs:
                self.users[value].append(action)
        self.givers: list[dict[int, Producer]] = [self.givers_of(need) for need in self.values]
        """Value → the actions that give it, with the surest output of each."""
        self.gives: list[list[int]] = [[] for _ in specs]
        """Action → the values that it gives."""
        for value, givers in enumerate(self.givers):
            for action in givers:
                self.gives[action].append(value)
        self.by_key: defaultdict[Key, list[int]] = defaultdict(list)
        """What a value is called or means → the values."""
        for value, need in enumerate(self.values):
            for key in keys_of(need.slot):
                self.by_key[key].append(value)

    def givers_of(self, need: Need) -> dict[int, Producer]:
        """Return the actions that give what is needed, with the surest output of each."""
        found: dict[int, Producer] = {}
        for producer in need.producers:
            found.setdefault(self.position[producer.action.ref], producer)
        return found

    def _value(self, need: Need) -> int:
        if need.key not in self.value_of:
            self.value_of[need.key] = len(self.values)
            self.values.append(need)
        return self.value_of[need.key]


def links(source: Slot, target: Slot) -> bool:
    """Tell whether a value called and typed as `source` can be given to `target`, by the rule of `ProducerIndex`."""
    if _different_meaning(target, source):
        return False
    shared = {kind for kind, _ in set(keys_of(source)) & set(keys_of(target))}
    if not shared:
        return False
    fit = fits(source.schema, target.schema)
    return fit is Fit.YES or (fit is Fit.UNKNOWN and not shared.isdisjoint(CERTAIN))


def by_shape_only(producer: Producer, target: Slot) -> bool:
    """Tell whether nothing but the shape of its record says that the producer is meant for `target`."""
    return {kind for kind, _ in set(_offered_keys(producer)) & set(keys_of(target))} <= {"shape"}


def identity(slot: Slot) -> str:
    """Return a text that is the same for slots which the same outputs can fill."""
    return f"{slot.semantic} {plain(slot.name)} {_encode(slot.schema)}"


def plain(name: str) -> str:
    """Write `flightId`, `flight_id` and `flight-id` alike."""
    return name.replace("_", "").replace("-", "").lower()


def _producers_in(spec: ActionSpec) -> Iterator[Producer]:
    for output in spec.outputs:
        yield Producer(spec, output)
    if not spec.single_output and spec.returns is not None:
        yield Producer(spec, spec.returns, whole=True)


def _offered_keys(producer: Producer) -> list[Key]:
    """Return what an output is found by; `result` names nothing, so there the action's name does, without its verb."""
    keys = keys_of(producer.output)
    if not (producer.whole or producer.action.single_output):
        return keys
    name = producer.action.name.rpartition(".")[2]
    names = dict.fromkeys(
        plain(text) for text in (name, _VERB.sub("", name, count=1) if _VERB.match(name) else "") if text
    )
    return [*(key for key in keys if key[0] in ("semantic", "shape")), *(("alias", text) for text in names)]


def keys_of(slot: Slot) -> list[Key]:
    """Return what a slot is found by, the surest first."""
    keys: list[Key] = [("semantic", slot.semantic)] if slot.semantic else []
    keys.append(("name", plain(slot.name)))
    if shape := _shape(slot.schema):
        keys.append(("shape", shape))
    keys.append(("alias", plain(slot.name)))
    return keys


def _shape(schema: Any) -> str:
    """Name a record, an enumeration or a list of these; plain types have no shape of their own."""
    shape = at_path(schema, ()) or {}
    if shape.get("type") == "array" and isinstance(shape.get("items"), dict):
        inner = _shape(at_path(schema, (0,)))
        return f"[{inner}]" if inner else ""
    if "enum" in shape:
        return json.dumps(shape["enum"], default=str)
    return ",".join(sorted(cast("dict[str, Any]", shape.get("properties", {}))))


def _different_meaning(wanted: Slot, offered: Slot) -> bool:
    return wanted.semantic is not None and offered.semantic is not None and wanted.semantic != offered.semantic
