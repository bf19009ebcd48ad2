"""From the values one has to the values one wants: the cheapest actions that lead there, over typed inputs and outputs.

Costs spread forward from what is there (Knuth's generalisation of Dijkstra's algorithm to actions with several inputs);
then the plan is read off backward. Only what the wants can depend on is looked at, and nothing recurses.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.catalog import MISSING, ActionSpec, Producer, Slot
from planner.catalog.producers import Need, Network, by_shape_only, keys_of, links
from planner.plan import Reference
from planner.plan.value_check import misfit

EFFECT_COST = {"read": 0.0, "write": 10.0, "external": 100.0}
APPROVAL_COST = 50.0

Cost = tuple[float, float]
"""How much has to be asked of the user, then what the calls cost: no number of calls is worse than a question."""
FREE: Cost = (0.0, 0.0)
DOUBT = 0.5
"""What a link counts that only the shape of a record speaks for: more than any calls to get what is called or means the
same, and less than a question."""


@dataclass(frozen=True, slots=True)
class Source:
    """A value that is there already: a key of the user, or an output of a step that has run."""

    reference: Reference
    slot: Slot
    value: Any = MISSING
    """The value, where it is known; then it decides, not the type."""

    def fills(self, target: Slot) -> bool:
        """Tell whether the value can be given to `target`."""
        if self.value is MISSING:
            return links(self.slot, target)
        return not set(keys_of(self.slot)).isdisjoint(keys_of(target)) and misfit(self.value, target) is None


class Sources:
    """The values that are there, found by what they are called and mean."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._by_key: defaultdict[tuple[str, str], list[Source]] = defaultdict(list)
        for source in sources:
            for key in keys_of(source.slot):
                self._by_key[key].append(source)

    def find(self, target: Slot) -> list[Source]:
        """Return what can be given to `target`: the same meaning first, then the same name, then the same shape."""
        found: dict[Reference, Source] = {}
        for key in keys_of(target):
            for source in self._by_key.get(key, ()):
                if source.reference not in found and source.fills(target):
                    found[source.reference] = source
        return list(found.values())


@dataclass(frozen=True, slots=True)
class Want:
    """An output to reach."""

    name: str
    slots: tuple[Slot, ...]
    """Any of these will do: the name may be that of an output or of a semantic type."""
    action: ActionSpec | None = None
    """The call of this action, whatever it gives, in place of `slots`."""


Choice = Source | Producer | None
"""Where a value comes from; `None` asks the user."""


@dataclass
class Reached:
    """Where every value that is needed comes from."""

    wants: dict[str, Choice] = field(default_factory=dict[str, Choice])
    """By name; those that nothing can reach are absent."""
    choices: dict[str, Choice] = field(default_factory=dict[str, Choice])
    """By `Need.key`, for the inputs of all actions that are involved."""
    unreachable: list[str] = field(default_factory=list[str])
    cost: Cost = FREE


def cost_of(spec: ActionSpec) -> float:
    """Return what a call of an action counts: one, its declared cost, and more for what it changes."""
    policy = spec.policy
    declared = policy.cost.amount + policy.cost.seconds / 60 + policy.cost.tokens / 100_000
    return 1.0 + declared + EFFECT_COST[policy.effect] + APPROVAL_COST * bool(policy.approval)


def asking(need: Need) -> Cost:
    """Return what a question counts: a person can type a text or a number, but hardly a code or a record."""
    if not need.producers:
        return (1.0, 0.0)
    if need.slot.type in ("object", "array"):
        return (10.0, 0.0)
    return (3.0 if need.slot.semantic else 1.0, 0.0)


def reach(
    network: Network,
    have: Iterable[Source],
    wants: Sequence[Want],
    *,
    allowed: Callable[[ActionSpec], bool] = lambda _: True,
    ask: bool = True,
    direct: bool = True,
) -> Reached:
    """Choose for every want, and for every input on the way to it, where it comes from.

    Args:
        network: The catalog's actions and what feeds them.
        have: The values that are there.
        wants: The outputs to reach.
        allowed: Which actions may be used.
        ask: Whether the user may be asked for an input, where without asking not all wants can be reached.
        direct: Whether a want may be one of the values that are there, although an action could produce it.
    """
    sources = list(have)
    search = _Search(network, sources, wants, allowed)
    if search.run() and ask:
        search.ask()
        search.run()
    return search.result(Sources(sources), direct=direct)


