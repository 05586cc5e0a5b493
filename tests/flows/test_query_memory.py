"""What requests and answers of one caller may take of the process's memory, over HTTP."""

import asyncio

import pytest

from query_api.api import Rules
from query_api.errors import TooManyRequests
from query_api.limits import Gate, Room, answering, take_answer_bytes
from tests.flows.test_query_http import PATH, memory, raw
from tests.query_server import known, serving
from tests.waiting import eventually


async def test_bodies_in_hand_have_an_end() -> None:
    """Bodies that wait take no more memory than there is room for; over it 429 at once, and others are not kept out."""
    callers = known({"busy": ["acme"], "other": ["acme"]})
    room = Room(40_000, "bodies")
    async with serving(memory("INFO x"), callers=callers, bodies=room) as served:
        head = b"POST /api/logs/component/api HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer busy\r\n"
        slow = asyncio.create_task(raw(served, head + b"Content-Length: 15000\r\n\r\n{"))
        await eventually(lambda: room._of_caller["busy"] == 15_000)
        answers = [await served.post(PATH, b"{}" + b" " * 9000, Authorization="Bearer busy") for _ in range(2)]
        assert [answer.status for answer in answers] == [429, 429]
        unsaid = await raw(
            served, head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        assert unsaid.startswith(b"HTTP/1.1 429 ")
        assert (await served.post(PATH, b"{}" + b" " * 9000, Authorization="Bearer other")).status == 200
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        await eventually(lambda: ("component logs", "cancelled") in served.observed)
        assert (await served.post(PATH, b"{}" + b" " * 9000, Authorization="Bearer busy")).status == 200


async def test_a_large_answer_that_nobody_takes_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds its place while it goes out, so that unread answers do not pile up in memory, and then gives it back."""
    monkeypatch.setattr("query_api.app.WRITE_SECONDS", 0.5)
    async with serving(memory(*["x" * 100_000] * 200), gate=Gate(1, 0.1)) as served:
        host, port = served.main.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 10)
        body = b'{"limit": 200}'
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        writer.write(head + body)
        await reader.readexactly(1)
        assert (await served.post(PATH, {"limit": 1})).status == 429
        await eventually(lambda: ("component logs", "slowClient") in served.observed)
        assert (await served.post(PATH, {"limit": 1})).status == 200
        whole = await served.post(PATH, {"limit": 200})
        assert (whole.status, len(whole.json["logs"])) == (200, 200)
        writer.close()


async def test_escapes_do_not_make_an_answer_six_times_as_large() -> None:
    """What would be too large as JSON is refused with its advice before it is made."""
    rules = Rules(max_answer_bytes=100_000)
    async with serving(memory("<" * 30_000, "x" * 30_000), rules=rules) as served:
        refused = await served.post(PATH, {})
        assert (refused.status, refused.json["code"]) == (400, "OBS-L-12")
        assert "fewer rows" in refused.json["message"]


def test_large_answers_together_have_an_end() -> None:
    """Half of the room for one caller, over several questions of a request; given back however the request ends."""
    room = Room(100, "large answers")
    with answering(room, "busy"):
        take_answer_bytes(30)
        take_answer_bytes(20)
        with pytest.raises(TooManyRequests, match="large answers"):
            take_answer_bytes(1)
        with answering(room, "other"):
            take_answer_bytes(50)
            with pytest.raises(TooManyRequests), answering(room, "third"):
                take_answer_bytes(1)
    with answering(room, "busy"):
        take_answer_bytes(50)
    take_answer_bytes(1_000)  # outside of a request nothing is counted
    room.take("any", 100)
