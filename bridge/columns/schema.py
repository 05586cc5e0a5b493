"""The Arrow schemas of a batch: one row an item. HyperDX's writable columns (field notes 2.1 and 2.2) and the tenant's.

ClickHouse takes dictionaries into LowCardinality, timestamp[ns] into DateTime64(9), maps into Map, lists of maps into
Array(Map). MATERIALIZED and ALIAS columns are the server's and not here.
"""

from typing import Final

import pyarrow as pa

TEXT: Final = pa.string()
NAME: Final = pa.dictionary(pa.int32(), pa.string())
TIME: Final = pa.timestamp("ns", "UTC")
RECEIVED: Final = pa.timestamp("ms", "UTC")
# Dictionaries inside maps, too: ClickHouse takes them into Map(LowCardinality(String), String), and a batch is less
# than half as large in memory and on the wire. Their values must be distinct, or it refuses them.
ATTRIBUTES: Final = pa.map_(NAME, NAME)

# column: the resource attribute it is taken from; the enricher has written exactly one of each, or none
TENANT: Final = {
    "OrgId": "organization.id",
    "ProjectId": "project.id",
    "ComponentId": "component.id",
    "EnvironmentId": "environment.id",
    "DataPlaneId": "data_plane.id",
}
_TENANT_FIELDS: Final = [(name, NAME) for name in TENANT]

SPANS: Final = pa.schema(
    [
        ("Timestamp", TIME),
        ("TraceId", TEXT),
        ("SpanId", TEXT),
        ("ParentSpanId", TEXT),
        ("TraceState", TEXT),
        ("SpanName", NAME),
        ("SpanKind", NAME),
        ("ServiceName", NAME),
        ("ResourceAttributes", ATTRIBUTES),
        ("ScopeName", TEXT),
        ("ScopeVersion", TEXT),
        ("SpanAttributes", ATTRIBUTES),
        ("Duration", pa.uint64()),
        ("StatusCode", NAME),
        ("StatusMessage", TEXT),
        ("Events.Timestamp", pa.list_(TIME)),
        ("Events.Name", pa.list_(TEXT)),
        ("Events.Attributes", pa.list_(ATTRIBUTES)),
        ("Links.TraceId", pa.list_(TEXT)),
        ("Links.SpanId", pa.list_(TEXT)),
        ("Links.TraceState", pa.list_(TEXT)),
        ("Links.Attributes", pa.list_(ATTRIBUTES)),
        *_TENANT_FIELDS,
        ("ReceivedAt", RECEIVED),
    ]
)

LOGS: Final = pa.schema(
    [
        ("Timestamp", TIME),
        ("TraceId", TEXT),
        ("SpanId", TEXT),
        ("TraceFlags", pa.uint8()),
        ("SeverityText", NAME),
        ("SeverityNumber", pa.uint8()),
        ("ServiceName", NAME),
        ("Body", TEXT),
        ("ResourceSchemaUrl", NAME),
        ("ResourceAttributes", ATTRIBUTES),
        ("ScopeSchemaUrl", NAME),
        ("ScopeName", TEXT),
        ("ScopeVersion", NAME),
        ("ScopeAttributes", ATTRIBUTES),
        ("LogAttributes", ATTRIBUTES),
        ("EventName", TEXT),
        *_TENANT_FIELDS,
        ("ReceivedAt", RECEIVED),
    ]
)
