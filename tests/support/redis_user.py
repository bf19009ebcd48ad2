"""A process that has an embedded pair open: `python -m tests.support.redis_user FOLDER RUNTIME_FOLDER`.

It prints the URL when Redis is open. Each line in is a command of Redis, or one of those below, and gives a line out;
at the end of its input it closes what it has open.
"""

import asyncio
import multiprocessing
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from storage.embedded import ArchiveLease, DataDirectory, open_redis
from storage.embedded.server import ask

FORK = multiprocessing.get_context("fork")


async def serve(directory: DataDirectory) -> None:
    lease = ArchiveLease(directory)
    opening = open_redis(directory)
    async with opening as url:
        say(url)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            match line:
                case "lease":
                    say(lease.acquire())
                case "fork":  # what the child does with what its parent has open is nothing to the parent
                    child = FORK.Process(target=close_in_child, args=(opening,))
                    child.start()
                    await asyncio.to_thread(child.join)
                    say(child.exitcode)
                case "fork and stay":  # the child outlives us
                    child = FORK.Process(target=stay)
                    child.start()
                    say(child.pid)
                case "shared":
                    async with open_redis(directory) as again:
                        say(again == url)
                case _:
                    say(ask(directory.socket(), line))


def close_in_child(opening: AbstractAsyncContextManager[str]) -> None:
    """Close it as an exception that passes through would, in a process that has neither its loop nor its threads."""
    closing = opening.__aexit__(None, None, None)
    try:
        closing.send(None)
    except StopIteration:
        sys.exit(3)


def stay() -> None:
    """Wait for the end of a pipe of which nobody else knows, that is for a signal."""
    os.closerange(0, 3)  # or who reads them would wait for us
    reader, _ = os.pipe()
    os.read(reader, 1)


def say(answer: object) -> None:
    print(answer, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(DataDirectory(Path(sys.argv[1]), runtime_dir=Path(sys.argv[2]))))
