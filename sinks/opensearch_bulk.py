"""Bulk requests: documents cut by bytes, and each document's own fate.

A document is created under an `_id` of its own, so whatever is sent again is written once: "exists" is "written".
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import orjson

from bridge.errors import SinkUnavailable
from bridge.opensearch import Json, OpenSearch, OpenSearchError, Refused
from bridge.retry import backoff_seconds
from sinks.opensearch_codes import Fate, error_of, fate_of, refusal_of, unavailable
from sinks.opensearch_documents import Item

TRIES: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 2.0
TOO_LARGE: Final = 413
# nothing else of an answer is read, and it would be as large as the documents
FILTER: Final = "items.*.status,items.*._seq_no,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"


def line_of(item: Item) -> bytes:
    """The document as a bulk request has it: what to do, and the document."""
    action = orjson.dumps({"create": {"_index": item.index, "_id": item.id}})
    return b"%b\n%b\n" % (action, item.source)


def cut(lines: Iterable[bytes], max_bytes: int) -> Iterator[tuple[bytes, ...]]:
    """The lines as bodies of at most `max_bytes`; one that is larger goes alone."""
    body: list[bytes] = []
    size = 0
    for line in lines:
        if body and size + len(line) > max_bytes:
            yield tuple(body)
            body, size = [], 0
        body.append(line)
        size += len(line)
    if body:
        yield tuple(body)


class Bulk:
    """Sends. `is_refreshed`: what is written can be searched on return.

    `began` is called when a document was the first of a shard: its index is new, whoever has made it.
    """

    def __init__(
        self, client: OpenSearch, began: Callable[[], None], *, is_refreshed: bool, timeout_seconds: float
    ) -> None:
        """The nodes wait half of a request's time for missing shards, so that there is time to be told of them."""
        self._client, self._began, self._timeout_seconds = client, began, timeout_seconds
        self._params = {"filter_path": FILTER, "timeout": f"{max(1, round(timeout_seconds * 500))}ms"}
        self._params |= {"refresh": "true"} if is_refreshed else {}

    async def send(self, lines: Sequence[bytes]) -> list[str]:
        """Return when each document is written or refused for good; why, one text a refused document.

        What the nodes have no room for is tried again alone, `TRIES` times. Raises `SinkUnavailable`.
        """
        refused: list[str] = []
        for attempt in range(1, TRIES + 1):
            try:
                errors = await self._post(lines)
            except Refused as error:
                if error.status == TOO_LARGE:
                    return refused + await self._send_halves(lines)
                if not error.is_temporary:
                    raise error_of(error) from error
                trouble = error_of(error)
            except OpenSearchError as error:
                raise error_of(error) from error
            else:
                again, more, trouble_of_items = _sorted(lines, errors)
                refused += more
                if trouble_of_items is None:
                    return refused
                lines, trouble = again, trouble_of_items
            if attempt < TRIES:
                spread = random.random()  # noqa: S311 - jitter, not a secret
                await asyncio.sleep(backoff_seconds(attempt, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, spread))
        raise trouble

    async def _post(self, lines: Sequence[bytes]) -> list[dict[str, Any]]:
        # told both times: opensearch-py takes the nodes' `timeout` for its own where it is not given one
        body, timeout_seconds = b"".join(lines), self._timeout_seconds
        answer = await self._client.call("POST", "/_bulk", body, params=self._params, timeout_seconds=timeout_seconds)
        items = _items(answer, len(lines))
        if any(item.get("_seq_no") == 0 for item in items):
            self._began()
        return items

    async def _send_halves(self, lines: Sequence[bytes]) -> list[str]:
        if len(lines) == 1:
            return [f"document too large: the nodes take no request of {len(lines[0])} bytes"]
        half = len(lines) // 2
        return await self.send(lines[:half]) + await self.send(lines[half:])


def _items(answer: Json, count: int) -> list[dict[str, Any]]:
    """What became of each of `count` documents. Raises `SinkUnavailable` if the answer does not say it."""
    try:
        items = [item["create"] for item in answer["items"]]
        is_told = len(items) == count and all(
            int(item["status"]) and isinstance(item.get("error", {}), dict) for item in items
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        is_told = False
    if not is_told:
        raise SinkUnavailable(f"no answer of OpenSearch to {count} documents", reason="server_error")
    return items


def _sorted(
    lines: Sequence[bytes], items: Sequence[dict[str, Any]]
) -> tuple[list[bytes], list[str], SinkUnavailable | None]:
    """What to send again, why the refused were, and the trouble of the former. Raises `SinkUnavailable`."""
    again: list[bytes] = []
    refused: list[str] = []
    trouble: SinkUnavailable | None = None
    for line, item in zip(lines, items, strict=True):
        error = item.get("error") or {}
        told = int(item["status"]), str(error.get("type", "")), str(error.get("reason", ""))
        fate = fate_of(*told)
        if fate is Fate.WAITING:
            raise unavailable(*told)
        if fate is Fate.REFUSED:
            refused.append(refusal_of(error))
        elif fate is Fate.AGAIN:
            again.append(line)
            trouble = unavailable(*told)
    return again, refused, trouble
