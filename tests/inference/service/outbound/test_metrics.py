"""Metrics: what Prometheus' own parser reads back; no class of what is withheld, no id and no name of a file."""

from prometheus_client.parser import text_string_to_metric_families

from pathoprog.inference.service.outbound.metrics import (
    LATENCY_BOUNDS_S,
    METRICS_TYPE,
    Latency,
    ResultCount,
    ServiceFigures,
    ServiceMetrics,
)

FIGURES = ServiceFigures(
    queue={("waiting", "colon"): 3, ("leased", "colon"): 1, ("waiting", 'odd"\n\\'): 2},
    results=(
        ResultCount("scored", "good", False, 5),
        ResultCount("scored", "poor", False, 2),
        ResultCount("scored", "poor", True, 70),
        ResultCount("scored", "good", True, 7),
        ResultCount("not_reportable", "", False, 1),
    ),
    latency=Latency().with_one(10).with_one(11).with_one(1e6),
    oldest_waiting_s=12.5,
    tiles=1234,
    worker_restarts=2,
    webhook_waiting={"lis": 4},
    webhook_undelivered={"lis": 1},
    disk_free_bytes={"out": 1 << 40, "state": 7},
)


def samples(figures):
    """Value by name and labels, as Prometheus reads the text."""
    text = ServiceMetrics(lambda: figures).text().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_every_figure():
    found = samples(FIGURES)
    assert found["pathoprog_queue", ("route", "colon"), ("state", "waiting")] == 3
    assert found["pathoprog_queue", ("route", 'odd"\n\\'), ("state", "waiting")] == 2
    assert found["pathoprog_results_total", ("class", "good"), ("status", "scored")] == 5
    assert found["pathoprog_results_total", ("class", ""), ("status", "not_reportable")] == 1
    assert found["pathoprog_oldest_waiting_seconds",] == 12.5
    assert found["pathoprog_tiles_total",] == 1234
    assert found["pathoprog_worker_restarts_total",] == 2
    assert found["pathoprog_webhook_waiting", ("webhook", "lis")] == 4
    assert found["pathoprog_webhook_undelivered", ("webhook", "lis")] == 1
    assert found["pathoprog_disk_free_bytes", ("folder", "out")] == 1 << 40
    assert METRICS_TYPE.startswith("text/plain")


def test_results_in_shadow_are_counted_without_their_class():
    found = samples(FIGURES)
    assert found["pathoprog_results_total", ("class", ""), ("status", "scored")] == 77
    assert found["pathoprog_results_total", ("class", "poor"), ("status", "scored")] == 2


def test_latency_is_a_cumulative_histogram():
    found = samples(FIGURES)
    buckets = [found["pathoprog_latency_seconds_bucket", ("le", str(bound))] for bound in LATENCY_BOUNDS_S]
    assert buckets[:3] == [1, 2, 2] and buckets[-1] == 2, "a bound itself is within"
    assert found["pathoprog_latency_seconds_bucket", ("le", "+Inf")] == 3
    assert found["pathoprog_latency_seconds_count",] == 3
    assert found["pathoprog_latency_seconds_sum",] == 1_000_021


def test_an_idle_service_has_metrics_too():
    found = samples(ServiceFigures())
    assert found["pathoprog_tiles_total",] == 0 and found["pathoprog_latency_seconds_count",] == 0


def test_figures_are_read_anew_each_time_and_not_before():
    asked = []

    def figures():
        asked.append(1)
        return ServiceFigures(tiles=len(asked))

    metrics = ServiceMetrics(figures)
    assert not asked
    assert b"pathoprog_tiles_total 1.0" in metrics.text() and b"pathoprog_tiles_total 2.0" in metrics.text()
    ServiceMetrics(figures)  # a second one has a registry of its own


def test_labels_are_of_the_settings_alone():
    names = {name for sample in samples(FIGURES) for name, _ in sample[1:]}
    assert names == {"state", "route", "status", "class", "webhook", "folder", "le"}
