"""The seed's interfaces: the same names, arguments and defaults, and what was written to the original still fits."""

import inspect
from typing import Any

import pytest

from storage import seed_protocols
from storage.dual.storage import DualStorage
from storage.redis.storage import RedisStorage
from storage.seed_protocols import (
    CheckpointerBackend,
    CheckpointStorage,
    ConversationStorage,
    PermanentStorageBackend,
    SessionStorage,
    StorageBackend,
    TaskContextStorage,
)
from storage.sessions import MemoryStorage, StorageFacade
from tests.support import original_interfaces
from tests.support.original_interfaces import (
    ICheckpointerBackend,
    ICheckpointStorage,
    IConversationStorage,
    IPermanentStorageBackend,
    ISessionStorage,
    IStorageBackend,
    ITaskContextStorage,
)

NAMES = {
    name
    for name, value in vars(original_interfaces).items()
    if inspect.isclass(value) and inspect.isabstract(value) and value.__module__ == original_interfaces.__name__
}


def fits(  # pyright checks each argument: whoever has the original has ours
    session: ISessionStorage,
    conversation: IConversationStorage,
    checkpoint: ICheckpointStorage,
    context: ITaskContextStorage,
    storage: IStorageBackend,
    permanent: IPermanentStorageBackend,
    checkpointer: ICheckpointerBackend,
) -> tuple[
    SessionStorage,
    ConversationStorage,
    CheckpointStorage,
    TaskContextStorage,
    StorageBackend,
    PermanentStorageBackend,
    CheckpointerBackend,
]:
    return session, conversation, checkpoint, context, storage, permanent, checkpointer


def ours(storage: StorageFacade) -> tuple[StorageBackend, CheckpointerBackend]:
    """Pyright checks that the facade is both."""
    return storage, storage


def arguments(function: Any) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


def methods(of: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(of, inspect.isfunction) if not name.startswith("_")}


def test_all_seven_interfaces_are_here() -> None:
    assert len(NAMES) == 7
    assert {name.removeprefix("I") for name in NAMES} <= set(vars(seed_protocols))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_interface_has_the_seeds_methods_arguments_and_defaults(name: str) -> None:
    original, here = getattr(original_interfaces, name), getattr(seed_protocols, name.removeprefix("I"))

    assert methods(here) == methods(original)
    for method in methods(original):
        assert arguments(getattr(here, method)) == arguments(getattr(original, method)), method
        assert inspect.iscoroutinefunction(getattr(here, method))


@pytest.mark.parametrize("storage", [MemoryStorage, RedisStorage, DualStorage])
@pytest.mark.parametrize("original", [IStorageBackend, ICheckpointerBackend])
def test_a_storage_has_them_all_as_the_seed_calls_them(storage: type, original: type) -> None:
    for method in methods(original):
        assert arguments(getattr(storage, method)) == arguments(getattr(original, method)), method
