-- The traces that touch the places within the times; then each of them whole, as far as the tenant may read it. A trace
-- whose spans lie further than a day outside the times is told without those.
SELECT TraceId, count(), argMin((SpanId, SpanName, SpanKind, ServiceName), (ParentSpanId != '', Timestamp, SpanId)),
    toUnixTimestamp64Nano(min(Timestamp)),
    max(toUnixTimestamp64Nano(Timestamp) + toInt64(least(Duration, 4611686018427387904))),
    max(StatusCode = 'Error')
FROM $database.otel_traces
WHERE OrgId IN {orgs:Array(String)}
  AND Timestamp >= fromUnixTimestamp64Nano({start:Int64}) - INTERVAL 1 DAY
  AND Timestamp <= fromUnixTimestamp64Nano({end:Int64}) + INTERVAL 1 DAY
  AND TraceId IN (
    SELECT TraceId
    FROM $database.otel_traces
--include _span_filter
    AND TraceId != ''
    GROUP BY TraceId
    ORDER BY
      max(Timestamp) DESC, TraceId DESC                                                                --if down
      min(Timestamp), TraceId                                                                          --if up
    LIMIT {limit:UInt64}
  )
GROUP BY TraceId
ORDER BY
  min(Timestamp) DESC, TraceId DESC                                                                    --if down
  min(Timestamp), TraceId                                                                              --if up
