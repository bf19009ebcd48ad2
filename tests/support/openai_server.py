"""A real HTTP server that speaks OpenAI's chat completions, and misbehaves as it is told to."""

import asyncio
import contextlib
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support import strict_schema


@dataclass(kw_only=True)
class Reply:
    """One answer of the server."""

    status: int = 200
    body: Any = None
    """JSON, or bytes that are sent as they are."""
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    slow: bool = False
    """Whether it comes only once the server stops."""


def text(content: Any, *, finish_reason: str = "stop", refusal: str | None = None, **usage: Any) -> Reply:
    """A completion; what is not text is sent as JSON."""
    said = content if isinstance(content, str | None) else json.dumps(content)
    message = {"role": "assistant", "content": said, "refusal": refusal}
    choice = {"index": 0, "finish_reason": finish_reason, "message": message, "logprobs": None}
    counts = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, **usage}
    body = {"id": "c1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": counts}
    return Reply(body=body)


def error(status: int, message: str, *, param: str | None = None, code: str | None = None, **headers: str) -> Reply:
    """An error, as OpenAI words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body={"error": {"message": message, "param": param, "code": code}}, headers=named)


def refused() -> Reply:
    return text(None, refusal="I'm sorry, I can't help with that.")


def truncated(content: str) -> Reply:
    return text(content, finish_reason="length")


class OpenAIServer:
    """Gives `replies` one after the other and keeps the `requests`.

    It checks strict schemas as OpenAI does, and refuses the response formats in `refuses`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: deque[Reply] = deque()
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.refuses: set[str] = set()
        self.asked = asyncio.Event()
        self.stopping = asyncio.Event()

    @property
    def formats(self) -> list[str]:
        """The response format of each request."""
        return [request.get("response_format", {}).get("type", "text") for request in self.requests]

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.keys.append(request.headers.get("authorization", ""))
        self.asked.set()
        wanted = body.get("response_format", {})
        if wanted.get("type") in self.refuses:
            reply = error(400, f"'response_format.type' {wanted['type']} is not supported", param="response_format")
        elif found := strict_faults(wanted):
            reply = error(400, f"Invalid schema for response_format: {found[0]}", param="response_format")
        else:
            reply = self.replies.popleft() if self.replies else error(418, "the test gave the server no more replies")
        if reply.slow:
            await self.stopping.wait()
        if isinstance(reply.body, bytes):
            return Response(reply.body, reply.status, reply.headers, reply.media_type)
        return JSONResponse(reply.body, reply.status, reply.headers)


def strict_faults(wanted: dict[str, Any]) -> list[str]:
    given = wanted.get("json_schema", {})
    return strict_schema.faults(given["schema"]) if given.get("strict") else []


class QuietServer(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve() -> AsyncIterator[OpenAIServer]:
    """Run a server on a free port of the loopback, in this loop."""
    with socket.create_server(("127.0.0.1", 0)) as listening:  # so no client is ever too early
        server = OpenAIServer(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        app = Starlette(routes=[Route("/v1/chat/completions", server.answer, methods=["POST"])])
        config = uvicorn.Config(app, lifespan="off", log_level="warning", timeout_graceful_shutdown=1, ws="none")
        runner = QuietServer(config)
        task = asyncio.create_task(runner.serve(sockets=[listening]))
        try:
            yield server
        finally:
            server.stopping.set()
            runner.should_exit = True
            await task
