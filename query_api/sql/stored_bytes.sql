-- What bodies take in the day partitions of a month, all tenants together, in numbers only. Parts that are small keep
-- their columns in one file and do not say it of one column.
SELECT table, sum(column_data_compressed_bytes), sum(column_data_uncompressed_bytes)
FROM system.parts_columns
WHERE active AND database = {database:String} AND table IN ('otel_logs', 'otel_traces') AND column = 'Body'
  AND part_type = 'Wide'
  AND toDateOrZero(partition) >= toDate(fromUnixTimestamp64Nano({start:Int64}))
  AND toDateOrZero(partition) < toDate(fromUnixTimestamp64Nano({end:Int64}))
GROUP BY table
