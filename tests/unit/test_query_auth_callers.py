"""From headers and certificates to a caller: which credential decides, and that none is rescued by another."""

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from bridge.settings_auth import QueryAuth
from query_api.auth.authenticator import MAX_TOKEN_CHARS, Authenticator, open_authenticator
from query_api.callers import LOCAL
from query_api.errors import NotAuthenticated, QueryError
from query_api.tenant import Action, Caller, Grant
from tests.unit.query_tokens import authenticator, bearer, sha256, signed

ID = "spiffe://example.org/portal"


async def refused(found: Authenticator, headers: Any, uris: tuple[str, ...] = ()) -> str:
    with pytest.raises(NotAuthenticated) as caught:
        await found.caller_of(headers, uris)
    return caught.value.reason


def tokens_only(**more: Any) -> Authenticator:
    """No identity provider, one token."""
    token = {"name": "portal", "token_sha256": sha256("s3cret"), "roles": ["acme"]}
    return Authenticator(QueryAuth.model_validate({"tokens": [token]} | more), None)


async def test_without_settings_everybody_is_local_and_may_read_all() -> None:
    """That is for loopback, and `is_open` says so; a credential that nobody checks changes nothing."""
    async with open_authenticator(QueryAuth()) as found:
        assert found.is_open
        assert await found.caller_of(bearer("x"), (ID,)) is LOCAL
        assert LOCAL.tenant_for(Action.LOGS).is_unbound


async def test_any_configured_credential_closes_the_door() -> None:
    """One token set, and a caller without one is refused."""
    found = tokens_only()
    assert not found.is_open
    assert await refused(found, {}) == "missing"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer s3cret"},
        {"authorization": "bearer s3cret"},
        {"AUTHORIZATION": "BEARER  s3cret "},
        CIMultiDictProxy(CIMultiDict({"authorization": "Bearer s3cret"})),
    ],
)
async def test_a_static_token_is_its_holder(headers: Any) -> None:
    """Header and scheme in any case, plain mappings and aiohttp's."""
    found = await authenticator().caller_of(headers, ())
    assert found == Caller("portal", (("*", found.tenant_for(Action.LOGS)),))
    assert found.tenant_for(Action.LOGS).grants == (Grant("acme"),)


@pytest.mark.parametrize("token", ["s3cre", "s3crets", "S3cret", "portal", sha256("s3cret"), "a.b", "a.b.c.d", "."])
async def test_a_token_nobody_has_is_refused(token: str) -> None:
    """Also its digest, its holder's name, and what has not the three parts of a JWT."""
    assert await refused(authenticator(), bearer(token)) == "unknown_token"


async def test_without_an_identity_provider_a_jwt_is_a_token_nobody_has() -> None:
    """And a static token may look like one."""
    assert await refused(tokens_only(), bearer(signed())) == "unknown_token"
    token = {"name": "dots", "token_sha256": sha256("a.b.c"), "roles": ["acme"]}
    assert (await tokens_only(tokens=[token]).caller_of(bearer("a.b.c"), ())).name == "dots"


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "s3cret",
        "Basic s3cret",
        "Bearers3cret",
        "Bearer s3 cret",
        "Bearer s3cret, Bearer x",
        "Bearer\ts3cret",
        "Bearer s3cret\x00",
        "Bearer s3crét",
        "Bearer \ud800",
        "Bearer s3cret\u2028",
        "Beare\u0280 s3cret",
        "Bearer \uff53\uff13cret",
        "Bearer " + "x" * (MAX_TOKEN_CHARS + 1),
    ],
)
async def test_what_is_no_bearer_token_is_malformed(value: str) -> None:
    """Other schemes, blanks, anything but printable ASCII, and what is too long."""
    assert await refused(authenticator(), {"Authorization": value}) == "malformed"
    assert await refused(authenticator(), {"Authorization": value}, (ID,)) == "malformed"


async def test_two_authorization_headers_are_refused() -> None:
    """A proxy in front may have looked at the other one."""
    headers = CIMultiDict([("Authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")])
    assert await refused(authenticator(), CIMultiDictProxy(headers)) == "malformed"


async def test_the_forks_header_is_read_only_where_it_is_accepted() -> None:
    """X-Original-Authorization counts if it is switched on and there is no Authorization."""
    original = {"X-Original-Authorization": "Bearer s3cret"}
    assert await refused(tokens_only(), original) == "missing"
    found = tokens_only(accept_original_authorization=True)
    for headers in (original, original | {"Authorization": ""}, {"x-original-authorization": "bearer s3cret"}):
        assert (await found.caller_of(headers, ())).name == "portal"
    assert await refused(found, original | bearer("wrong")) == "unknown_token"
    assert await refused(found, {"X-Original-Authorization": "s3cret"}) == "malformed"


