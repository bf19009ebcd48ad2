"""A network front for one TCP server that cuts connections, or goes silent."""

import asyncio
import random
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

CHUNK = 1 << 14


class CuttingProxy:
    """Forwards to a server, and cuts each connection after a random number of bytes, of either direction.

    `async with CuttingProxy(redis.url, seed=7, most=20_000) as proxy:` then connect to `proxy.url`.

    Args:
        url: Of the server: any with a host and a port.
        seed: Of the places where it cuts; it is printed, so that a failure tells how to repeat it.
        most: Bytes after which a connection is cut at the latest; 0 for never.
    """

    def __init__(self, url: str, *, seed: int = 0, most: int = 0) -> None:
        self._target = urlsplit(url)
        self._random = random.Random(seed)
        self.most = most
        self.cuts = 0
        self.silent = asyncio.Event()
        """While it is set, new bytes are taken and go nowhere."""
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._port = 0
        self._server: asyncio.Server | None = None
        print(f"cutting proxy: seed {seed}, cuts after at most {most} bytes")

    @property
    def url(self) -> str:
        """Of the server, by way of this front."""
        login, at, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{login}{at}127.0.0.1:{self._port}"))

    def redirect(self, url: str) -> None:
        """Lead to another server from now on."""
        self._target = urlsplit(url)
        self.cut()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection now."""
        for writer in self._open:
            self.cuts += 1
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(OSError):
                server = await asyncio.open_connection(self._target.hostname, self._target.port)
                await self._join((reader, writer), server)
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _join(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        left = [self._random.randrange(1, self.most) if self.most else 0]
        ends = {client[1], server[1]}
        self._open |= ends
        pumps = [
            asyncio.create_task(self._forward(client[0], server[1], left)),
            asyncio.create_task(self._forward(server[0], client[1], left)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: list[int]) -> None:
        """Copy until either side ends, or until what is `left` for both directions is used up."""
        with suppress(OSError):
            while data := await source.read(CHUNK):
                if self.silent.is_set():
                    continue
                if self.most:
                    data = data[: left[0]]
                    left[0] -= len(data)
                target.write(data)
                await target.drain()
                if self.most and left[0] <= 0:
                    self.cuts += 1
                    return
