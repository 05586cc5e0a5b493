"""CORS: an exact list of origins, and nothing at all for others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from query_api.auth.cors import CorsAnswer, cors_answer

PORTAL = "https://portal.example.org"
ALLOWED = (PORTAL, "http://localhost:3000")
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


def test_an_allowed_origin_is_echoed() -> None:
    """With credentials, and with the headers that a page may read."""
    answer = cors_answer("POST", {"origin": PORTAL}, ALLOWED)
    assert answer == CorsAnswer(
        {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": PORTAL,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": (
                "X-Complete-Until, X-Next-Cursor, X-Request-Id, X-Row-Limit, X-Total-Capped"
            ),
        }
    )


def test_a_preflight_is_answered_as_upstream_does() -> None:
    """Contract 1.12.4: methods, headers, credentials, an hour."""
    answer = cors_answer("OPTIONS", {"Origin": ALLOWED[1]} | PREFLIGHT, ALLOWED)
    assert answer.is_preflight
    assert answer.headers == {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": ALLOWED[1],
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": "Content-Type, Authorization, X-Original-Authorization, X-Request-Id",
        "Access-Control-Max-Age": "3600",
    }


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "*",
        f"{PORTAL}.evil.org",
        f"{PORTAL}/",
        f"{PORTAL}:443",
        PORTAL.upper(),
        "http://portal.example.org",
        "https://evil.org",
        f"{PORTAL} https://evil.org",
        "https://portal-example.org",
        "http://localhost:30000",
    ],
)
def test_another_origin_gets_nothing(origin: str) -> None:
    """Only that the answer depends on the origin; a preflight of it is one still, and says no."""
    assert cors_answer("GET", {"Origin": origin}, ALLOWED) == CorsAnswer({"Vary": "Origin"})
    assert cors_answer("OPTIONS", {"Origin": origin} | PREFLIGHT, ALLOWED) == CorsAnswer({"Vary": "Origin"}, True)


@given(st.text())
def test_no_origin_opens_but_those_listed(origin: str) -> None:
    """An echo needs equality."""
    echoed = cors_answer("GET", {"Origin": origin}, ALLOWED).headers.get("Access-Control-Allow-Origin")
    assert echoed == (origin if origin in ALLOWED else None)


def test_no_origin_is_a_call_like_any() -> None:
    """Tools send none; caches are told that pages do."""
    assert cors_answer("GET", {}, ALLOWED) == CorsAnswer({"Vary": "Origin"})
    assert not cors_answer("OPTIONS", {"Origin": PORTAL}, ALLOWED).is_preflight
    assert not cors_answer("OPTIONS", PREFLIGHT, ALLOWED).is_preflight
    assert not cors_answer("POST", {"Origin": PORTAL} | PREFLIGHT, ALLOWED).is_preflight


def test_two_origins_are_none() -> None:
    """No browser sends two."""
    headers = CIMultiDict([("Origin", PORTAL), ("Origin", "https://evil.org")])
    assert cors_answer("GET", headers, ALLOWED) == CorsAnswer({"Vary": "Origin"})


def test_without_a_list_there_is_no_cors() -> None:
    """No header, and no preflight that goes past authentication."""
    assert cors_answer("OPTIONS", {"Origin": PORTAL} | PREFLIGHT, ()) == CorsAnswer()
