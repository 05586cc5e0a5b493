-- A page of log records. With one component the order is in the words of the sorting key, so that it is read from its
-- end and not whole; block and offset tell rows of one time apart and stay with a row through merges.
SELECT toUnixTimestamp64Nano(Timestamp), _block_number, _block_offset, Body, Level,
    OrgId, ProjectId, ComponentId, EnvironmentId, TraceId, SpanId, ResourceAttributes, LogAttributes
FROM $database.otel_logs
--include _log_filter
  AND (Timestamp, _block_number, _block_offset) < (fromUnixTimestamp64Nano({cursor_time:Int64}), {cursor_block:UInt64}, {cursor_offset:UInt64}) --if before
  AND (Timestamp, _block_number, _block_offset) > (fromUnixTimestamp64Nano({cursor_time:Int64}), {cursor_block:UInt64}, {cursor_offset:UInt64}) --if behind
ORDER BY
  toStartOfFiveMinutes(Timestamp) DESC, Timestamp DESC, _block_number DESC, _block_offset DESC         --if component_down
  toStartOfFiveMinutes(Timestamp), Timestamp, _block_number, _block_offset                             --if component_up
  Timestamp DESC, _block_number DESC, _block_offset DESC                                               --if down
  Timestamp, _block_number, _block_offset                                                              --if up
LIMIT {limit:UInt64}
