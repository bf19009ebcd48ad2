"""`BackendSaver`: LangGraph's checkpointer over whatever has the seed's five methods."""

from collections.abc import Iterable

from langgraph.checkpoint.serde.base import SerializerProtocol

from checkpointer.backend_store import BackendCheckpoints
from checkpointer.saver import DualWriteSaver
from storage.seed_protocols import CheckpointerBackend


class BackendSaver(DualWriteSaver):
    """Keeps checkpoints in any `CheckpointerBackend`, also one that was written to the seed's own abstract class.

    Right before fast; `BackendCheckpoints` says what each call costs. Fencing tokens are refused (`ValueError`): five
    methods cannot compare and write at once.

    Args:
        backend: Stores plain data: dictionaries, lists, text and integers, all of which JSON can have.
        serde: How values become bytes; by default strict, see `DualWriteSaver`.
        allowed_types: Types, or `"module:Name"`, that the default serializer loads besides.
    """

    fences = False

    def __init__(
        self,
        backend: CheckpointerBackend,
        *,
        serde: SerializerProtocol | None = None,
        allowed_types: Iterable[type | tuple[str, ...] | str] = (),
    ) -> None:
        super().__init__(BackendCheckpoints(backend), serde=serde, allowed_types=allowed_types)
