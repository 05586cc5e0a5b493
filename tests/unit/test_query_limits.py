"""What one caller gets, and what is left for the others."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.body import Member, read_body
from query_api.cursors import from_text, to_text
from query_api.errors import InvalidRequest, TooManyRequests
from query_api.limits import Gate, Rates
from query_api.storage import Position


def test_a_caller_over_its_rate_is_told_when_to_come_back() -> None:
    """A burst of twice the rate, then one each time a token has grown; others are not touched."""
    rates = Rates(10.0)
    for _ in range(20):
        rates.take("a", now=0.0)
    with pytest.raises(TooManyRequests) as caught:
        rates.take("a", now=0.0)
    assert caught.value.retry_after_seconds == pytest.approx(0.1)
    rates.take("b", now=0.0)
    rates.take("a", now=0.11)


async def test_one_caller_never_has_more_than_half_of_the_places() -> None:
    """Its slow questions leave room for others'."""
    gate, inside = Gate(4, wait_seconds=0.05), asyncio.Event()
    leave = asyncio.Event()

    async def slow(count: list[int]) -> None:
        async with gate.place("greedy"):
            count.append(1)
            if len(count) == 2:
                inside.set()
            await leave.wait()

    count: list[int] = []
    greedy = [asyncio.create_task(slow(count)) for _ in range(2)]
    await inside.wait()
    with pytest.raises(TooManyRequests):
        async with gate.place("greedy"):
            raise AssertionError("a third place of four")
    async with gate.place("other"), gate.place("another"):
        leave.set()
    await asyncio.gather(*greedy)


async def test_places_are_free_again_after_any_end() -> None:
    """An error or a cancellation inside gives the place back."""
    gate = Gate(1, wait_seconds=0.05)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with gate.place("a"):
                raise ZeroDivisionError
    waiting = asyncio.create_task(_hold(gate))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with gate.place("a"):
        pass
    assert not gate._of_caller


async def _hold(gate: Gate) -> None:
    async with gate.place("a"):
        await asyncio.Event().wait()


@given(
    st.builds(
        Position,
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.integers(0, (1 << 64) - 1),
        st.integers(0, (1 << 64) - 1),
    )
)
def test_a_cursor_comes_back_as_it_was(position: Position) -> None:
    """Opaque to clients, exact to us."""
    assert from_text(to_text(position)) == position


@given(st.text(max_size=60))
def test_any_other_cursor_is_refused(text: str) -> None:
    """With what to do instead; texts that are a cursor by chance are not drawn: its first byte says whose it is."""
    with pytest.raises(InvalidRequest, match="X-Next-Cursor"):
        from_text(f"x{text}")


MEMBERS = (
    Member("text", "string", "."),
    Member("count", "integer", "."),
    Member("flag", "boolean", "."),
    Member("list", "strings", "."),
    Member("map", "string map", "."),
    Member("inner", "object", ".", (Member("text", "string", "."),)),
)
EMPTY = {"text": "", "count": 0, "flag": False, "list": (), "map": {}, "inner": {"text": ""}}


@pytest.mark.parametrize("raw", [b"{}", b"null", b'{"text":null,"inner":null,"list":null,"map":null}', b'{"other":1}'])
def test_what_is_not_given_is_empty(raw: bytes) -> None:
    """As Go binds a body; members nobody declared are ignored (V3)."""
    assert read_body(MEMBERS, None, raw) == EMPTY


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"text":1}',
        b'{"count":"1"}',
        b'{"count":1.5}',
        b'{"count":true}',
        b'{"count":9223372036854775808}',
        b'{"list":[1]}',
        b'{"list":"a"}',
        b'{"map":{"a":1}}',
        b'{"map":[]}',
        b'{"inner":[]}',
        b'{"inner":{"text":1}}',
        b'{"text":"\xff"}',
    ],
)
def test_a_body_that_does_not_fit_is_one_error(raw: bytes) -> None:
    """`Invalid request format`, whatever is wrong (contract 1.5)."""
    with pytest.raises(InvalidRequest, match=r"^Invalid request format$"):
        read_body(MEMBERS, "application/json; charset=utf-8", raw)


def test_another_content_type_is_refused_and_none_is_json() -> None:
    """Contract 1.1: absent is fine, anything else must start with application/json."""
    with pytest.raises(InvalidRequest):
        read_body(MEMBERS, "text/plain", b"{}")
    assert read_body(MEMBERS, None, b"{}") == EMPTY
