"""The catalog: names, versions, groups, and what is computed once."""

from collections.abc import Callable
from typing import Any

import pytest

from planner.catalog import ActionCatalog, ActionSpec, Slot, action, as_slot, parse_ref
from planner.catalog import catalog as catalog_module
from planner.catalog.catalog import CatalogView
from planner.errors import DuplicateAction, InvalidRef, RegistrationError, UnknownAction


def described(name: str, version: str = "1.0", flow_id: str | None = None, kind: Any = "action") -> ActionSpec:
    return ActionSpec(name, f"{kind}:{name}@{version}", kind, version, (), (Slot("result"),), flow_id=flow_id)


def names(specs: Any) -> list[str]:
    return [spec.name for spec in specs]


@pytest.fixture
def catalog() -> ActionCatalog:
    """Two groups, one action for everybody, and a flow."""
    return ActionCatalog(
        [
            described("pay", flow_id="trips"),
            described("ask"),
            described("brew", flow_id="kitchen"),
            described("search", flow_id="trips", kind="flow"),
        ]
    )


def test_actions_are_listed_by_group_name_and_version(catalog: ActionCatalog) -> None:
    """The global ones first; the same order whatever was registered first."""
    assert ["ask", "brew", "pay", "search"] == names(catalog.list_actions())
    assert names(catalog) == names(catalog.iter_actions()) == names(catalog.list_actions())
    assert 4 == len(catalog)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"flow_ids": ["trips"]}, ["ask", "pay", "search"]),
        ({"flow_ids": ["trips"], "include_global": False}, ["pay", "search"]),
        ({"flow_ids": []}, ["ask"]),
        ({"flow_ids": None, "include_global": False}, ["ask", "brew", "pay", "search"]),
        ({"kinds": ("flow",)}, ["search"]),
        ({"kinds": ("graph",)}, ["search"]),
        ({"kinds": ("graphfn",)}, ["ask", "brew", "pay"]),
    ],
)
def test_groups_and_kinds_are_filtered(catalog: ActionCatalog, options: dict[str, Any], expected: list[str]) -> None:
    """`None` means every group, a list these and the global actions; aethergraph's kinds are known."""
    assert expected == names(catalog.list_actions(**options))


def test_a_name_is_looked_up_within_kinds_and_groups(catalog: ActionCatalog) -> None:
    """`None` where there is no such action to see."""

    def found(name: str, **options: Any) -> str | None:
        spec = catalog.get_action_by_name(name, **options)
        return spec and spec.ref

    assert "flow:search@1.0" == found("search") == found("search", kind="graph", flow_ids=["trips"])
    assert "action:ask@1.0" == found("ask", flow_ids=["trips"])
    assert [None, None, None] == [
        found("search", kind="graphfn"),
        found("search", flow_ids=["kitchen"]),
        found("ask", flow_ids=["trips"], include_global=False),
    ]
    assert found("nobody") is None


def test_the_newest_version_is_offered_and_every_version_stays_resolvable() -> None:
    """A21: by PEP 440, not by text or by the order of registration."""
    catalog = ActionCatalog([described("load", version) for version in ("1.10", "1.9", "2.0rc1", "1.0")])

    assert ["2.0rc1"] == [spec.version for spec in catalog]
    assert 1 == len(catalog)
    for version in ("1.10", "1.9", "2.0rc1", "1.0"):
        assert version == catalog.get_action(f"action:load@{version}").version


@pytest.mark.parametrize(
    "ref", ["action:ask@1.0", "graphfn:ask@1.0", "action:ask", "graphfn:ask@latest", "action:ask@"]
)
def test_references_of_the_seed_and_without_a_version_are_understood(catalog: ActionCatalog, ref: str) -> None:
    """`graphfn:` and `graph:` are aethergraph's words; no version means the newest."""
    assert "action:ask@1.0" == catalog.get_action(ref).ref
    assert ("flow", "a@b", "1") == parse_ref("graph:a@b@1")


@pytest.mark.parametrize("ref", ["ask", "tool:ask@1.0", "action:", ":ask", "", "action:@1.0"])
def test_what_is_no_reference_is_told_how_one_is_written(catalog: ActionCatalog, ref: str) -> None:
    """As a `ValueError`, which aethergraph raised."""
    with pytest.raises(ValueError, match="write action:name@version") as refused:
        catalog.get_action(ref)

    assert InvalidRef is type(refused.value)


