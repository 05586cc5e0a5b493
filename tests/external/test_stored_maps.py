"""What ClickHouse stores of slices of a table with dictionaries inside maps equals the table."""

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.columns import to_table
from bridge.model import Batch, Record, Signal
from tests import oracle
from tests.clickhouse import opened_clickhouse, server_settings
from tests.contracts.sink_contract import write
from tests.services import ClickHouseServer, start_clickhouse

pytestmark = pytest.mark.external
WORDS = ["", "a", "b", "é", "\x00", "key", "a" * 300]


def fill(rng: random.Random, attributes: Any, most: int) -> None:
    """So many attributes at the most, of every kind, with keys that come twice."""
    for _ in range(rng.randint(0, most)):
        value = attributes.add(key=rng.choice(WORDS)).value
        match rng.randint(0, 6):
            case 0:
                value.string_value = rng.choice(WORDS)
            case 1:
                value.int_value = rng.randint(-5, 5)
            case 2:
                value.double_value = rng.choice([0.0, -0.0, float("nan"), 1.5])
            case 3:
                value.bool_value = rng.random() < 0.5
            case 4:
                value.bytes_value = rng.randbytes(3)
            case 5:
                value.array_value.values.add().string_value = "x"


def request(rng: random.Random, spans: int, start: int, *, many: bool) -> bytes:
    """`many`: an attribute on every span whose key and value no other has."""
    made = ExportTraceServiceRequest()
    entry = made.resource_spans.add()
    fill(rng, entry.resource.attributes, 4)
    for name in ("organization.id", "project.id"):
        entry.resource.attributes.add(key=name).value.string_value = "o"
    scope = entry.scope_spans.add()
    for number in range(start, start + spans):
        span = scope.spans.add(
            trace_id=bytes(15) + b"\x01", span_id=number.to_bytes(8, "big"), start_time_unix_nano=1_700_000_000 * 10**9
        )
        fill(rng, span.attributes, 5)
        if many:
            span.attributes.add(key=f"k{number}").value.string_value = f"v{number}"
        for _ in range(rng.randint(0, 2)):
            fill(rng, span.events.add(name=rng.choice(WORDS), time_unix_nano=5).attributes, 3)
        for _ in range(rng.randint(0, 2)):
            fill(rng, span.links.add(trace_id=bytes(15) + b"\x02").attributes, 3)
    return made.SerializeToString()


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseServer]:
    with start_clickhouse() as one:
        yield one


@pytest.mark.parametrize("many", [False, True])
async def test_the_store_holds_what_slices_of_a_table_hold(server: ClickHouseServer, many: bool) -> None:
    """Empty maps, keys and texts, keys twice, more distinct values than fit 16 bits: as the oracle has them."""
    rng = random.Random(7)
    size = 40_000 if many else 40
    batch = [
        Record(Signal.TRACES, "o", "p", 1_700_000_000_000_000_000, size, request(rng, size, 1 + i * size, many=many))
        for i in range(2)
    ]
    table = to_table(Signal.TRACES, batch)
    table.validate(full=True)
    wanted = {row["SpanId"]: row for row in oracle.rows(Signal.TRACES, batch)}
    cuts = [0, 1, 2, 3, 7, 39, 40, 41, 79, 80] if not many else [0, 1, 40_000, 79_999, 80_000]
    columns = [
        "SpanId",
        "ResourceAttributes",
        "SpanAttributes",
        "Events.Attributes",
        "Links.Attributes",
        "Events.Name",
        "SpanName",
        "OrgId",
    ]
    async with opened_clickhouse(server_settings(server.http_port)) as opened:
        for a, b in pairwise(cuts):
            piece = table.slice(a, b - a)
            await write(opened, Batch(Signal.TRACES, f"t:{a}-{b}", piece))
        rows = opened.connection.rows(
            f"SELECT {', '.join(f'`{c}`' for c in columns)} FROM {opened.database}.otel_traces"
        )
        assert len(rows) == len(wanted)
        for row in rows:
            want = wanted[row[0]]
            for name, got in zip(columns, row, strict=True):
                exp = want[name]
                if name.endswith("Attributes"):
                    exp = [dict(m) for m in exp] if name.startswith(("Events", "Links")) else dict(exp)
                assert got == exp, (name, got, exp)
