"""A process that does what it is told with a saver, and may be killed at any time.

`python -m tests.chaos.worker REDIS_URL ARCHIVE_URL`. Each line in is a command as JSON, `{"id": 7, "do": "put", …}`.
Each line out is an answer, `{"id": 7, "ok": …}`, or `{"id": 7, "error": …}` when a store refuses, or
`{"id": 7, "bug": …}` for anything else; or it is `{"log": …}`, what is logged as an error.
"""

import asyncio
import json
import logging
import sys
import traceback
from collections.abc import Callable
from typing import Any

from checkpointer import DualWriteSaver
from storage.errors import CorruptRecord, StorageError
from tests.support.steps import Step, at, list_steps, newest_step, open_saver, put_step, read_step, write_step

Say = Callable[..., None]


def flat(step: Step | None) -> list[object] | None:
    return None if step is None else [step.number, step.value, step.root, list(step.writes)]


async def do(saver: DualWriteSaver, command: dict[str, Any]) -> object:
    """Do what a command says and return what goes into its answer."""
    thread = command.get("thread", "")
    match command["do"]:
        case "put":
            await put_step(saver, thread, command["number"], parent=command["parent"], root=command["root"])
        case "write":
            await write_step(saver, thread, command["number"])
        case "delete":
            await saver.adelete_thread(thread)
        case "list":
            return [flat(step) for step in await list_steps(saver, thread)]
        case "newest":
            return flat(await newest_step(saver, thread))
        case "get":
            found = await saver.aget_tuple(at(thread, command["number"]))
            return flat(None if found is None else read_step(found))
        case "flush":
            await saver.aflush(command["seconds"])
        case "evict":
            if command["flush"]:
                await saver.aflush(2.0)
            return await saver.storage.archiver.evict_thread(thread)
        case other:
            raise ValueError(other)
    return None


async def answer(saver: DualWriteSaver, command: dict[str, Any], say: Say) -> None:
    try:
        say(id=command["id"], ok=await do(saver, command))
    except CorruptRecord:
        say(id=command["id"], bug=traceback.format_exc())
    except StorageError as error:
        say(id=command["id"], error=f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - whatever it is, the campaign has to know
        say(id=command["id"], bug=traceback.format_exc())


async def serve(redis: str, archive: str, say: Say) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while not lines.at_eof():
        try:
            async with open_saver(redis, archive) as saver:
                say(ready=True)
                async with asyncio.TaskGroup() as answering:
                    while line := await lines.readline():
                        answering.create_task(answer(saver, json.loads(line), say))
        except StorageError:  # Redis is away just now
            continue


class Complaints(logging.Handler):
    """What is logged as an error goes to the campaign."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.ERROR)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(log=self.format(record))


def main() -> None:
    def say(**what: object) -> None:
        print(json.dumps(what), flush=True)

    logger = logging.getLogger("goalgraph")
    logger.addHandler(Complaints(say))
    logger.propagate = False
    asyncio.run(serve(sys.argv[1], sys.argv[2], say))


if __name__ == "__main__":
    main()
