-- The day partitions of a month, all tenants together: rows, those of them in wide parts, and bytes on disk.
SELECT table, sum(rows), sumIf(rows, part_type = 'Wide'), sum(bytes_on_disk)
FROM system.parts
WHERE active AND database = {database:String} AND table IN ('otel_logs', 'otel_traces')
  AND toDateOrZero(partition) >= toDate(fromUnixTimestamp64Nano({start:Int64}))
  AND toDateOrZero(partition) < toDate(fromUnixTimestamp64Nano({end:Int64}))
GROUP BY table
