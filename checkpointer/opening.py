"""A saver that is about to be opened, with `async with` or with `with`."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

from checkpointer.home import Home

T = TypeVar("T")


class Opening(AbstractAsyncContextManager[T], AbstractContextManager[T], Generic[T]):
    """Opens in the running loop, or without one in a thread that it keeps while it is open."""

    def __init__(self, opened: AbstractAsyncContextManager[T]) -> None:
        self._opened = opened
        self._home: Home | None = None

    async def __aenter__(self) -> T:
        return await self._opened.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._opened.__aexit__(kind, error, traceback)

    def __enter__(self) -> T:
        """Open for synchronous use.

        Raises:
            SyncCallInLoop: inside a running event loop; write `async with`.
        """
        self._home = Home()
        try:
            return self._home.run(self.__aenter__())
        except BaseException:  # whatever it is, it is raised again
            self._home.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        home, self._home = self._home, None
        if home is None:
            return None
        try:
            return home.run(self.__aexit__(kind, error, traceback))
        finally:
            home.close()
