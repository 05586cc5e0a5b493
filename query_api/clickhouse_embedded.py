"""Questions to the ClickHouse inside this process (chDB), in threads that each have a handle of their own.

Handles are read-only for good (`readonly = 2`: nothing can be written, while a question may bring its limits and its
tenant's filter). What is cancelled here goes on in its thread until its time is over.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
import orjson
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from query_api.asking import Question, error_of
from query_api.errors import AnswerTooLarge
from query_api.limits import take_answer_bytes

BLOCK_ROWS: Final = 2000
# of an answer that is taken whole because it cannot be streamed here
MAX_BLOCKS_BYTES: Final = 256 << 20

# settings are part of the text here
MAX_QUERY_BYTES: Final = 4 << 20


@asynccontextmanager
async def open_embedded(data_path: Path, threads: int) -> AsyncIterator["EmbeddedAsker"]:
    """An asker; handles are made when they are first needed and closed with the block."""
    with ThreadPoolExecutor(threads, thread_name_prefix="questions") as pool:
        asker = EmbeddedAsker(data_path, pool)
        try:
            yield asker
        finally:
            await asyncio.get_running_loop().run_in_executor(None, asker.close)


class EmbeddedAsker:
    """As `Asker`."""

    def __init__(self, data_path: Path, threads: ThreadPoolExecutor) -> None:
        self._data_path, self._threads = data_path, threads
        self._mine = threading.local()
        self._clients: list[Any] = []

    async def rows(self, question: Question) -> list[list[Any]]:
        """As `Asker.rows`."""
        body = await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)
        if 0 < question.max_result_bytes < len(body):
            raise AnswerTooLarge
        take_answer_bytes(len(body))
        return [orjson.loads(line) for line in body.splitlines()]

    async def blocks(self, question: Question) -> AsyncGenerator[list[list[Any]], None]:
        """As `Asker.blocks`; chDB's answer is here before its first block is given out."""
        limit = question.max_result_bytes or MAX_BLOCKS_BYTES
        body = await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question, limit)
        lines = body.splitlines()
        for start in range(0, len(lines), BLOCK_ROWS):
            yield [orjson.loads(line) for line in lines[start : start + BLOCK_ROWS]]

    def _ask(self, question: Question, max_result_bytes: int | None = None) -> bytes:
        settings = question.settings()
        del settings["readonly"]  # the handle is
        if max_result_bytes is not None:
            settings["max_result_bytes"] = max_result_bytes
        clause = ", ".join(f"{name} = {_literal(name, value)}" for name, value in settings.items())
        try:
            answer: bytes = self._client().raw_query(
                f"{question.sql}\nSETTINGS {clause}", parameters=dict(question.parameters), fmt="JSONCompactEachRow"
            )
        except (ClickHouseError, OSError) as error:
            raise error_of(error.code if isinstance(error, Error) else None, str(error)) from error
        return answer

    def _client(self) -> Any:
        client = getattr(self._mine, "client", None)
        if client is None:
            self._data_path.mkdir(parents=True, exist_ok=True)
            client = clickhouse_connect.get_client(
                interface="chdb", path=str(self._data_path), settings={"readonly": 2, "max_query_size": MAX_QUERY_BYTES}
            )
            self._mine.client = client
            self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


def _literal(name: str, value: object) -> str:
    """`table_filters` is a map written by guard.py; texts of others are quoted."""
    if name == "additional_table_filters" or not isinstance(value, str):
        return str(value)
    text = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