class _Search:
    """One spreading of costs. The wants are further values, behind those of the network."""

    def __init__(
        self,
        network: Network,
        have: Sequence[Source],
        wants: Sequence[Want],
        allowed: Callable[[ActionSpec], bool],
    ) -> None:
        self.network = network
        self.wants = wants
        self.allowed = allowed
        self.waiting = network.counts.copy()
        self.permissions: dict[int, bool] = {}
        self.costs: dict[int, Cost] = {}
        """Action → what its inputs and itself cost so far."""
        self.choices: dict[int, Choice] = {}
        """Value → where it comes from; only what is settled."""
        self.settled: dict[int, Cost] = {}
        self.pushed = 0
        self.queue: list[tuple[Cost, int, int, Choice]] = []
        self.given_wants: defaultdict[int, list[tuple[int, Producer]]] = defaultdict(list)
        """Action → the wants that it gives."""
        self.want_givers: list[dict[int, Producer]] = []
        for number, want in enumerate(wants, len(network.values)):
            givers = _givers(want, network)
            self.want_givers.append(givers)
            for action, producer in givers.items():
                self.given_wants[action].append((number, producer))
        for source in have:
            for value in {value for key in keys_of(source.slot) for value in network.by_key.get(key, ())}:
                target = network.values[value].slot
                if source.fills(target):
                    kinds = {kind for kind, _ in set(keys_of(source.slot)) & set(keys_of(target))}
                    self._push((DOUBT, 0.0) if kinds == {"shape"} else FREE, value, source)
        self.missing = {number for number, givers in enumerate(self.want_givers, len(network.values)) if givers}
        for action in network.free:
            self._fire(action, FREE)

    def run(self) -> bool:
        """Settle values in the order of their cost until all wants are; what depends on itself never is.

        Returns:
            Whether wants that some action gives are still missing.
        """
        while self.queue and self.missing:
            cost, _, value, choice = heapq.heappop(self.queue)
            if value in self.settled:
                continue
            self.settled[value], self.choices[value] = cost, choice
            self.missing.discard(value)
            for action in self.network.users[value] if value < len(self.network.values) else ():
                self.waiting[action] -= 1
                self.costs[action] = _sum(self.costs.get(action, FREE), cost)
                if self.waiting[action] == 0:
                    self._fire(action, self.costs[action])
        return bool(self.missing)

    def ask(self) -> None:
        """Let the user be asked for everything that the missing wants can depend on.

        What is settled stays so: it needs no question, and nothing that does is cheaper.
        """
        seen: set[int] = set()
        visited = {action for want in self.missing for action in self.want_givers[want - len(self.network.values)]}
        pending = list(visited)
        while pending:
            action = pending.pop()
            if not self._may_call(action):
                continue
            for value in self.network.inputs[action]:
                if value not in seen and value not in self.settled:
                    seen.add(value)
                    self._push(asking(self.network.values[value]), value, None)
                    further = self.network.givers[value].keys() - visited
                    visited |= further
                    pending.extend(further)

    def result(self, sources: Sources, *, direct: bool) -> Reached:
        """Return the choices that were made."""
        values = self.network.values
        reached = Reached(choices={values[at].key: choice for at, choice in self.choices.items() if at < len(values)})
        for number, want in enumerate(self.wants, len(values)):
            there = next((found for slot in want.slots for found in sources.find(slot)), None)
            if there is not None and (direct or number not in self.settled):
                reached.wants[want.name] = there
            elif number in self.settled:
                reached.wants[want.name] = self.choices[number]
                reached.cost = _sum(reached.cost, self.settled[number])
            else:
                reached.unreachable.append(want.name)
        return reached

    def _fire(self, action: int, inputs: Cost) -> None:
        """Offer what an action gives, now that all that it requires is settled."""
        if not self._may_call(action):
            return
        cost = (inputs[0], inputs[1] + cost_of(self.network.specs[action]))
        for value in self.network.gives[action]:
            if value not in self.settled:
                giver = self.network.givers[value][action]
                doubt = DOUBT if by_shape_only(giver, self.network.values[value].slot) else 0.0
                self._push((cost[0] + doubt, cost[1]), value, giver)
        for want, producer in self.given_wants.get(action, ()):
            self._push(cost, want, producer)

    def _may_call(self, action: int) -> bool:
        if (known := self.permissions.get(action)) is None:
            known = self.permissions[action] = self.allowed(self.network.specs[action])
        return known

    def _push(self, cost: Cost, value: int, choice: Choice) -> None:
        self.pushed += 1  # equals keep their order, and choices are never compared
        heapq.heappush(self.queue, (cost, self.pushed, value, choice))


def _givers(want: Want, network: Network) -> dict[int, Producer]:
    if want.action is not None:
        called = Producer(want.action, want.action.returns or Slot("result"), whole=True)
        return {network.position[want.action.ref]: called}
    needs = [network.index.need(slot) for slot in want.slots]
    return {action: one for need in needs for action, one in network.givers_of(need).items()}


def _sum(left: Cost, right: Cost) -> Cost:
    return (left[0] + right[0], left[1] + right[1])
