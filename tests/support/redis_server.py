"""Real Redis servers for tests: one, or a cluster of three. Nothing waits for time: a server says when it is ready."""

import random
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Self

from redis import Redis

from storage.embedded import find_redis_server

START_SECONDS = 20.0
READY = "eady to accept connections"  # of 6.2 to 8 and of Valkey, whatever the capital
CLUSTER_OK = "Cluster state changed: ok"
HOST = "127.0.0.1"


def free_port() -> int:
    """A port that is free now, and so is the one 10,000 above, where a cluster's nodes talk to each other."""
    choose = random.SystemRandom()  # `random` is seeded, so every worker would choose the same
    while True:
        port = choose.randrange(15_000, 30_000)  # below what the kernel hands out to clients, and so is the other
        if all(_is_free(number) for number in (port, port + 10_000)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class RedisServer:
    """A child process that keeps an AOF in `folder`, so it can be killed and started again with all its data.

    `with RedisServer(tmp_path) as server:` starts and stops it. Starting takes about 20 ms.

    Args:
        folder: Its own; short, when `tcp` is off (a socket's path has at most 107 bytes).
        tcp: Listen on a free port of 127.0.0.1 instead of a unix socket.
        options: More lines of its configuration, `{"maxmemory-policy": "allkeys-lru", "requirepass": "secret"}`.
    """

    def __init__(self, folder: Path, *, tcp: bool = False, options: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port() if tcp else 0
        self.socket = folder / "redis.sock"
        self.options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of database 0, with the password if there is one."""
        secret = self.options.get("requirepass")
        login = f":{secret}@" if secret else ""
        return f"redis://{login}{HOST}:{self.port}/0" if self.port else f"unix://{login}{self.socket}?db=0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it, again if need be, on the address it had, and return when it answers."""
        self.launch()
        self.wait_for(READY)
        self.close_log()
        return self

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal_by="kill")

    def stop(self) -> None:
        """End it and wait until it is gone; it may be gone already."""
        self._end(signal_by="terminate")

    def client(self) -> Redis:
        """A synchronous connection; close it."""
        return Redis.from_url(self.url)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def launch(self) -> None:
        """Start the process without waiting for it."""
        assert not self.running, "the server runs already"
        settings = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": '""',
            **({} if self.port else {"unixsocket": str(self.socket), "unixsocketperm": "700"}),
            **self.options,
        }
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="utf-8")
        self._process = subprocess.Popen(
            [find_redis_server(), config],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal ends the tests, and they end the server
            restore_signals=False,  # Python ignores SIGXFSZ; so does the server then, when a test limits its files
        )

    def wait_for(self, saying: str) -> None:
        """Read its log until a line has `saying`."""
        assert self._process is not None
        assert self._process.stdout is not None
        stream = self._process.stdout
        deadline = time.monotonic() + START_SECONDS
        log = b""
        while saying.encode() not in log:
            readable = wait([stream.fileno()], max(0.0, deadline - time.monotonic()))
            chunk = stream.read1() if readable else b""  # pyright: ignore[reportAttributeAccessIssue]  # it is buffered
            if not chunk:
                self.kill()
                raise AssertionError(f"redis-server did not say {saying!r}:\n{log.decode(errors='replace')}")
            log += chunk

    def close_log(self) -> None:
        """Nobody reads the log from here on; a server ignores that, while a full pipe would stop it."""
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    def _end(self, *, signal_by: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        getattr(process, signal_by)()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()


class RedisCluster3:
    """Three masters that share the slots. Starting takes about 2.5 s: a node waits 2 s before it takes writes.

    `nodes` can be killed and started one by one.
    """

    def __init__(self, folder: Path, *, options: Mapping[str, str] | None = None) -> None:
        settings = {"cluster-enabled": "yes", "cluster-node-timeout": "2000", **(options or {})}
        self.nodes = [RedisServer(folder / f"node{number}", tcp=True, options=settings) for number in range(3)]

    @property
    def url(self) -> str:
        """Of the first node; a client finds the others."""
        return f"redis+cluster://{HOST}:{self.nodes[0].port}"

    def start(self) -> Self:
        """Start the nodes, share out the slots, and return when each node takes writes."""
        try:
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.wait_for(READY)
            self._join()
            for node in self.nodes:
                node.wait_for(CLUSTER_OK)
                node.close_log()
        except BaseException:  # raised again; no node may stay
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all nodes and wait until they are gone."""
        for node in self.nodes:
            with suppress(subprocess.TimeoutExpired):
                node.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _join(self) -> None:
        """Introduce every node to every other, which is faster than leaving it to gossip."""
        for number, node in enumerate(self.nodes):
            with node.client() as client:  # first all of them: a node that knows another one takes no epoch
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                slots = range(16_384 * number // 3, 16_384 * (number + 1) // 3)
                client.execute_command("CLUSTER ADDSLOTS", *slots)
                for other in self.nodes[number + 1 :]:
                    client.execute_command("CLUSTER MEET", HOST, other.port)
