-- By signal: until when everything received is stored, the least over the partitions that were heard of in a day.
SELECT signal, toUnixTimestamp64Nano(toDateTime64(min(until), 9))
FROM (
    SELECT signal, partition, max(complete_until) AS until
    FROM $database.ingest_ledger
    WHERE minute >= now() - INTERVAL 1 DAY AND org = '' AND partition >= 0
    GROUP BY signal, partition
)
GROUP BY signal
