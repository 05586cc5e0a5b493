-- Which rows of otel_traces: the places the tenant may read come first and are always there.
--include _place_filter
  AND ServiceName = {service:String}                                                                   --if service
  AND TraceId = {trace_id:String}                                                                      --if trace_id
  AND SpanId = {span_id:String}                                                                        --if span_id
  AND Timestamp >= fromUnixTimestamp64Nano({start:Int64})                                              --if start
  AND Timestamp <= fromUnixTimestamp64Nano({end:Int64})                                                --if end
  AND (Timestamp BETWEEN (SELECT min(Start) FROM $database.otel_traces_trace_id_ts WHERE OrgId IN {orgs:Array(String)} AND TraceId = {trace_id:String}) --if trace_id
      AND (SELECT max(End) FROM $database.otel_traces_trace_id_ts WHERE OrgId IN {orgs:Array(String)} AND TraceId = {trace_id:String})) --if trace_id
