"""The identity provider's keys: rotation, a provider that is down, and callers who would have us ask it all day."""

import asyncio
import gzip
import ipaddress
import json
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509

from bridge.errors import SettingsInvalid
from bridge.settings_auth import Jwt, QueryAuth
from query_api.auth import jwks as jwks_module
from query_api.auth.authenticator import Authenticator, open_authenticator
from query_api.auth.jwks import MAX_BYTES, Keys, KeySource, open_keys
from query_api.auth.jwt import parse_keys
from query_api.errors import NotAuthenticated, StoreUnavailable
from tests.listeners import authority
from tests.unit.query_tokens import AUDIENCE, ISSUER, Issuer, bearer, issuer_on, jwk, jwks, signed
from tests.waiting import eventually


class Clock:
    """Time that goes on when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def auth(**jwt: object) -> QueryAuth:
    return QueryAuth.model_validate({"jwt": {"issuer": ISSUER, "audience": AUDIENCE} | jwt})


@asynccontextmanager
async def asking(issuer: Issuer, clock: Clock) -> AsyncIterator[Authenticator]:
    """An authenticator on that issuer's URL, with the default times on that clock."""
    settings = auth(jwks_url=issuer.url)
    assert settings.jwt is not None
    async with open_keys(settings.jwt, clock) as keys:
        yield Authenticator(settings, keys)


async def outcome(found: Authenticator, token: str) -> str:
    """The caller's name, or why there is none."""
    try:
        return (await found.caller_of(bearer(token), ())).name
    except (NotAuthenticated, StoreUnavailable) as error:
        return error.reason


async def test_keys_are_asked_for_once_and_kept() -> None:
    """Many first callers at once share one fetch, later ones need none until the keys are old."""
    clock = Clock()
    async with issuer_on() as issuer, asking(issuer, clock) as found:
        assert set(await asyncio.gather(*(outcome(found, signed()) for _ in range(50)))) == {"user-1"}
        clock.now += 299
        assert await outcome(found, signed()) == "user-1"
        assert issuer.asked == 1
        clock.now += 2
        assert await outcome(found, signed()) == "user-1"
        assert issuer.asked == 2


async def test_a_new_key_is_fetched_when_it_is_first_used() -> None:
    """The issuer changes keys: the new one is taken at once, the old one refused as soon as it is not published."""
    clock = Clock()
    async with issuer_on() as issuer, asking(issuer, clock) as found:
        assert await outcome(found, signed("rsa")) == "user-1"
        issuer.body = jwks("rsa-2", "p256")
        clock.now += 11
        assert await outcome(found, signed("rsa-2")) == "user-1"
        assert await outcome(found, signed("p256")) == "user-1"
        assert await outcome(found, signed("rsa")) == "unknown_key"
        assert issuer.asked == 2


async def test_a_withdrawn_key_is_gone_when_the_cache_is_old() -> None:
    """Also on a server that nobody asked anything for a day: the first caller waits for the new keys."""
    clock = Clock()
    async with issuer_on() as issuer, asking(issuer, clock) as found:
        assert await outcome(found, signed()) == "user-1"
        issuer.body = jwks()
        clock.now += 86400
        assert await outcome(found, signed()) == "unknown_key"


async def test_junk_key_ids_do_not_hammer_the_issuer() -> None:
    """A flood of tokens with keys of their own makes one fetch in jwks_min_refresh_seconds; forged algorithms none."""
    clock = Clock()
    async with issuer_on() as issuer, asking(issuer, clock) as found:
        junk = [signed("p256", {"kid": f"junk-{number}"}) for number in range(100)]
        assert {await outcome(found, token) for token in junk} == {"unknown_key"}
        assert issuer.asked == 1
        clock.now += 10
        assert set(await asyncio.gather(*(outcome(found, token) for token in junk))) == {"unknown_key"}
        assert issuer.asked == 2
        clock.now += 10
        assert await outcome(found, signed("p384")) == "bad_algorithm"
        assert await outcome(found, signed("p256", {"alg": "none"})) == "bad_algorithm"
        assert issuer.asked == 2
        assert await outcome(found, signed()) == "user-1"


