-- What questions took, by the organisation named in their log_comment (only our own queries have one).
SELECT JSONExtractString(log_comment, 'org') AS org, count(), sum(query_duration_ms) / 1000,
    sum(ProfileEvents['OSCPUVirtualTimeMicroseconds']) / 1e6, sum(read_bytes)
FROM system.query_log
WHERE type IN ('QueryFinish', 'ExceptionWhileProcessing') AND is_initial_query
  AND event_date >= toDate(fromUnixTimestamp64Nano({start:Int64})) AND event_date <= toDate(fromUnixTimestamp64Nano({end:Int64}))
  AND event_time >= fromUnixTimestamp64Nano({start:Int64}) AND event_time < fromUnixTimestamp64Nano({end:Int64})
  AND JSONExtractString(log_comment, 'by') = 'headrace'
  AND (org IN {orgs:Array(String)} OR {is_unbound:Bool})
GROUP BY org
ORDER BY org
