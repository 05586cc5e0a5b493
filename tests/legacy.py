"""What a data plane's Fluent Bit has left in OpenSearch (contract 2.2): many plain documents of several organisations,
in daily indices that nobody made a template for."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from tests.opensearch_service import OpenSearchNode

LEVELS: Final = ("INFO", "INFO", "INFO", "WARN", "ERROR")
AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True)
class Past:
    """`documents` log lines, evenly over the `days` UTC days before today, of `orgs` organisations in turn."""

    documents: int
    days: int = 10
    orgs: int = 5
    today: date = field(default_factory=lambda: datetime.now(UTC).date())

    def day(self, number: int) -> date:
        return self.today - timedelta(days=self.days - number)

    @property
    def index_names(self) -> list[str]:
        return [f"kubernetes-{self.day(number):%Y.%m.%d}" for number in range(self.days)]

    def body(self, number: int) -> str:
        """Every line is another one, so that lines are their own names."""
        return f"{LEVELS[number % len(LEVELS)]} request {number} served"

    def lines(self, first: int, last: int) -> Iterator[str]:
        """Of a bulk request, for the documents `first` to `last` - 1."""
        a_day = self.documents // self.days
        for number in range(first, last):
            day, within = divmod(number, a_day)
            at = datetime.combine(self.day(day), datetime.min.time(), UTC) + timedelta(
                microseconds=within * 86_400_000_000 // a_day
            )
            org = number % self.orgs
            yield (
                f'{{"create":{{"_index":"{self.index_names[day]}"}}}}\n'
                f'{{"@timestamp":"{at:%Y-%m-%dT%H:%M:%S.%f}Z","log":"{self.body(number)}","stream":"stdout",'
                f'"kubernetes":{{"namespace_name":"dp-org{org}","pod_name":"api-{org}-0","pod_id":"pod-{org}",'
                f'"container_name":"main","labels":{{"organization-name":"org{org}","project-name":"shop",'
                f'"component-name":"api","environment-name":"dev","version":"v1","target":"runtime"}}}}}}\n'
            )


def fill(node: OpenSearchNode, past: Past) -> None:
    """Return when all of it is there and visible: 31,000 documents a second on two cores."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=120)
    settings = {"number_of_replicas": 0, "refresh_interval": "-1", "translog.durability": "async"}
    for name in past.index_names:
        call(connection, "PUT", f"/{name}", json.dumps({"settings": settings}).encode())
    for first in range(0, past.documents, AT_ONCE):
        body = "".join(past.lines(first, min(first + AT_ONCE, past.documents))).encode()
        answer = call(connection, "POST", "/_bulk?filter_path=errors", body, "application/x-ndjson")
        assert answer == {"errors": False}, answer
    call(connection, "POST", "/kubernetes-*/_refresh")
    connection.close()


def call(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", kind: str = "application/json"
) -> Any:
    """The answer's JSON. Raises `AssertionError` for an error."""
    connection.request(method, path, body or None, {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 300, (answer.status, text[:500])
    return json.loads(text)
