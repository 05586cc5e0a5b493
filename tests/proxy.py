"""A TCP proxy before ClickHouse that spoils inserts: cuts them, answers for the server, or says nothing."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum


class Spoil(StrEnum):
    CUT_BEFORE = "insert cut before the server has it all"
    CUT_AFTER = "insert cut after the server has committed"
    TOO_MANY_PARTS = "ClickHouse answers 252"
    MEMORY = "ClickHouse answers 241"
    READ_ONLY = "ClickHouse answers 242"
    SILENCE = "ClickHouse times out"


CODES = {Spoil.TOO_MANY_PARTS: 252, Spoil.MEMORY: 241, Spoil.READ_ONLY: 242}
SILENCE_SECONDS = 3.0


@dataclass(slots=True)
class Proxy:
    """`spoil` is what happens to an insert with probability `share`; None passes all of them."""

    upstream: int
    port: int = 0
    spoil: Spoil | None = None
    share: float = 0.5
    spoiled: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: request by request, so that each insert has its own fate."""
        up: asyncio.StreamWriter | None = None
        try:
            up_reader, up = await asyncio.open_connection("127.0.0.1", self.upstream)
            while await self._one(reader, writer, up_reader, up):
                pass
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            for end in (writer, up):
                if end is not None:
                    end.close()
                    with suppress(OSError):
                        await end.wait_closed()

    async def _one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up: asyncio.StreamWriter,
    ) -> bool:
        """One request and its answer; false to hang up."""
        head, body = await _message(reader)
        is_insert = b"INSERT" in head.split(b"\r\n")[0] or b"INSERT" in body[:200]
        spoil = self.spoil if is_insert and self.dice.random() < self.share else None
        self.spoiled += spoil is not None
        if spoil is Spoil.CUT_BEFORE:
            up.write(head + body[: len(body) // 2])
            await up.drain()
            return False
        if spoil in CODES:
            text = f"Code: {CODES[spoil]}. DB::Exception: by the proxy\n".encode()
            fields = f"X-ClickHouse-Exception-Code: {CODES[spoil]}\r\nContent-Length: {len(text)}"
            writer.write(f"HTTP/1.1 500 Error\r\n{fields}\r\n\r\n".encode() + text)
            await writer.drain()
            return True
        up.write(head + body)
        await up.drain()
        head, body = await _message(up_reader)
        if spoil is Spoil.CUT_AFTER:
            return False
        if spoil is Spoil.SILENCE:
            await asyncio.sleep(SILENCE_SECONDS)
            return False
        writer.write(head + body)
        await writer.drain()
        return True


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of an HTTP message, as they were."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
    }
    if b"content-length" in fields:
        return head, await reader.readexactly(int(fields[b"content-length"]))
    if fields.get(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            size = await reader.readuntil(b"\r\n")
            chunk = await reader.readexactly(int(size, 16) + 2)
            body += size + chunk
            if chunk == b"\r\n":
                return head, body
    return head, b""


@asynccontextmanager
async def proxying(upstream: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port, gone with the block and its connections with it."""
    proxy = Proxy(upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=64 << 20)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
