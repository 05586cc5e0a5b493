"""One question to OpenSearch: a whole answer or an error, never a part of one as if it were all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from bridge.opensearch import Json, NotReached, OpenSearch, OpenSearchError, Refused
from query_api.asking import TOO_SLOW
from query_api.errors import AnswerTooLarge, InvalidRequest, QueryError, QueryTimeout, StoreFailed, StoreUnavailable

# What a call may take longer than the store is told.
SPARE_SECONDS: Final = 1.0
PING_SECONDS: Final = 1.5
KEEP_ALIVE: Final = "1m"
MAX_PATH_CHARACTERS: Final = 3_000
_WHOLE: Final = {"allow_partial_search_results": "false"}
_ANY_INDEX: Final = {"ignore_unavailable": "true", "allow_no_indices": "true"}


class Asker:
    """Safe to use from several tasks. Raises the errors of `error_of`."""

    def __init__(self, client: OpenSearch) -> None:
        self._client = client

    async def search(self, indices: str, body: Json, timeout_seconds: float) -> Json:
        """The answer of a search; of a point in time if the body names one."""
        if timeout_seconds <= 0:
            raise QueryTimeout(TOO_SLOW)
        if len(indices) > MAX_PATH_CHARACTERS:
            raise AnswerTooLarge("the time range has too many days")
        is_pit = "pit" in body
        path, params = ("/_search", _WHOLE) if is_pit else (f"/{indices}/_search", {**_ANY_INDEX, **_WHOLE})
        asked = {**body, "timeout": f"{max(1, round(timeout_seconds * 1000))}ms"}
        answer = await self.call("POST", path, asked, params, timeout_seconds + SPARE_SECONDS)
        if answer.get("timed_out"):
            raise QueryTimeout(TOO_SLOW)
        if answer.get("_shards", {}).get("failed"):
            raise StoreUnavailable("the store cannot answer whole now", reason="shards")
        return answer

    async def call(
        self, method: str, path: str, body: Json | None, params: dict[str, str], timeout_seconds: float
    ) -> Json:
        """The answer of any call."""
        try:
            return await self._client.call(method, path, body, params=params, timeout_seconds=timeout_seconds)
        except OpenSearchError as error:
            raise error_of(error) from error
        except TypeError as error:  # orjson: half of a surrogate pair, which JSON can say and UTF-8 cannot
            raise InvalidRequest("texts must be valid Unicode") from error

    @asynccontextmanager
    async def point_in_time(self, indices: str, timeout_seconds: float) -> AsyncIterator[dict[str, Any] | None]:
        """The `pit` of bodies, given back when the block is left, however that is; None: there is no index."""
        path, params = (
            f"/{indices}/_search/point_in_time",
            {"keep_alive": KEEP_ALIVE, "ignore_unavailable": "true", "allow_no_indices": "false"},
        )
        try:
            made = await self._client.call("POST", path, None, params=params, timeout_seconds=timeout_seconds)
        except Refused as error:
            if error.status != 404:
                raise error_of(error) from error
            made = {}
        except OpenSearchError as error:
            raise error_of(error) from error
        if not made.get("pit_id"):
            yield None
            return
        try:
            yield {"id": made["pit_id"], "keep_alive": KEEP_ALIVE}
        finally:
            with suppress(OpenSearchError):  # the store forgets it by itself
                given = {"pit_id": [made["pit_id"]]}
                await self._client.call("DELETE", "/_search/point_in_time", given, timeout_seconds=SPARE_SECONDS)

    async def ping(self, indices: str) -> None:
        """Return if the cluster answers and every primary shard of these is there, whatever else it holds. Raises
        `StoreUnavailable`."""
        try:
            health = await self.call("GET", f"/_cluster/health/{indices}", None, {}, PING_SECONDS)
        except QueryTimeout as error:
            raise StoreUnavailable("the store does not answer", reason="connection") from error
        if health.get("status") == "red" or health.get("timed_out"):
            raise StoreUnavailable("the store has lost shards", reason="shards")


def error_of(error: OpenSearchError) -> QueryError:
    """What a failed call means for its caller."""
    if isinstance(error, NotReached):
        return _lost(error)
    if not isinstance(error, Refused):
        return StoreFailed(str(error)[:500])
    text = f"{error.kind} {error.reason}".lower()
    if "too_many" in text or "too many clauses" in text or "maxclausecount" in text or error.status == 413:
        return AnswerTooLarge("too many places or values: name an organisation, a project or a component")
    if error.status in (408, 504) or "time exceeded" in text or "task_cancelled" in text:
        return QueryTimeout(TOO_SLOW)
    if error.status in (401, 403):
        return StoreUnavailable("the store cannot answer now", reason="rights")
    if error.is_temporary:
        return StoreUnavailable("the store cannot answer now", reason="overloaded" if error.status == 429 else "store")
    return StoreFailed(f"opensearch error {error}"[:500])


def _lost(error: NotReached) -> QueryError:
    if error.is_timeout:
        return QueryTimeout(TOO_SLOW)
    return StoreUnavailable("the store cannot be reached now", reason="connection")
