"""Metrics for Prometheus, read from a frozen record of figures. No id and no name of a file is in any label."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

METRICS_TYPE = CONTENT_TYPE_LATEST
"""Content type of `ServiceMetrics.text`."""
LATENCY_BOUNDS_S = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Latency:
    """How long slides took from submission to result.

    Attributes:
        counts: slides by bound of `LATENCY_BOUNDS_S`, each counted at the first that it is within, and one for more.
        sum_s: seconds of all slides together.
    """

    counts: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_S) + 1)
    sum_s: float = 0.0

    def with_one(self, seconds: float) -> "Latency":
        """The same, and one slide more."""
        place = bisect_left(LATENCY_BOUNDS_S, seconds)
        counts = tuple(n + (place == k) for k, n in enumerate(self.counts))
        return replace(self, counts=counts, sum_s=self.sum_s + seconds)


@dataclass(frozen=True)
class ResultCount:
    """Results of one kind.

    Attributes:
        status: scored, not_reportable or failed.
        risk_class: good, uncertain or poor; empty where there is none.
        withheld: of a bundle in shadow, or without a known eligibility: counted without its class.
        n: how many.
    """

    status: str
    risk_class: str
    withheld: bool
    n: int


@dataclass(frozen=True)
class ServiceFigures:
    """What the metrics say of the service. Names are those of the settings, never of files or people.

    Attributes:
        queue: submissions that are not done, by state and route.
        results: counts of what is done.
        latency: from submission to result.
        oldest_waiting_s: how long the slide that has waited longest has waited; 0 where none waits.
        tiles: tiles that went through the networks since the service started.
        worker_restarts: workers that were started again since then.
        webhook_waiting: events that wait for each webhook, by its name.
        webhook_undelivered: events that each webhook's receiver refused for good.
        disk_free_bytes: room on the disks, by what lies there (out, state).
    """

    queue: Mapping[tuple[str, str], int] = field(default_factory=dict)
    results: tuple[ResultCount, ...] = ()
    latency: Latency = Latency()
    oldest_waiting_s: float = 0.0
    tiles: int = 0
    worker_restarts: int = 0
    webhook_waiting: Mapping[str, int] = field(default_factory=dict)
    webhook_undelivered: Mapping[str, int] = field(default_factory=dict)
    disk_free_bytes: Mapping[str, int] = field(default_factory=dict)


class ServiceMetrics:
    """Gives the metrics as text; a collector of prometheus_client, in a registry of its own.

    Args:
        figures: gives the newest figures.
    """

    def __init__(self, figures: Callable[[], ServiceFigures]):
        self._figures = figures
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering asks for no figures."""
        return []

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        figures = self._figures()
        queue = GaugeMetricFamily("pathoprog_queue", "Submissions that are not done", labels=["state", "route"])
        for (state, route), n in sorted(figures.queue.items()):
            queue.add_metric([state, route], n)
        yield queue
        results = CounterMetricFamily(
            "pathoprog_results", "Slides that are done; without class where it is withheld", labels=["status", "class"]
        )
        for (status, risk_class), n in sorted(_counted(figures.results).items()):
            results.add_metric([status, risk_class], n)
        yield results
        yield _histogram(figures.latency)
        oldest = "How long the slide that has waited longest has waited"
        yield GaugeMetricFamily("pathoprog_oldest_waiting_seconds", oldest, value=figures.oldest_waiting_s)
        yield CounterMetricFamily("pathoprog_tiles", "Tiles that went through the networks", value=figures.tiles)
        restarts = "Workers that were started again"
        yield CounterMetricFamily("pathoprog_worker_restarts", restarts, value=figures.worker_restarts)
        yield _gauges("pathoprog_webhook_waiting", "Events that wait", "webhook", figures.webhook_waiting)
        refused = "Events that were refused for good"
        yield _gauges("pathoprog_webhook_undelivered", refused, "webhook", figures.webhook_undelivered)
        yield _gauges("pathoprog_disk_free_bytes", "Room on the disk", "folder", figures.disk_free_bytes)


def _counted(results: Iterable[ResultCount]) -> Counter[tuple[str, str]]:
    """Results by status and class, those that are withheld with no class."""
    counts: Counter[tuple[str, str]] = Counter()
    for result in results:
        counts[result.status, "" if result.withheld else result.risk_class] += result.n
    return counts


def _histogram(latency: Latency) -> HistogramMetricFamily:
    so_far, buckets = 0, []
    for bound, n in zip((*map(str, LATENCY_BOUNDS_S), "+Inf"), latency.counts, strict=True):
        so_far += n
        buckets.append((bound, so_far))
    text = "From submission to result"
    return HistogramMetricFamily("pathoprog_latency_seconds", text, buckets=buckets, sum_value=latency.sum_s)


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
