"""Every metric with its help text, and the program's own log. docs/metrics.md is made from here and checked.

Names mirror the OpenTelemetry Collector's where it has one (accepted, refused, sent); items are spans or log records.
A `Metrics` is passed to whoever counts: there is no global registry, so two bridges in a test do not mix.
"""

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, PlatformCollector
from prometheus_client import ProcessCollector as _ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:  # only who delivers has batches of values, and numpy with Arrow
    import numpy as np
    import numpy.typing as npt

LAG_BUCKETS_SECONDS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


class WeightedHistogram(Collector):
    """A histogram that takes a whole batch of values at once; prometheus_client's own takes them one by one."""

    def __init__(self, name: str, documentation: str, labelnames: Sequence[str], buckets: Sequence[float]) -> None:
        self.name, self.documentation, self.labelnames = name, documentation, tuple(labelnames)
        self._bounds = tuple(buckets)
        self._series: dict[tuple[str, ...], tuple[list[float], list[float]]] = {}
        self._lock = threading.Lock()

    def observe(
        self,
        labels: tuple[str, ...],
        values: "npt.NDArray[np.float64]",
        weights: "npt.NDArray[np.float64] | None" = None,
    ) -> None:
        """Count every value (seconds), `weights` times each; values at a bound belong to it."""
        import numpy as np

        weights = np.ones(len(values)) if weights is None else weights
        place = np.searchsorted(self._bounds, values, side="left")
        counts = np.bincount(place, weights=weights, minlength=len(self._bounds) + 1).tolist()
        total = float((values * weights).sum())  # np.dot would wake BLAS's threads, which spin
        with self._lock:
            totals, sums = self._series.setdefault(labels, ([0.0] * len(counts), [0.0]))
            totals[:] = [before + more for before, more in zip(totals, counts, strict=True)]
            sums[0] += total

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labelnames)
        with self._lock:
            series = [(labels, list(accumulate(totals)), sums[0]) for labels, (totals, sums) in self._series.items()]
        for labels, cumulative, total in series:
            names = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
            family.add_metric(labels, list(zip(names, cumulative, strict=True)), sum_value=total)
        yield family


