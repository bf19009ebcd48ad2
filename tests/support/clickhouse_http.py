"""A ClickHouse that answers over HTTP, where no server can be had: chdb in a process of its own, behind a small front.

    with ClickHouseHttp(tmp_path / "ch") as server:
        client = await open_server(server.url())

The engine is the real one; what is ours is the HTTP: queries with bound parameters, inserts, databases, users, and the
errors of all these as the server sends them. `pause` and `resume`, `hold_inserts` and `release_inserts`,
`slow_inserts`, `kill` and `start` make it fail in the ways that a server does.
"""

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

ROOT = Path(__file__).parents[2]
USER, PASSWORD = "keeper", "s3cret:/@?"
"""May do everything."""
GUEST, GUEST_PASSWORD = "guest", "guest"
"""May read and insert, and create nothing."""
START_SECONDS = 60.0
VERSION = "(version 26.9.2.1 (official build))"
INSERT = re.compile(rb"(\s*INSERT\s+INTO\s+.*?)\s+FORMAT\s+(\w+)[ \t\r]*\n(.*)\Z", re.IGNORECASE | re.DOTALL)

# --------------------------------------------------------------------------------------------- in the test's process


@dataclass
class ClickHouseHttp:
    """A server on `path`; it listens on the same port again after `kill` and `start`."""

    path: Path
    port: int = 0
    process: "subprocess.Popen[str] | None" = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def url(self, database: str = "default", *, user: str = USER, password: str = PASSWORD) -> str:
        return f"clickhouse://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and return when it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.clickhouse_http", str(self.path), str(self.port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,  # it ends when this is closed, so also when the tests are killed
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is for whoever started it
        )
        assert self.process.stdout is not None
        ready = wait([self.process.stdout.fileno()], START_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.kill()
            raise AssertionError("the ClickHouse front did not start")
        self.port = int(line)

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()

    def pause(self) -> None:
        """Cut every connection without an answer, from now on."""
        self._control("pause")

    def resume(self) -> None:
        self._control("resume")

    def hold_inserts(self) -> None:
        """Let inserts wait, before they are done, until `release_inserts`."""
        self._control("hold")

    def release_inserts(self) -> None:
        self._control("release")

    def slow_inserts(self, seconds: float) -> None:
        """Let each insert take `seconds` longer; 0 ends it."""
        self._control(f"slow/{seconds}")

    def await_insert(self) -> None:
        """Return when an insert is held."""
        assert self._control("arrived") == "True", "no insert came"

    def _control(self, what: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/control/{what}", timeout=60) as answer:
            return answer.read().decode()


# -------------------------------------------------------------------------------------------- in the server's process


class Refused(Exception):
    """What the server says no to."""

    def __init__(self, status: int, code: int, name: str, text: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text} ({name}) {VERSION}\n")
        self.status = status
        self.code = code


class Front:
    """The engine and what the control requests set."""

    def __init__(self, path: str) -> None:
        import chdb

        self.connect = lambda: chdb.connect(path)
        self.connections = {readonly: self.connect() for readonly in (False, True)}
        self.connections[True].query("SET readonly = 1", "TabSeparated")
        self.locks = {readonly: threading.Lock() for readonly in self.connections}
        self.paused = False
        self.free = threading.Event()
        self.free.set()
        self.never = threading.Event()
        self.arrived = threading.Event()
        self.slow = 0.0

    def control(self, what: str, value: str) -> str:
        match what:
            case "pause":
                self.paused = True
            case "resume":
                self.paused = False
            case "hold":
                self.arrived.clear()
                self.free.clear()
            case "release":
                self.free.set()
            case "slow":
                self.slow = float(value)
            case "arrived":
                return str(self.arrived.wait(START_SECONDS / 2))
            case _:
                raise ValueError(what)
        return "ok"

    def run(self, statement: bytes, parameters: dict[str, str], database: str, *, readonly: bool) -> bytes:
        rows = INSERT.match(statement)
        if rows is not None:
            return self.insert(database, *rows.groups())
        with self.locks[readonly]:
            return self.ask(database, statement, parameters, readonly=readonly)

    def ask(self, database: str, statement: bytes, parameters: dict[str, str], *, readonly: bool) -> bytes:
        connection: Any = self.connections[readonly]
        try:
            if database:
                connection.query("USE `" + database.replace("`", "\\`") + "`", "TabSeparated")
            answer = connection.query(statement, "TabSeparated", params=parameters).bytes()
            if not answer and statement.endswith(b"FORMAT Native"):
                meta = connection.query(statement[:-6] + b"JSON", "JSON", params=parameters).bytes()
                answer = no_rows(json.loads(meta)["meta"])
            return answer or b""
        except BaseException:  # its next answer would begin with what this one left
            self.connections[readonly] = self.connect()
            if readonly:
                self.connections[readonly].query("SET readonly = 1", "TabSeparated")
            connection.close()
            raise

    def insert(self, database: str, head: bytes, form: bytes, rows: bytes) -> bytes:
        """Rows come from a file: the engine in process cuts binary rows that stand in the statement."""
        self.arrived.set()
        self.free.wait()
        self.never.wait(self.slow)
        with tempfile.NamedTemporaryFile() as file, self.locks[False]:
            file.write(rows)
            file.flush()
            statement = head + f" FROM INFILE '{file.name}' FORMAT ".encode() + form
            return self.ask(database, statement, {}, readonly=False)


class Handler(BaseHTTPRequestHandler):
    """Speaks as the server's HTTP interface does, as far as clickhouse-connect listens."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    front: Front

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/control/"):
            what, _, value = path.removeprefix("/control/").partition("/")
            self.answer(200, self.front.control(what, value).encode())
            return
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.front.paused:
            self.close_connection = True
            return
        if urlsplit(self.path).path == "/ping":
            self.answer(200, b"Ok.\n")
            return
        try:
            self.answer(200, self.run(body))
        except Refused as error:
            self.answer(error.status, str(error).encode(), error.code)
        except Exception as error:  # noqa: BLE001 - whatever the engine says is handed on, as the server does
            said = str(error)
            code = re.search(r"Code: (\d+)", said)
            number = int(code[1]) if code else 1000
            self.answer(404 if number in {60, 81} else 500, said.encode(), number)

    def run(self, body: bytes) -> bytes:
        values = {name: found[0] for name, found in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}
        kind = self.headers.get("Content-Type") or ""
        if kind.startswith("multipart/form-data"):
            values |= form(body, kind)
            body = b""
        statement = values.pop("query", "").encode() + (b"\n" if body and "query" in values else b"") + body
        self.check(statement)
        parameters = {name.removeprefix("param_"): value for name, value in values.items() if name.startswith("param_")}
        readonly = values.get("readonly", "0") != "0"
        return self.front.run(statement, parameters, values.get("database", ""), readonly=readonly)

    def check(self, statement: bytes) -> None:
        """Check who asks, and whether they may."""
        given = self.headers.get("Authorization") or ""
        user, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
        if {USER: PASSWORD, GUEST: GUEST_PASSWORD}.get(user) != password:
            raise Refused(
                403,
                516,
                "AUTHENTICATION_FAILED",
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name.",
            )
        word = re.match(rb"\s*(CREATE|ALTER|DROP|TRUNCATE)\s+(\w+)", statement, re.IGNORECASE)
        if user == GUEST and word:
            raise Refused(
                500,
                497,
                "ACCESS_DENIED",
                f"{user}: Not enough privileges. To execute this query, it's necessary to have the grant "
                f"{word[1].decode()} {word[2].decode()} ON *.*.",
            )

    def answer(self, status: int, body: bytes, code: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class has
        """Say nothing: standard error is the test's."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that cuts the connection is what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def no_rows(columns: list[dict[str, str]]) -> bytes:
    """A block without rows, which a server sends and the engine in process does not."""
    texts = [column[part].encode() for column in columns for part in ("name", "type")]
    assert all(len(text) < 128 for text in texts), "a longer length has more than one byte"
    return bytes((len(columns), 0)) + b"".join(bytes((len(text),)) + text for text in texts)


def form(body: bytes, kind: str) -> dict[str, str]:
    """The fields of a multipart body."""
    boundary = re.search(r'boundary="?([^";]+)', kind)
    assert boundary
    values: dict[str, str] = {}
    for part in body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, value = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name
        values[name[1].decode()] = value.decode()
    return values


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("path")
    arguments.add_argument("port", type=int)
    given = arguments.parse_args()
    Handler.front = Front(given.path)
    server = Server(("127.0.0.1", given.port), Handler)
    threading.Thread(target=end_with_parent, daemon=True).start()
    print(server.server_address[1], flush=True)
    server.serve_forever()


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