async def test_an_issuer_that_is_down_at_start_is_no_verdict() -> None:
    """Without keys nobody is refused for good: 503, at once until it is time to ask again, then all is well."""
    clock = Clock()
    async with issuer_on() as issuer, asking(issuer, clock) as found:
        issuer.status = 500
        assert await outcome(found, signed()) == "jwks"
        assert await outcome(found, signed()) == "jwks"
        assert issuer.asked == 1
        issuer.status = 200
        clock.now += 10
        assert await outcome(found, signed()) == "user-1"


async def test_an_issuer_that_is_not_there_at_all_is_no_verdict() -> None:
    """A refused connection is 503 too, and mends itself when the server comes."""
    clock = Clock()
    async with issuer_on() as issuer:
        port = int(issuer.url.split(":")[2].split("/")[0])
    async with asking(issuer, clock) as found:
        assert await outcome(found, signed()) == "jwks"
        async with issuer_on(port):
            clock.now += 10
            assert await outcome(found, signed()) == "user-1"


async def test_the_last_good_keys_stay_while_the_issuer_is_down() -> None:
    """Known callers do not notice, new keys are unknown, and the first good answer is taken."""
    clock = Clock()
    async with issuer_on() as issuer, asking(issuer, clock) as found:
        assert await outcome(found, signed()) == "user-1"
        issuer.status = 502
        for _ in range(3):
            clock.now += 301
            assert await outcome(found, signed()) == "user-1"
            assert await outcome(found, signed("rsa-2")) == "unknown_key"
        issuer.status, issuer.body = 200, jwks("rsa-2")
        clock.now += 301
        assert await outcome(found, signed("rsa-2")) == "user-1"


async def test_callers_wait_once_for_an_issuer_that_hangs() -> None:
    """The second time it is asked behind their backs, so that its time-out is not added to every answer."""
    clock, gate, calls = Clock(), asyncio.Event(), 0
    good = parse_keys(jwks("rsa"), ("RS256",))

    async def read() -> Keys:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("timed out")
        if calls == 3:
            await gate.wait()
        return good

    source = KeySource(read, 300, 10, clock)
    await source.current()
    clock.now += 300
    assert await source.current() == good
    clock.now += 10
    async with asyncio.timeout(5):
        assert await source.current() == good
    await eventually(lambda: calls == 3)
    assert source.failures == 1
    gate.set()
    await eventually(lambda: source.reads == 2)
    await source.aclose()


async def test_a_caller_that_goes_away_does_not_end_the_fetch_of_others() -> None:
    """The fetch belongs to all who wait for it."""
    asked, gate = asyncio.Event(), asyncio.Event()

    async def read() -> Keys:
        asked.set()
        await gate.wait()
        return parse_keys(jwks("rsa"), ("RS256",))

    source = KeySource(read, 300, 10)
    first, second = asyncio.create_task(source.current()), asyncio.create_task(source.current())
    await asked.wait()
    first.cancel()
    gate.set()
    assert [key.kid for key in await second] == ["rsa"]
    assert source.reads == 1


async def test_leaving_ends_a_fetch_under_way() -> None:
    """A stop does not wait for an issuer."""

    asked = asyncio.Event()

    async def read() -> Keys:
        asked.set()
        await asyncio.Event().wait()
        return ()

    source = KeySource(read, 300, 10)
    caller = asyncio.create_task(source.current())
    await asked.wait()
    async with asyncio.timeout(5):
        await source.aclose()
    with pytest.raises(asyncio.CancelledError):
        await caller


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (204, b"", {}),
        (404, jwks("rsa"), {}),
        (200, b"<html>login</html>", {}),
        (200, b'{"error": "maintenance"}', {}),
        (200, jwks("rsa") + b" " * MAX_BYTES, {}),
        (200, gzip.compress(jwks("rsa")), {"Content-Encoding": "gzip"}),
        (200, json.dumps({"keys": [{}] * 101}).encode(), {}),
    ],
    ids=["empty", "not found", "page", "object", "large", "compressed", "many"],
)
async def test_an_answer_that_is_no_key_set_is_not_taken(status: int, body: bytes, headers: dict[str, str]) -> None:
    """Whatever comes back in place of keys is a provider that is down."""
    async with issuer_on() as issuer, asking(issuer, Clock()) as found:
        issuer.status, issuer.body, issuer.headers = status, body, headers
        assert await outcome(found, signed()) == "jwks"
        assert issuer.asked == 1


