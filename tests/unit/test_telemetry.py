"""Metrics that are our own, and the log's two styles."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from bridge.telemetry import JsonFormatter, Metrics, TextFormatter, WeightedHistogram

BUCKETS = (0.5, 1.0, 2.5)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 0.7, 1.0, 2.5, 3.0, -1.0]), st.integers(0, 4)), max_size=20))
def test_a_weighted_histogram_counts_as_the_plain_one_does(observed: list[tuple[float, int]]) -> None:
    """A batch with weights gives the samples that prometheus_client's own histogram gives one by one."""
    registry, plain_registry = CollectorRegistry(), CollectorRegistry()
    fast = WeightedHistogram("h", "text", ("signal",), BUCKETS)
    registry.register(fast)
    plain = Histogram("h", "text", ("signal",), registry=plain_registry, buckets=BUCKETS)
    values, weights = [value for value, _ in observed], [float(weight) for _, weight in observed]
    fast.observe(("traces",), np.array(values, np.float64), np.array(weights, np.float64))
    plain.labels("traces")
    for value, weight in observed:
        for _ in range(weight):
            plain.labels("traces").observe(value)
    for sample in ("h_count", "h_sum"):
        expected = plain_registry.get_sample_value(sample, {"signal": "traces"})
        assert registry.get_sample_value(sample, {"signal": "traces"}) == pytest.approx(expected)
    for bound in ("0.5", "1.0", "2.5", "+Inf"):
        ours = {"signal": "traces", "le": bound if bound == "+Inf" else f"{float(bound):g}"}
        assert registry.get_sample_value("h_bucket", ours) == plain_registry.get_sample_value(
            "h_bucket", {"signal": "traces", "le": bound}
        )


def test_two_bridges_do_not_share_metrics() -> None:
    """There is no global registry."""
    one, two = Metrics(), Metrics()
    one.received_items.labels("traces", "grpc").inc()
    labels = {"signal": "traces", "transport": "grpc"}
    assert one.registry.get_sample_value("bridge_receiver_received_items_total", labels) == 1
    assert two.registry.get_sample_value("bridge_receiver_received_items_total", labels) is None


def test_log_lines_carry_their_fields() -> None:
    """As text for people and as one JSON object for machines."""
    record = logging.LogRecord("bridge.x", logging.WARNING, "f", 1, "waiting: %s", ("why",), None)
    record.fields = {"attempt": 3}
    assert TextFormatter("%(message)s").format(record).endswith("WARNING bridge.x: waiting: why attempt=3")
    entry = json.loads(JsonFormatter().format(record))
    assert (entry["level"], entry["message"], entry["attempt"]) == ("warning", "waiting: why", 3)
