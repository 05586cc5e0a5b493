"""A batch on its way to OpenSearch: made into documents a few at a time."""

import tracemalloc

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bridge.columns import to_table
from bridge.documents import Family, layout_of
from bridge.model import Batch, Record, Signal
from bridge.opensearch import OpenSearchSettings, open_opensearch
from sinks.opensearch import Bulks, OpenSearchSink, OpenSearchSinkSettings

MIB = 1 << 20


async def test_documents_of_a_batch_are_never_all_there() -> None:
    """A large resource stands in each of its documents, with its labels: 160 MiB of them come out of 1 MiB of OTLP."""
    request = ExportLogsServiceRequest()
    entry = request.resource_logs.add()
    entry.resource.attributes.add(key="k8s.pod.label.x").value.string_value = "x" * 170_000
    scope = entry.scope_logs.add()
    for number in range(500):
        scope.log_records.add(time_unix_nano=number).body.string_value = "y" * 1_000
    table = to_table(Signal.LOGS, [Record(Signal.LOGS, "o", "p", 1, 500, request.SerializeToString())])
    settings = OpenSearchSinkSettings(OpenSearchSettings(("http://127.0.0.1:1",)), layout_of(Family.A))
    async with open_opensearch(settings.client) as client:
        tracemalloc.start()
        try:
            body: Bulks = OpenSearchSink(settings, client, None).encode(Batch(Signal.LOGS, "token", table)).body
            made_bytes = sum(sum(map(len, lines)) for lines in body.bodies)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert made_bytes > 150 * MIB
    assert peak_bytes < 40 * MIB
