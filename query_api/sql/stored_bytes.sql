-- What the day partitions of a month take on disk, bodies apart: all tenants together, in numbers only.
SELECT table, column = 'Body' AS is_body, sum(column_data_compressed_bytes), sum(column_data_uncompressed_bytes)
FROM system.parts_columns
WHERE active AND database = {database:String} AND table IN ('otel_logs', 'otel_traces')
  AND toDateOrZero(partition) >= toDate(fromUnixTimestamp64Nano({start:Int64}))
  AND toDateOrZero(partition) < toDate(fromUnixTimestamp64Nano({end:Int64}))
GROUP BY table, is_body
