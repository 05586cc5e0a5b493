-- Spans of a month by place: how many; their bytes are those of the names and ids, which need no map to be read.
SELECT OrgId, ProjectId, ComponentId, count(), sum(byteSize(TraceId, SpanId, ParentSpanId, SpanName, StatusMessage))
FROM $database.otel_traces
WHERE (OrgId IN {orgs:Array(String)} OR {is_unbound:Bool})
  AND Timestamp >= fromUnixTimestamp64Nano({start:Int64}) AND Timestamp < fromUnixTimestamp64Nano({end:Int64})
GROUP BY OrgId, ProjectId, ComponentId
