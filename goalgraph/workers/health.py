"""What a worker tells about itself: one beat now and then, as a line, a file, or figures for Prometheus."""

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from planner.runs import RunMetrics, RunService
from storage.redis.archiving import ArchiverMetrics

State = Literal["started", "working", "stopping", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """How a worker is at one moment."""

    state: State
    at: datetime
    pid: int
    slots: int
    """Runs that it advances at the same time, at most."""
    runs: RunMetrics
    archive: ArchiverMetrics
    last_error: str
    """The last thing that was logged as a warning or worse, and when; empty when nothing was."""

    def line(self) -> str:
        """Write it for people."""
        runs, archive = self.runs, self.archive
        ended = ", ".join(f"{count} {status}" for status, count in sorted(runs.ended.items())) or "none ended"
        parts = [
            f"worker {self.pid} {self.state}: advances {runs.advancing} of {self.slots}",
            f"{runs.due} due",
            f"{runs.started} taken up ({ended})",
            f"archive {archive.lag:.1f} s behind",
        ]
        return " · ".join([*parts, f"last error: {self.last_error}"] if self.last_error else parts)

    def document(self) -> dict[str, Any]:
        """Write it for programs."""
        archive = {"lag": self.archive.lag, "waiting": self.archive.waiting, "error": self.archive.error}
        shown = {"state": self.state, "at": self.at.isoformat(), "pid": self.pid, "slots": self.slots}
        return {**shown, **asdict(self.runs), "archive": archive, "last_error": self.last_error}


class Health:
    """Reads how a worker is.

    Args:
        runs: What it does.
        slots: Runs that it advances at the same time, at most.
        archiving: Tells how far the archive is.
    """

    def __init__(self, runs: RunService, slots: int, archiving: Callable[[], ArchiverMetrics] | None) -> None:
        self._runs = runs
        self._slots = slots
        self._archiving = archiving or ArchiverMetrics
        self._errors = LastError()

    def __enter__(self) -> Self:
        logging.getLogger("goalgraph").addHandler(self._errors)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("goalgraph").removeHandler(self._errors)

    def beat(self, state: State = "working") -> Beat:
        """Return how it is now; from any thread."""
        return Beat(
            state=state,
            at=datetime.now(UTC),
            pid=os.getpid(),
            slots=self._slots,
            runs=RunMetrics.of(self._runs),
            archive=self._archiving(),
            last_error=self._errors.text,
        )


class LastError(logging.Handler):
    """Remembers the last warning or error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        at = datetime.fromtimestamp(record.created, UTC)
        self.text = f"{' '.join(record.getMessage().split())} ({at:%Y-%m-%d %H:%M:%S} UTC)"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it meanwhile finds the old text or the new one.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