async def test_a_certificate_is_its_spiffe_id() -> None:
    """With the roles of exactly that id."""
    found = await authenticator().caller_of({}, ("https://example.org/", ID))
    assert found.name == ID
    assert found.tenant_for(Action.LOGS).is_unbound
    assert found.tenant_for(Action.COSTS).grants == ()


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        ((f"{ID}/",), "unknown_spiffe_id"),
        ((f"{ID}2",), "unknown_spiffe_id"),
        (("spiffe://example.org/",), "unknown_spiffe_id"),
        (("spiffe://example.org/\ud800",), "unknown_spiffe_id"),
        ((ID.upper(),), "missing"),
        (("https://example.org/portal", ""), "missing"),
        ((ID, "spiffe://example.org/other"), "malformed"),
        ((ID, ID), "malformed"),
    ],
)
async def test_another_certificate_is_nobody(uris: tuple[str, ...], expected: str) -> None:
    """No part of an id, no other spelling, and not one out of several."""
    assert await refused(authenticator(), {}, uris) == expected


async def test_without_spiffe_ids_a_certificate_is_no_credential() -> None:
    """In a mesh everybody has one; the answer is then that a token is missing."""
    assert await refused(tokens_only(), {}, (ID,)) == "missing"


async def test_a_token_decides_over_a_certificate() -> None:
    """A good one is the caller and nothing is added up; a bad one is refused whatever the certificate is."""
    found = await authenticator().caller_of(bearer("s3cret"), (ID,))
    assert (found.name, found.tenant_for(Action.LOGS).grants) == ("portal", (Grant("acme"),))
    assert await refused(authenticator(), bearer("wrong"), (ID,)) == "unknown_token"
    assert await refused(authenticator(), bearer(signed(exp=0)), (ID,)) == "expired"
    assert (await authenticator().caller_of(bearer(signed()), (ID,))).tenants == ()


@pytest.mark.parametrize("name", ["portal", ID])
async def test_a_user_cannot_take_the_name_of_a_configured_caller(name: str) -> None:
    """Its `sub` may be of the user's choice; rate limit and access log stay apart."""
    assert (await authenticator().caller_of(bearer(signed(sub=name)), ())).name == f"jwt:{name}"


async def test_roles_of_every_credential_are_resolved() -> None:
    """Names become ids at every request, so that a catalog may change meanwhile."""
    ids = {"acme": "u-1"}
    settings = QueryAuth.model_validate(
        {
            "tokens": [{"name": "t", "token_sha256": sha256("t"), "roles": ["acme"]}],
            "spiffe_ids": [{"id": ID, "roles": ["acme/shop"]}],
        }
    )
    async with open_authenticator(settings, lambda grant: Grant(ids[grant.org], grant.project)) as found:
        assert (await found.caller_of(bearer("t"), ())).tenant_for(Action.LOGS).grants == (Grant("u-1"),)
        ids["acme"] = "u-2"
        assert (await found.caller_of(bearer("t"), ())).tenant_for(Action.LOGS).grants == (Grant("u-2"),)
        assert (await found.caller_of({}, (ID,))).tenant_for(Action.LOGS).grants == (Grant("u-2", "shop"),)


async def test_a_token_ends_when_it_expires() -> None:
    """The same token is good, and some time later not: nothing remembers that it was."""
    base = authenticator()
    now = [time.time()]
    rules, keys = base._jwt, base._keys
    assert rules is not None
    found = Authenticator(QueryAuth(jwt=rules), keys, clock_seconds=lambda: now[0])
    token = signed(exp=now[0] + 60)
    assert (await found.caller_of(bearer(token), ())).name == "user-1"
    now[0] += 90
    assert await refused(found, bearer(token)) == "expired"


header_values = st.text() | st.text(st.characters(codec="ascii")) | st.text().map(lambda text: f"Bearer {text}")
pieces = st.text(st.sampled_from("eyJhbGciOiJSUzI1NiJ9_-=. "), max_size=60)
SECRET = "Zq-not-to-be-echoed-9"


@settings(deadline=None)  # the first example makes the keys
@given(header_values | pieces.map(lambda text: f"bearer {text}"), st.lists(st.text(), max_size=2))
@example("Bearer \udfff", [])
@example("Bearer e30.e30.e30", ["spiffe://"])
async def test_no_header_does_anything_but_let_in_or_refuse(value: str, uris: list[str]) -> None:
    """Whatever comes in as text, the answer is a caller or an error that has an answer."""
    try:
        await authenticator().caller_of({"Authorization": value}, uris)
    except QueryError:
        return


@pytest.mark.parametrize(
    "form", ["Bearer {}", "Basic {}", "{}", "Bearer {} x", "Bearer {}.e30.e30", "Bearer e30.{}.x", "Bearer é{}", ""]
)
async def test_no_answer_echoes_a_token(form: str) -> None:
    """What a caller is told, and what goes to the log, holds nothing of what it sent."""
    with pytest.raises(NotAuthenticated) as caught:
        await authenticator().caller_of({"Authorization": form.format(SECRET)}, (f"spiffe://{SECRET}",))
    assert SECRET not in str(caught.value) + caught.value.reason
    assert caught.value.__cause__ is None
