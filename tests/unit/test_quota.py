"""Token buckets: never more than the rate and a burst, hints that are true, and no way around them by a reload."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import QuotaExceeded
from bridge.quota import MAX_BUCKETS, Cost, Quotas
from enrichers.catalog import Quota, parse_catalog

QUOTA = Quota(bytes_per_second=100.0, items_per_second=10.0, burst_seconds=5.0)


def quotas_of(quota: Quota | None) -> Quotas:
    return Quotas(lambda _: quota)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 300), st.integers(1, 30)), max_size=60))
def test_no_more_passes_than_the_rate_and_one_burst(requests: list[tuple[float, int, int]]) -> None:
    """Whatever is asked for when, what has passed by a time is at most rate x time + burst (+ the last request)."""
    quotas, now, passed_bytes, passed_items = quotas_of(QUOTA), 0.0, 0, 0
    for pause, size_bytes, items in requests:
        now += pause
        try:
            quotas.take({"acme": Cost(size_bytes, items)}, now)
        except QuotaExceeded:
            continue
        passed_bytes, passed_items = passed_bytes + size_bytes, passed_items + items
        assert passed_bytes <= 100.0 * now + 500.0 + 1e-6
        assert passed_items <= 10.0 * now + 50.0 + 1e-6


@given(st.integers(1, 5000), st.integers(1, 500), st.integers(0, 500))
def test_the_hint_is_when_the_request_passes(size_bytes: int, items: int, used: int) -> None:
    """After the hinted time the same request is taken, and well before it is not."""
    quotas, cost = quotas_of(QUOTA), Cost(size_bytes, items)
    quotas.take({"acme": Cost(used, 1)}, 0.0)
    hint = refused(quotas, cost, 0.0)
    if hint:
        assert refused(quotas, cost, hint * 0.9 - 0.01)
        assert not refused(quotas, cost, hint)


def refused(quotas: Quotas, cost: Cost, now: float) -> float:
    """The hint of a refusal; 0 if the cost was taken."""
    try:
        quotas.take({"acme": cost}, now)
    except QuotaExceeded as error:
        return error.retry_after_seconds or 0.0
    return 0.0


def test_a_request_larger_than_the_burst_passes_when_the_bucket_is_full() -> None:
    """It goes into debt, which the next one waits out; it is not refused for ever."""
    quotas = quotas_of(QUOTA)
    quotas.take({"acme": Cost(2000, 1)}, 0.0)
    with pytest.raises(QuotaExceeded):
        quotas.check("acme", 14.9)
    quotas.check("acme", 15.1)


def test_one_organisation_over_its_quota_takes_nothing_from_the_others() -> None:
    """A request of several is taken whole or not at all."""
    quotas = quotas_of(QUOTA)
    quotas.take({"acme": Cost(500, 1)}, 0.0)
    with pytest.raises(QuotaExceeded, match="acme"):
        quotas.take({"globex": Cost(400, 1), "acme": Cost(1, 1)}, 0.0)
    quotas.take({"globex": Cost(500, 1)}, 0.0)


def test_what_the_log_refuses_costs_nothing() -> None:
    """Tokens are given back."""
    quotas, costs = quotas_of(QUOTA), {"acme": Cost(500, 50)}
    quotas.take(costs, 0.0)
    quotas.give_back(costs)
    quotas.take(costs, 0.0)


def test_a_reload_is_no_way_to_a_fresh_burst() -> None:
    """A changed rate applies at once; the bucket stays as empty as it was."""
    current = [QUOTA]
    quotas = Quotas(lambda _: current[0])
    quotas.take({"acme": Cost(500, 1)}, 0.0)
    current[0] = Quota(1000.0, 10.0, 5.0)
    with pytest.raises(QuotaExceeded):
        quotas.take({"acme": Cost(100, 1)}, 0.01)
    quotas.take({"acme": Cost(100, 1)}, 0.2)


def test_organisations_without_a_quota_take_no_memory() -> None:
    """No bucket is kept for them, and buckets that are full again go when there are many."""
    assert not quotas_of(None).buckets
    quotas = quotas_of(QUOTA)
    for number in range(MAX_BUCKETS + 10):
        quotas.take({f"org-{number}": Cost(0, 0)}, 0.0)
    assert len(quotas.buckets) <= MAX_BUCKETS


def test_quotas_are_read_from_the_catalog() -> None:
    """By canonical id; the default is for all others; an unlimited side stays so."""
    catalog = parse_catalog(
        '[default_quota]\nitems_per_second = 7\n[[organizations]]\nname = "acme"\nuid = "u1"\n'
        "quota = { bytes_per_second = 10, burst_seconds = 2 }\n"
    )
    assert catalog.quota_of("u1") == Quota(10.0, math.inf, 2.0)
    assert catalog.quota_of("other") == Quota(math.inf, 7.0, 5.0)
