"""The bounds that keep one plan or one run from taking everything; every error names the bound it met."""

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds with their defaults (DESIGN section 14); `None` where a bound may be absent means unlimited."""

    plan_bytes: int = 4_000_000
    """Length of a plan's text, before it is parsed."""
    steps: int = 10_000
    nesting: int = 64
    """How deep lists and objects of a plan may be nested."""
    items: int = 10_000
    """Items that one `for_each` may map over."""
    literal_bytes: int = 256_000
    output_bytes: int = 32_000_000
    blob_bytes: int = 256_000
    """Outputs larger than this go to the blob store."""
    step_timeout: timedelta = timedelta(minutes=10)
    """For an action that declares no timeout of its own."""
    run_timeout: timedelta = timedelta(hours=24)
    """In which it is advanced; the time that it waits for a person does not count."""
    events: int = 100_000
    tokens: int | None = None
    cost: float | None = None
    concurrency: int = 64
    """Actions of one run that work at the same time."""
    window: int = 128
    """Step tasks that are open at the same time; keeps LangGraph's bookkeeping linear (planning.md section 6)."""
    grace: timedelta = timedelta(seconds=30)
    """How long running steps may go on after another one failed or the run was cancelled."""

    callback_timeout: timedelta = timedelta(minutes=1)
    """For one call of `on_complete`, or one delivery of a durable callback."""
    tenant_runs: int | None = None
    """Runs of one tenant that are live at the same time; more are refused."""
    due_runs: int = 100_000
    """Runs that may wait to be taken up; more are refused."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value: Any = getattr(self, field.name)
            amount = value.total_seconds() if isinstance(value, timedelta) else value
            if amount is not None and (amount < 0 or (amount == 0 and field.name != "grace")):
                raise ValueError(f"the limit {field.name!r} has to be more than 0, not {value}")
