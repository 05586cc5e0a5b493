-- Which rows of otel_logs: the places the tenant may read come first and are always there. Times are said twice: as the
-- key has Timestamp in it a second time, further back, ClickHouse does not work out the five minutes by itself.
--include _place_filter
  AND toStartOfFiveMinutes(Timestamp) >= toDateTime({start_bucket_seconds:UInt32})                     --if start
  AND toStartOfFiveMinutes(Timestamp) <= toDateTime({end_bucket_seconds:UInt32})                       --if end
  AND Timestamp >= fromUnixTimestamp64Nano({start:Int64})                                              --if start
  AND Timestamp <= fromUnixTimestamp64Nano({end:Int64})                                                --if end
  AND Level IN {levels:Array(String)}                                                                  --if levels
  AND hasAllTokens(lower(Body), {tokens:Array(String)})                                                --if tokens
  AND positionCaseInsensitive(Body, {phrase:String}) > 0                                               --if ascii_phrase
  AND positionCaseInsensitiveUTF8(Body, {phrase:String}) > 0                                           --if wide_phrase
  AND $namespace = {namespace:String}                                                                  --if namespace
  AND ($version IN {versions:Array(String)} OR $version_id IN {version_ids:Array(String)})             --if any_version
  AND lower($target) = 'build'                                                                         --if is_build
  AND $build_id = {build_id:String}                                                                    --if build_id
  AND $build_uuid = {build_uuid:String}                                                                --if build_uuid
  AND arrayAll(label -> arrayExists(prefix -> mapContains(ResourceAttributes, prefix || label.1)       --if labels
      AND ResourceAttributes[prefix || label.1] = label.2, [$label_prefixes]), {labels:Array(Tuple(String, String))}) --if labels
  AND ($vhost IN {vhosts:Array(String)} OR multiSearchAny(Body, {vhost_texts:Array(String)}))          --if vhosts
  AND (arrayExists(api -> $api_id = api.1 AND api.2 IN ('', $api_version), {apis:Array(Tuple(String, String))}) --if apis
      OR multiSearchAny(Body, {api_texts:Array(String)}))                                              --if apis
