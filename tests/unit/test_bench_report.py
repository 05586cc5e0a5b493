"""What a bench run says: medians of rounds, ratios to the right peer, the README's table, two runs side by side."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from bench import compare, headline
from bench.report import Measured, markdown
from bench.result import Result, peer_of, ratios_of, together

OURS = Result("headrace", "receive", "traces", "grpc", 100, 1000.0, 3.0, 80 << 20, 40 << 20, 0)
PEER = replace(OURS, system="otelcol", cpu_us_per_item=4.0, items_per_second=500.0, peak_rss_bytes=160 << 20)
QUICK = replace(PEER, variant="defaults", cpu_us_per_item=2.0, is_durable=False)
OTHER = replace(PEER, items_per_request=1000, cpu_us_per_item=1.0)


def test_rounds_are_medians_and_what_must_not_happen_is_summed() -> None:
    """One bad round moves no rate, and no loss is averaged away."""
    rounds = [replace(OURS, cpu_us_per_item=cpu, lost=lost) for cpu, lost in ((3.0, 0), (9.0, 5), (3.2, 0))]
    found = together([*rounds[:2], replace(rounds[2], peak_rss_bytes=99 << 20, oom_kills=1)])
    assert (found.cpu_us_per_item, found.lost, found.oom_kills, found.rounds) == (3.2, 5, 1, 3)
    assert found.peak_rss_bytes == 99 << 20


def test_a_ratio_is_to_the_peer_of_the_same_load_and_promise() -> None:
    """Durable beside durable; the cheapest of all is told apart; other loads never."""
    results = [OURS, PEER, QUICK, OTHER]
    assert peer_of(OURS, results, is_durable=True) is PEER
    assert peer_of(OURS, results, is_durable=False) is QUICK
    assert ratios_of(OURS, results)["cpu_to_durable_peer"] == 0.75
    assert ratios_of(OURS, results)["cpu_to_cheapest_peer"] == 1.5
    assert ratios_of(OURS, results)["rate_to_durable_peer"] == 2.0
    assert ratios_of(PEER, results) == {}


def test_the_report_has_a_row_for_every_result() -> None:
    """With its ratio, and the peers' names."""
    text = markdown(Measured([OURS, PEER, QUICK], [], []), "a machine.", ["a note"])
    assert "| headrace | traces | grpc | 100 | 1,000 | 3.00 | 0.75 / 1.50 |" in text
    assert "| otelcol defaults (not durable) |" in text
    assert "- a note" in text


def test_the_readme_gets_the_table_between_its_marks() -> None:
    """Everything else of it stays; a README without marks is an error and not half written."""
    before = f"above\n{headline.BEGIN}\nold\n{headline.END}\nbelow\n"
    after = headline.put_into(before, headline.headline([OURS, PEER]))
    assert "old" not in after
    assert after.startswith("above\n")
    assert after.endswith("\nbelow\n")
    assert "| OTLP/gRPC -> Kafka, spans, 100 a request | **3.00** | 4.00 | 0.75 |" in after
    with pytest.raises(ValueError, match="headline"):
        headline.put_into("nothing here", "table")


def test_two_runs_are_compared_by_their_ratios() -> None:
    """Not by their figures: a machine twice as slow agrees with itself."""

    def report(factor: float, ours: float) -> dict[str, Any]:
        rows = [replace(OURS, cpu_us_per_item=ours * factor), replace(PEER, cpu_us_per_item=4.0 * factor)]
        return {"results": [{**asdict(each), "ratios": ratios_of(each, rows)} for each in rows]}

    assert compare.lines(report(1, 3.0), report(2, 3.0))[-1] == "1 ratios: median difference 0%, largest 0%"
    assert compare.lines(report(1, 3.0), report(2, 3.6))[-1] == "1 ratios: median difference 20%, largest 20%"
    assert compare.lines(report(1, 3.0), {"results": []})[-1] == "no ratio is in both"
