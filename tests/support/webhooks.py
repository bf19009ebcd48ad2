"""A server for callbacks of runs over HTTP, which fails at times, or never answers."""

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

Heard = Callable[[str, str], None]
"""Told the run and the status of each delivery that was accepted."""


class Webhooks:
    """`async with Webhooks(heard) as hooks:`, then let runs call `hooks.url("a name")`.

    Args:
        heard: As above.
        chance: With it, a tenth of the deliveries is refused with 500.
    """

    def __init__(self, heard: Heard, chance: random.Random | None = None) -> None:
        self.refused = 0
        self.ids: list[str] = []
        """`webhook-id` of each delivery, refused or not."""
        self.silent = False
        """Whether answers are kept back."""
        self._heard = heard
        self._chance = chance
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def url(self, name: str) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{name}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        body = await reader.readexactly(int(fields["content-length"]))
        self.ids.append(fields["webhook-id"])
        if self.silent:
            await asyncio.Event().wait()
        if self._chance is not None and self._chance.random() < 0.1:
            self.refused += 1
            writer.write(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            said = json.loads(body)
            self._heard(said["run_id"], said["status"])
            writer.write(b"HTTP/1.1 200 ok\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