async def test_a_redirect_is_not_followed() -> None:
    """Who can redirect an answer does not get to choose the keys."""
    async with issuer_on() as evil, issuer_on() as issuer, asking(issuer, Clock()) as found:
        issuer.status, issuer.headers = 302, {"Location": evil.url}
        assert await outcome(found, signed()) == "jwks"
        assert (issuer.asked, evil.asked) == (1, 0)


async def test_an_issuer_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time-out the caller is told 503 instead of waiting for ever."""
    monkeypatch.setattr(jwks_module, "FETCH_TIMEOUT_SECONDS", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    issuer = Issuer()
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        async with asking(issuer, Clock()) as found:
            started = time.monotonic()
            assert await outcome(found, signed()) == "jwks"
            assert time.monotonic() - started < 4
        await closed.wait()
    finally:
        server.close()


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A new file brings its keys, a broken or missing one leaves those that were good."""
    path, clock = tmp_path / "keys.json", Clock()
    path.write_bytes(jwks("rsa"))
    settings = auth(jwks_file=str(path))
    assert settings.jwt is not None
    async with open_keys(settings.jwt, clock) as keys:
        found = Authenticator(settings, keys)
        assert await outcome(found, signed()) == "user-1"
        os.replace(written(tmp_path, jwks("rsa-2")), path)  # noqa: PTH105 - as a mounted secret changes
        clock.now += 2
        assert await outcome(found, signed("rsa-2")) == "user-1"
        assert await outcome(found, signed()) == "unknown_key"
        path.write_bytes(b"{")
        clock.now += 2
        assert await outcome(found, signed("rsa-2")) == "user-1"
        path.unlink()
        clock.now += 2
        assert await outcome(found, signed("rsa-2")) == "user-1"


def written(folder: Path, text: bytes) -> Path:
    path = folder / "next.json"
    path.write_bytes(text)
    return path


@pytest.mark.parametrize("text", [None, b"{", b" " * (MAX_BYTES + 1)])
async def test_a_file_that_cannot_be_used_is_told_at_start(text: bytes | None, tmp_path: Path) -> None:
    """A mistake in a file of ours is a mistake in the settings, not a provider that is down."""
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(SettingsInvalid, match=r"jwks_file.*keys\.json|jwks_file: .*Error"):
        async with open_authenticator(auth(jwks_file=str(path))):
            pass


async def test_the_issuers_certificate_is_checked(tmp_path: Path) -> None:
    """Its keys are taken under an authority of ca_file, and not without."""
    ca = authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*ca.issue("idp", x509.IPAddress(ipaddress.ip_address("127.0.0.1"))))
    async with issuer_on(tls=tls) as issuer:
        async with open_authenticator(auth(jwks_url=issuer.url, ca_file=str(ca.file))) as found:
            assert await outcome(found, signed()) == "user-1"
        async with open_authenticator(auth(jwks_url=issuer.url)) as found:
            assert await outcome(found, signed()) == "jwks"


async def test_a_ca_file_that_cannot_be_read_is_told_at_start(tmp_path: Path) -> None:
    """The setting and the file are named."""
    rules = Jwt(jwks_url="https://127.0.0.1:9/", issuer="i", audience="a", ca_file=tmp_path / "ca.pem")
    with pytest.raises(SettingsInvalid, match=r"ca_file: .*ca\.pem"):
        async with open_keys(rules):
            pass


async def test_a_set_without_kid_is_enough(tmp_path: Path) -> None:
    """A file made by hand of one public key works."""
    path = written(tmp_path, jwks(jwk("rsa", kid=None)))
    async with open_authenticator(auth(jwks_file=str(path))) as found:
        assert await outcome(found, signed()) == "user-1"
