"""The statements of a read, asked straight to the store: how long they take alone, and what the server counts."""

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from bench.query_data import END, START
from query_api.asking import Question
from query_api.clickhouse import ClickHouseStorage, ReadLimits
from query_api.gotime import parse_time
from query_api.storage import LogQuery, SpanQuery, TraceQuery, TraceSpansQuery
from query_api.tenant import Tenant

FIRST: Final = parse_time(START.replace(" ", "T") + "Z")
LAST: Final = parse_time(END.replace(" ", "T") + "Z")


@dataclass(frozen=True, slots=True)
class Floor:
    """Of one request: the time of its statements, one after the other, and the rows they read."""

    seconds: float
    rows_read: int


class Counting:
    """An `Asker` that counts what the server says it has read."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seconds, self.rows_read = 0.0, 0

    async def rows(self, question: Question) -> list[list[Any]]:
        """As `Asker.rows`."""
        settings = {**question.settings(), "wait_end_of_query": 1, "use_query_condition_cache": 0}
        started = time.perf_counter()
        found = self._client.query(question.sql, parameters=dict(question.parameters), settings=settings)
        rows = [list(row) for row in found.result_rows]
        self.seconds += time.perf_counter() - started
        self.rows_read += int(found.summary["read_rows"])
        return rows

    async def blocks(self, question: Question) -> AsyncGenerator[list[list[Any]], None]:
        """As `Asker.blocks`."""
        yield await self.rows(question)


async def floor_of(client: Client, database: str, read: str, target: Mapping[str, str]) -> Floor:
    """What the read of `routes.calls` of that name costs without the API."""
    counting = Counting(client)
    storage = ClickHouseStorage(counting, database, ReadLimits())
    org, project, component = target["org"], target["project"], target["component"]
    tenant = Tenant.of(org)
    logs: dict[str, Any] = {"start_unix_nano": FIRST, "end_unix_nano": LAST}
    here: dict[str, Any] = {
        "organization": org,
        "project": project,
        "components": (component,),
        "environment": target["environment"],
    }
    if read == "component logs":
        await storage.logs(tenant, LogQuery(**logs, **here))
    elif read == "component logs, phrase and level":
        await storage.logs(tenant, LogQuery(**logs, **here, phrase=target["phrase"], levels=("ERROR", "FATAL")))
    elif read == "component logs, only named":
        await storage.logs(tenant, LogQuery(**logs, components=(component,), environment=target["environment"]))
    elif read == "project logs":
        await storage.logs(tenant, LogQuery(**logs, organization=org, project=project))
    elif read == "organisation logs":
        await storage.logs(tenant, LogQuery(**logs, organization=org))
    elif read.startswith("trace by id"):
        named = "" if "no organisation" in read else org
        await storage.trace(tenant, TraceSpansQuery(target["trace"], named))
    elif read == "traces of a component":
        await storage.traces(tenant, TraceQuery(FIRST, LAST, org, project, component))
    elif read == "spans of a service":
        await storage.spans(tenant, SpanQuery(FIRST, LAST, target["service"]))
    elif read == "places":
        await storage.places(tenant)
    else:
        month = (FIRST, FIRST + 31 * 86_400 * 10**9)
        await storage.usage(tenant, *month)
    return Floor(counting.seconds, counting.rows_read)
