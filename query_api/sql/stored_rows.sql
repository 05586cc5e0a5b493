-- Rows of the day partitions of a month, all tenants together: what a share is a share of.
SELECT table, sum(rows)
FROM system.parts
WHERE active AND database = {database:String} AND table IN ('otel_logs', 'otel_traces')
  AND toDateOrZero(partition) >= toDate(fromUnixTimestamp64Nano({start:Int64}))
  AND toDateOrZero(partition) < toDate(fromUnixTimestamp64Nano({end:Int64}))
GROUP BY table
