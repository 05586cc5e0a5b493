-- Which rows of otel_traces: the places the tenant may read come first and are always there.
WHERE OrgId IN {orgs:Array(String)}
  AND OrgId = {org:String}                                                                             --if org
  AND ProjectId = {project:String}                                                                     --if project
  AND ComponentId = {component:String}                                                                 --if component
  AND (OrgId, ProjectId) IN {projects:Array(Tuple(String, String))}                                    --if projects
  AND (OrgId, ProjectId, ComponentId) IN {components:Array(Tuple(String, String, String))}             --if components
  AND (OrgId, EnvironmentId) IN {environments:Array(Tuple(String, String))}                            --if environments
  AND ServiceName = {service:String}                                                                   --if service
  AND TraceId = {trace_id:String}                                                                      --if trace_id
  AND SpanId = {span_id:String}                                                                        --if span_id
  AND Timestamp >= fromUnixTimestamp64Nano({start:Int64})                                              --if start
  AND Timestamp <= fromUnixTimestamp64Nano({end:Int64})                                                --if end
  AND (Timestamp BETWEEN (SELECT min(Start) FROM $database.otel_traces_trace_id_ts WHERE OrgId IN {orgs:Array(String)} AND TraceId = {trace_id:String}) --if trace_id
      AND (SELECT max(End) FROM $database.otel_traces_trace_id_ts WHERE OrgId IN {orgs:Array(String)} AND TraceId = {trace_id:String})) --if trace_id
