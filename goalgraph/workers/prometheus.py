"""The figures of a worker for Prometheus: read when they are asked for, over HTTP."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from goalgraph.workers.health import Beat


class WorkerCollector(Collector):
    """Turns a beat into metrics, all of them named `goalgraph_…`."""

    def __init__(self, read: Callable[[], Beat]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        beat = self._read()
        runs, archive = beat.runs, beat.archive
        yield GaugeMetricFamily("goalgraph_runs_advancing", "Runs that are advanced now", runs.advancing)
        yield GaugeMetricFamily("goalgraph_slots", "Runs that can be advanced at the same time", beat.slots)
        yield GaugeMetricFamily("goalgraph_runs_due", "Runs that were due at the last look", runs.due)
        yield GaugeMetricFamily("goalgraph_archive_lag_seconds", "Age of what waits longest", archive.lag)
        yield GaugeMetricFamily("goalgraph_archive_waiting", "Records that wait for the archive", archive.waiting)
        yield CounterMetricFamily("goalgraph_runs_started", "Runs begun or taken up", runs.started)
        yield CounterMetricFamily("goalgraph_leases_lost", "Runs that went to another process", runs.leases_lost)
        yield CounterMetricFamily("goalgraph_sweeps", "Looks for runs that are due", runs.sweeps)
        yield _by("goalgraph_runs_ended", "Runs that ended, or wait for a person", "status", runs.ended)
        yield _by("goalgraph_callbacks", "Attempts to deliver a callback", "outcome", runs.callbacks)


@contextmanager
def served_metrics(port: int, read: Callable[[], Beat]) -> Generator[None]:
    """Answer at `http://…:port/metrics` until the end.

    Raises:
        OSError: the port cannot be had.
    """
    registry = CollectorRegistry()
    registry.register(WorkerCollector(read))
    server, thread = start_http_server(port, registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _by(name: str, documentation: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
