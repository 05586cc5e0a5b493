-- Log records of a month by place: how many, and how long.
SELECT OrgId, ProjectId, ComponentId, count(), sum(lengthUTF8(Body)), sum(length(Body))
FROM $database.otel_logs
WHERE (OrgId IN {orgs:Array(String)} OR {is_unbound:Bool})
  AND Timestamp >= fromUnixTimestamp64Nano({start:Int64}) AND Timestamp < fromUnixTimestamp64Nano({end:Int64})
GROUP BY OrgId, ProjectId, ComponentId