class _QuickCounter(Counter):
    """Remembers its children by the values as they were given: six lookups a request were 30 us."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._quick: dict[tuple[object, ...], Self] = {}

    def labels(self, *labelvalues: Any, **labelkwargs: Any) -> Self:
        if labelkwargs:
            return super().labels(*labelvalues, **labelkwargs)
        found = self._quick.get(labelvalues)
        if found is None:
            found = self._quick[labelvalues] = super().labels(*labelvalues)
        return found


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        _ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return _QuickCounter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def lag(name: str, text: str, *labels: str) -> WeightedHistogram:
            histogram = WeightedHistogram(name, text, labels, LAG_BUCKETS_SECONDS)
            registry.register(histogram)
            return histogram

        self.received_items = counter(
            "bridge_receiver_received_items",
            "Items in requests that could be read: accepted + rejected + refused after reading.",
            "signal",
            "transport",
        )
        self.accepted_items = counter(
            "bridge_receiver_accepted_items", "Items that are durable in the log.", "signal", "transport"
        )
        self.rejected_items = counter(
            "bridge_receiver_rejected_items", "Items refused for good, told in partial_success.", "signal", "reason"
        )
        self.refused_items = counter(
            "bridge_receiver_refused_items",
            "Items of requests refused after reading; may be sent again.",
            "signal",
            "reason",
        )
        self.requests = counter(
            "bridge_receiver_requests",
            "Requests by outcome: ok, partial, or the reason of refusal.",
            "signal",
            "transport",
            "outcome",
        )
        self.quota_refused_items = counter(
            "bridge_quota_refused_items", "Items refused because their organisation is over its quota.", "org", "signal"
        )
        self.quota_limit = gauge(
            "bridge_quota_limit_per_second", "The quota of an organisation that has sent lately.", "org", "of"
        )
        self.quota_available_ratio = gauge(
            "bridge_quota_available_ratio",
            "What is left of its burst, from 0 to 1; the scarcer of bytes and items.",
            "org",
        )
        self.handshake_failures = counter(
            "bridge_receiver_tls_handshake_failures", "TLS connections that failed, HTTP listener.", "reason"
        )
        self.request_seconds = Histogram(
            "bridge_receiver_request_seconds",
            "From the body being read to the answer.",
            ("signal", "transport"),
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
        )
        self.in_flight_bytes = gauge("bridge_receiver_in_flight_bytes", "Bytes of requests held now.")
        self.in_flight_limit_bytes = gauge("bridge_receiver_in_flight_limit_bytes", "receive.max_in_flight_bytes.")
        self.redacted_values = counter("bridge_enrich_redacted_values", "Attribute values dropped or hashed.", "signal")
        self.catalog_reloads = gauge("bridge_catalog_reloads", "Times the catalog file was read anew.")
        self.catalog_failures = gauge("bridge_catalog_failures", "Times it was broken and the last good one was kept.")
        self.appended_records = counter("bridge_log_appended_records", "Records made durable.", "topic")
        self.appended_bytes = counter("bridge_log_appended_bytes", "Bytes of record values made durable.", "topic")
        self.log_size_bytes = gauge("bridge_log_size_bytes", "Size of the embedded log on disk.")
        self.log_limit_bytes = gauge("bridge_log_limit_bytes", "log.max_bytes.")
        self.log_damaged_bytes = gauge("bridge_log_damaged_bytes", "Bytes of the embedded log that could not be read.")
        self.lag_records = gauge("bridge_log_lag_records", "Records not yet delivered.", "topic", "partition")
        self.oldest_seconds = gauge(
            "bridge_log_oldest_unwritten_seconds", "Age of the oldest record not yet delivered.", "topic", "partition"
        )
        self.complete_until = gauge(
            "bridge_complete_until_timestamp_seconds",
            "Unix time; whatever this organisation's items were received before it are in the store (this process's"
            " partitions).",
            "org",
            "signal",
        )
        self.ledger_items = counter(
            "bridge_ledger_items",
            "Items by what became of them: received, refused, rejected, appended, written, dead_lettered.",
            "org",
            "signal",
            "fate",
        )
        self.sent_items = counter("bridge_sink_sent_items", "Items durably written.", "sink", "signal")
        self.send_failures = counter(
            "bridge_sink_send_failures", "Inserts that failed, by reason.", "sink", "signal", "reason"
        )
        self.blocked = gauge(
            "bridge_deliver_blocked",
            "1 while the store refuses a batch for good and the partition waits.",
            "topic",
            "partition",
        )
        self.dead_letters = counter(
            "bridge_deliver_dead_letters", "Items set aside as dead letters, by reason.", "signal", "reason"
        )
        self.lost_records = counter(
            "bridge_log_lost_records",
            "Records that the cluster's retention removed before they were delivered.",
            "topic",
            "partition",
        )
        self.replayed_batches = counter(
            "bridge_deliver_replayed_batches", "Intended ranges written again after a restart or a rebalance.", "topic"
        )
        self.batch_rows = Histogram(
            "bridge_sink_batch_rows",
            "Rows of a batch.",
            ("signal",),
            registry=registry,
            buckets=(1, 10, 100, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000),
        )
        self.batch_bytes = Histogram(
            "bridge_sink_batch_bytes",
            "OTLP bytes of a batch.",
            ("signal",),
            registry=registry,
            buckets=(1 << 10, 16 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20),
        )
        self.insert_seconds = Histogram(
            "bridge_sink_insert_seconds",
            "One insert, successful or not.",
            ("sink", "signal"),
            registry=registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
        )
        self.ingestion_lag = lag(
            "clickstack_ingestion_lag_seconds", "From received to written, each item counted.", "signal"
        )
        self.event_lag = lag("bridge_event_lag_seconds", "From the item's own time to written.", "signal")
        self.shadow_left_out = counter(
            "bridge_shadow_left_out_items",
            "Items that the shadow leaves out because their time is too far from their receipt; each attempt counts.",
            "reason",
        )
        self.shadow_lag = lag(
            "bridge_shadow_lag_seconds", "From received to written in the shadow, each item counted.", "signal"
        )
        self.query_seconds = Histogram(
            "clickstack_query_duration_seconds",
            "Requests of the query API, from their head to the end of the answer. Outcome: a status or the error.",
            ("route", "outcome"),
            registry=registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
        )
        self.connection_errors = counter("telemetry_clickstack_connection_errors", "Failed connections to the store.")
        self.dual_questions = counter(
            "bridge_dual_questions",
            "Dual read: questions that a store was asked, as the one that answers (primary) or to compare (secondary).",
            "org",
            "store",
            "role",
        )
        self.dual_comparisons = counter("bridge_dual_comparisons", "Answers of both stores that were compared.", "org")
        self.dual_mismatches = counter(
            "bridge_dual_mismatches", "Differences: count, missing, extra, field, order.", "org", "kind"
        )
        self.dual_drift_ratio = gauge(
            "bridge_dual_drift_ratio", "Comparisons that found a difference, of those of drift_seconds.", "org"
        )
        self.dual_secondary_errors = counter(
            "bridge_dual_secondary_errors", "Questions that the second store has not answered.", "org", "reason"
        )
        self.dual_not_compared = counter(
            "bridge_dual_not_compared", "Answers that were drawn to be compared, and were not.", "org", "reason"
        )
        self.dual_switches = counter(
            "bridge_dual_switches",
            "Changes of a route seen: by an operator, or back by itself (errors, slow, unhealthy, drift).",
            "org",
            "trigger",
        )
        self.dual_primary = gauge(
            "bridge_dual_primary", "1 for the store that an organisation's route names.", "org", "store"
        )
        self.dual_store_answers = gauge("bridge_dual_store_answers", "1 while the store answers.", "store")
        self.dual_route_failures = counter(
            "bridge_dual_route_failures", "Times that the routes could not be read or written."
        )


class JsonFormatter(logging.Formatter):
    """One JSON object a line; fields given as `extra={"fields": {...}}` are merged in."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: Iterable[tuple[str, object]] = getattr(record, "fields", {}).items()
        tail = "".join(f" {name}={value}" for name, value in fields)
        return f"{self.formatTime(record)} {record.levelname:<7} {record.name}: {super().format(record)}{tail}"


def set_up_logging(level: str, style: str) -> None:
    """Log to standard error from here on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter("%(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # what these warn of is raised too, and told once by whoever handles it
    for name in ("urllib3", "clickhouse_connect", "opensearch"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