@pytest.mark.parametrize("ref", ["action:aks", "action:ask@9", "flow:ask@1.0", "flow:ask"])
def test_an_unknown_action_is_a_key_error_that_names_what_is_close(catalog: ActionCatalog, ref: str) -> None:
    """Aethergraph raised a `KeyError`; its message was a quoted key."""
    with pytest.raises(KeyError) as refused:
        catalog.get_action(ref)

    assert UnknownAction is type(refused.value)
    assert f"unknown action {ref!r}; closest: " in str(refused.value)
    assert "ask" in str(refused.value).split("closest")[1]


def test_a_reference_is_registered_once() -> None:
    """Silently taking the second would change what stored plans mean."""
    catalog = ActionCatalog([described("load")])

    with pytest.raises(DuplicateAction, match="replace=True"):
        catalog.add(described("load"))
    with pytest.raises(DuplicateAction, match="taken by action:load"):
        catalog.add(described("load", "2.0", kind="flow"))


def test_replacing_puts_the_new_action_in_the_place_of_the_old() -> None:
    """As when a notebook cell runs again; an old version does not become the newest that way."""
    catalog = ActionCatalog([described("load", "1.0"), described("load", "2.0")])
    changed = ActionSpec("load", "action:load@2.0", "action", "2.0", (Slot("path"),), ())
    catalog.add(changed, replace=True)
    catalog.add(described("load", "1.0"), replace=True)

    assert [changed] == list(catalog)
    assert changed is catalog.get_action("action:load@2.0")


def test_indexes_are_built_once_for_each_version_of_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A22: aethergraph read every signature again for each name."""
    built: list[str] = []

    def counting(kind: type[Any]) -> Callable[..., Any]:
        def build(*arguments: Any) -> Any:
            built.append(kind.__name__)
            return kind(*arguments)

        return build

    monkeypatch.setattr(catalog_module, "CatalogView", counting(CatalogView))
    monkeypatch.setattr(catalog_module, "ProducerIndex", counting(catalog_module.ProducerIndex))
    monkeypatch.setattr(catalog_module, "ActionSearch", counting(catalog_module.ActionSearch))
    catalog = ActionCatalog([described("load"), described("save")])

    for _ in range(3):
        catalog.list_actions()
        catalog.producers(Slot("table"))
        catalog.search("load a table")
    first, version = list(built), catalog.version
    catalog.add(described("draw"))
    catalog.search("draw")

    assert ["CatalogView", "ProducerIndex", "ActionSearch"] == first
    assert [*first, *first] == built
    assert catalog.version > version


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (described("load", "newest"), "PEP 440"),
        (described("load table"), "no action name"),
        (described(""), "no action name"),
        (described("load@home"), "no action name"),
        (ActionSpec("load", "action:load@1", "action", "1", (Slot("a", {"type": "txt"}),), ()), "no JSON Schema"),
        (ActionSpec("load", "action:load@1", "action", "1", (), (Slot("a", {"$ref": "#/$defs/B"}),)), "no JSON Schema"),
        (
            ActionSpec("load", "action:load@1", "action", "1", (Slot("a", {"$ref": "http://x"}),), ()),
            "no JSON Schema",
        ),
    ],
)
def test_what_no_plan_could_name_or_check_is_refused(spec: ActionSpec, words: str) -> None:
    """When it is registered, and without fetching a schema from anywhere."""
    with pytest.raises(RegistrationError, match=words):
        ActionCatalog([spec])


@pytest.mark.parametrize("item", [3, "load_table", None, [print]])
def test_what_is_no_action_at_all_is_refused_with_what_may_be_given(item: object) -> None:
    """By the name of its type."""
    with pytest.raises(RegistrationError, match="give a function, a tool, a graph or an ActionSpec"):
        ActionCatalog().add(item)


def test_adding_returns_the_spec_and_leaves_the_function_alone() -> None:
    """The same function can be in two catalogs."""

    @action
    def load(path: str) -> str:
        return path

    one, two = ActionCatalog([load]), ActionCatalog([load])

    assert one.get_action("action:load") == two.get_action("action:load") == ActionCatalog().add(load)
    assert "x" == load("x")


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (None, {}),
        ("any", {}),
        ("integer", {"type": "integer"}),
        (int, {"type": "integer"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (Slot("other", {"type": "boolean"}), {"type": "boolean"}),
        (Any, {}),
    ],
)
def test_an_external_slot_may_be_given_as_a_schema_a_type_or_a_word(value: object, schema: dict[str, Any]) -> None:
    """Aethergraph's coarse words are understood."""
    assert schema == as_slot("key", value).schema


@pytest.mark.parametrize("value", ["datetime", 5, {"type": "txt"}, object()])
def test_an_external_slot_that_says_nothing_is_refused(value: object) -> None:
    """It names the slot, so that the caller finds it."""
    with pytest.raises(TypeError, match="external slot 'key'"):
        as_slot("key", value)
