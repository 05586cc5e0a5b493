"""HyperDX links: the old Observer's URLs in legacy mode, and ones that cannot be bent in the other."""

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.settings_links import HyperDX
from query_api.errors import InvalidRequest
from query_api.links import (
    MAX_URL_BYTES,
    LinksNotConfigured,
    canonical_text,
    form_encode,
    legacy_text,
    link,
)
from query_api.links_verify import Refusal, Refused, Verified, verify

KEY = "kind-hdx-signing-secret"
BASE = "http://hyperdx:3000"
NOW = 1_763_136_000.0
EXPIRES = 1_763_136_900
RESERVED = {"expires", "signature", "org"}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
tricky = st.one_of(texts, st.text('|=&;+%,"[]: ab', max_size=6))
params = st.dictionaries(tricky.filter(lambda key: key not in RESERVED), tricky, max_size=5)
orgs = tricky.filter(bool)
pages = st.text("abcZ09-._~!$&'()*+,;=:@", min_size=1, max_size=8).filter(lambda s: s not in (".", ".."))
paths = pages.map("/search/{}".format)


def settings_of(**changed: Any) -> HyperDX:
    return HyperDX.model_validate({"base_url": BASE, "signing_key": KEY, **changed})


SIGNED = settings_of()
LEGACY = settings_of(mode="legacy")


def target_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def check(url: str, settings: HyperDX = SIGNED, host: str = "hyperdx:3000", now: float = NOW) -> Verified | Refused:
    return verify(settings, target_of(url), host, now)


def refused_as(answer: Verified | Refused) -> Refusal:
    assert isinstance(answer, Refused)
    return answer.reason


def test_v07_the_url_of_a_search() -> None:
    """Text to sign, signature and URL are byte for byte the contract's."""
    wanted = {"component": "greeter", "from": "now-1h"}
    text = legacy_text("/search", {**wanted, "expires": str(EXPIRES)}.items())
    assert text == "/search|component=greeter|expires=1763136900|from=now-1h"
    assert link(LEGACY, "/search", wanted, "", NOW) == (
        "http://hyperdx:3000/search?component=greeter&expires=1763136900&from=now-1h"
        "&signature=nwUruq8LFB6JyD4Dp1GYhYs3hAlqs4WQ4YJAwVcBfDs"
    )


def test_v07_a_base_with_a_slash_and_a_path_without() -> None:
    """One slash is between base and path, however they are given, and a link needs no parameters."""
    assert link(settings_of(mode="legacy", base_url=BASE + "/"), "dashboards/main", {}, "", NOW) == (
        "http://hyperdx:3000/dashboards/main?expires=1763136900&signature=sH2x-gay8HTmPak_0RwMao6L_SWnp79hMdjcPxmhCss"
    )


def test_v07_values_are_signed_as_they_are_and_sent_encoded() -> None:
    """A space is sent as + and a colon as %3A, after the plain text was signed."""
    assert link(LEGACY, "/search", {"q": "level:error service:api"}, "", NOW) == (
        "http://hyperdx:3000/search?expires=1763136900&q=level%3Aerror+service%3Aapi"
        "&signature=deDeBk9ERhZwSI8Rf1ycNRLjJAulYq-pKv7-qFz5qDo"
    )


@pytest.mark.parametrize("settings", [SIGNED, LEGACY, HyperDX()], ids=["signed", "legacy", "not configured"])
@pytest.mark.parametrize("path", ["", "  ", "\t\n"])
def test_v07_a_blank_path_is_missing(settings: HyperDX, path: str) -> None:
    """The words and the kind of error are the contract's, in both modes and before anything else is looked at."""
    with pytest.raises(InvalidRequest, match=r"^Path is required$") as caught:
        link(settings, path, {}, "acme", NOW)
    assert caught.value.is_missing


@pytest.mark.parametrize("settings", [HyperDX(), HyperDX(base_url=BASE)])
def test_v07_without_a_signer_there_is_an_error_of_its_own(settings: HyperDX) -> None:
    """The handler can tell it from a bad request, and the operator is told what to set."""
    with pytest.raises(LinksNotConfigured, match=r"hyperdx\.signing_key"):
        link(settings, "/search", {}, "acme", NOW)
    assert refused_as(verify(settings, "/search?expires=1&signature=x", "", NOW)) is Refusal.NOT_CONFIGURED


def test_a_legacy_caller_cannot_choose_the_expiry_or_the_signature() -> None:
    """`expires` is overwritten as it always was; `signature` made links that could never verify, and is refused."""
    assert link(LEGACY, "/search", {"expires": "9999999999"}, "", NOW) == link(LEGACY, "/search", {}, "", NOW)
    with pytest.raises(InvalidRequest, match="'signature'"):
        link(LEGACY, "/search", {"signature": "x"}, "", NOW)


def test_queries_are_encoded_as_go_does() -> None:
    """Letters, digits and -_.~ stay, a space is +, all else is %XX of its UTF-8; sorted by key."""
    plain = "".join(map(chr, range(33, 127)))
    assert form_encode({"b": "é *", "a b": plain, "B": ""}) == (
        "B=&a+b=%21%22%23%24%25%26%27%28%29%2A%2B%2C-.%2F0123456789%3A%3B%3C%3D%3E%3F%40ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "%5B%5C%5D%5E_%60abcdefghijklmnopqrstuvwxyz%7B%7C%7D~&b=%C3%A9+%2A"
    )


def test_legacy_signs_two_different_requests_alike() -> None:
    """The defect of contract 1.7 that the other mode is for."""
    one, other = {"a": "1|b=2"}, {"a": "1", "b": "2"}
    assert legacy_text("/search", one.items()) == legacy_text("/search", other.items())
    first, second = (canonical_text("h", "/search", "o", 1, each.items()) for each in (one, other))
    assert first != second


def test_a_legacy_signature_cannot_be_read_with_another_expiry() -> None:
    """A value that spells out a second expiry gets a link, as ever, but neither it nor its other reading verifies."""
    made = link(LEGACY, "/search", {"a": "x|expires=9999999999|f=", "z": "1"}, "", NOW)
    signature = dict(parse_qsl(urlsplit(made).query))["signature"]
    bent = form_encode(
        {"a": "x", "expires": "9999999999", "f": f"|expires={EXPIRES}", "z": "1", "signature": signature}
    )
    assert legacy_text(
        "/search", [("a", "x"), ("expires", "9999999999"), ("f", f"|expires={EXPIRES}"), ("z", "1")]
    ) == (legacy_text("/search", [("a", "x|expires=9999999999|f="), ("expires", str(EXPIRES)), ("z", "1")]))
    assert refused_as(verify(LEGACY, f"/search?{bent}", "", NOW)) is Refusal.AMBIGUOUS
    assert refused_as(check(made, LEGACY)) is Refusal.AMBIGUOUS


@st.composite
def links(draw: st.DrawFn) -> tuple[str, str, str, int, dict[str, str]]:
    return draw(tricky), draw(tricky), draw(tricky), draw(st.integers(0, 10**12)), draw(params)


def text_of(host: str, path: str, org: str, expires: int, wanted: dict[str, str]) -> str:
    return canonical_text(host, path, org, expires, wanted.items())


@given(links(), links())
def test_two_links_never_have_the_same_canonical_text(one: Any, other: Any) -> None:
    """Whatever is in host, path, organisation, expiry and parameters, their texts differ when they do."""
    assert (text_of(*one) == text_of(*other)) == (one == other)


@given(params, st.data())
def test_moving_a_character_between_parts_changes_the_canonical_text(
    wanted: dict[str, str], data: st.DataObject
) -> None:
    """Where one part ends and the next begins is in the text: host, path, organisation, keys and values."""
    flat = "".join(data.draw(st.lists(tricky, min_size=3, max_size=3)))
    cuts = [sorted(data.draw(st.tuples(*[st.integers(0, len(flat))] * 2))) for _ in range(2)]
    assume(cuts[0] != cuts[1])
    first, second = (canonical_text(flat[:a], flat[a:b], flat[b:], 1, wanted.items()) for a, b in cuts)
    assert first != second


@given(paths, params, orgs)
def test_every_link_verifies_until_it_expires(path: str, wanted: dict[str, str], org: str) -> None:
    """A made link tells organisation and expiry to the last second before that, and is expired from then on."""
    url = link(SIGNED, path, wanted, org, NOW)
    assert check(url, now=EXPIRES - 0.001) == Verified(org, EXPIRES)
    assert refused_as(check(url, now=EXPIRES)) is Refusal.EXPIRED
    assert {k: v for k, v in parse_qsl(urlsplit(url).query, keep_blank_values=True) if k not in RESERVED} == wanted


@given(params, st.data())
def test_neither_order_nor_spelling_of_parameters_matters(wanted: dict[str, str], data: st.DataObject) -> None:
    """A proxy or browser may sort and encode anew; the same values still verify."""
    pairs = parse_qsl(urlsplit(link(SIGNED, "/search", wanted, "acme", NOW)).query, keep_blank_values=True)
    safe = data.draw(st.sampled_from(["", "/:?!*'()", "~"]))
    anew = "&".join(f"{quote(key, safe)}={quote(value, safe)}" for key, value in data.draw(st.permutations(pairs)))
    every = "&".join(f"{percent(key)}={percent(value)}" for key, value in pairs)
    for query in (anew, every, f"&{anew}&&"):
        assert verify(SIGNED, f"/search?{query}", "hyperdx:3000", NOW) == Verified("acme", EXPIRES)
    assert verify(SIGNED, f"/{percent('search')}?{anew}", "HYPERDX:3000", NOW) == Verified("acme", EXPIRES)


def percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


@given(paths, params.filter(bool), orgs, st.data())
def test_any_change_is_noticed(path: str, wanted: dict[str, str], org: str, data: st.DataObject) -> None:
    """A character more, less or other in path, keys, values, organisation, expiry or signature: it does not verify."""
    url = urlsplit(link(SIGNED, path, wanted, org, NOW))
    parts = [url.path, *(text for pair in parse_qsl(url.query, keep_blank_values=True) for text in pair)]
    index = data.draw(st.integers(0, len(parts) - 1))
    changed = [*parts[:index], data.draw(altered(parts[index])), *parts[index + 1 :]]
    pairs = list(zip(changed[1::2], changed[2::2], strict=True))
    query = "&".join(f"{quote(key, '')}={quote(value, '')}" for key, value in pairs)
    assert isinstance(verify(SIGNED, f"{quote(changed[0])}?{query}", "hyperdx:3000", NOW), Refused)


def altered(text: str) -> st.SearchStrategy[str]:
    """`text` with one character put in, taken out or replaced."""

    def change(drawn: tuple[int, int, str]) -> str:
        at, removed, put = drawn
        return text[:at] + put + text[at + removed :]

    char = st.characters(exclude_categories=["Cs"])
    at = st.integers(0, len(text))
    return st.tuples(at, st.sampled_from([0, 1]), st.one_of(st.just(""), char)).map(change).filter(lambda t: t != text)


@given(params, st.tuples(tricky, tricky))
def test_a_parameter_that_was_not_signed_is_noticed(wanted: dict[str, str], extra: tuple[str, str]) -> None:
    """A new parameter fails the signature, and one that is there already is refused as double."""
    url = link(SIGNED, "/search", wanted, "acme", NOW)
    reason = refused_as(check(f"{url}&{quote(extra[0], '')}={quote(extra[1], '')}"))
    is_double = extra[0] in wanted or extra[0] in RESERVED
    assert reason is (Refusal.DUPLICATE_PARAMETER if is_double else Refusal.BAD_SIGNATURE)


@given(st.text("abcdefgh.-", min_size=1), st.integers(1, 65535))
def test_a_link_holds_for_its_host_only(name: str, port: int) -> None:
    """Another host in the request is told so; another installation with the same key does not take the link."""
    assume((name, port) != ("hyperdx", 3000))
    url = link(SIGNED, "/search", {}, "acme", NOW)
    assert refused_as(check(url, host=f"{name}:{port}")) is Refusal.WRONG_HOST
    elsewhere = settings_of(base_url=f"http://{name}:{port}")
    assert refused_as(check(url, elsewhere, host="")) is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("base", "host"),
    [("https://HDX.example", "hdx.example:443"), ("http://hdx:80/", "HDX"), ("http://[::1]:3000", "[::1]:3000")],
)
def test_hosts_are_compared_as_hosts(base: str, host: str) -> None:
    """Case does not matter, nor whether the scheme's default port is written."""
    settings = settings_of(base_url=base)
    assert check(link(settings, "/search", {}, "acme", NOW), settings, host) == Verified("acme", EXPIRES)


@pytest.mark.parametrize("mode", ["signed", "legacy"])
def test_a_base_below_a_path_is_verified_below_it(mode: str) -> None:
    """HyperDX may live below a path; the target is then as the browser sends it, and nothing above is ours."""
    settings = settings_of(base_url="https://o11y.example/hdx/", mode=mode)
    url = link(settings, "/search", {"q": "x"}, "acme", NOW)
    assert url.startswith("https://o11y.example/hdx/search?")
    assert check(url, settings, "o11y.example") == Verified("acme" if mode == "signed" else "", EXPIRES)
    above = target_of(url).removeprefix("/hdx")
    assert refused_as(verify(settings, above, "o11y.example", NOW)) is Refusal.BAD_SIGNATURE


@given(st.dictionaries(texts.filter(lambda k: k not in RESERVED and not {"|", "="} & set(k)), texts, max_size=4))
def test_legacy_links_verify(wanted: dict[str, str]) -> None:
    """Links without a | verify in legacy mode, with no organisation, and not in the other mode."""
    assume(not any("|" in value for value in wanted.values()))
    url = link(LEGACY, "/anything/at-all", wanted, "", NOW)
    assert check(url, LEGACY) == Verified("", EXPIRES)
    assert refused_as(check(url + "1", LEGACY)) is Refusal.BAD_SIGNATURE
    assert refused_as(check(url, SIGNED)) in (Refusal.MALFORMED, Refusal.BAD_SIGNATURE)


@pytest.mark.parametrize("mode", ["signed", "legacy"])
def test_links_outlive_the_change_of_a_key(mode: str) -> None:
    """What the previous keys signed is taken, what a dropped key signed is not, and new links use the new key."""
    old = link(settings_of(mode=mode), "/search", {}, "acme", NOW)
    rotated = settings_of(mode=mode, signing_key="the-next-key-of-32-bytes", previous_signing_keys=["x" * 16, KEY])
    dropped = settings_of(mode=mode, signing_key="the-next-key-of-32-bytes")
    assert isinstance(check(old, rotated), Verified)
    assert refused_as(check(old, dropped)) is Refusal.BAD_SIGNATURE
    assert isinstance(check(link(rotated, "/search", {}, "acme", NOW), dropped), Verified)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_caller_cannot_set_what_is_signed_for_it(name: str) -> None:
    """Expiry, signature and organisation are refused by name, not overwritten in silence."""
    with pytest.raises(InvalidRequest, match=repr(name)):
        link(SIGNED, "/search", {name: "x"}, "acme", NOW)


BENT_PATHS = ["//evil.example", "/a//b", "/../x", "/search/..", "/./search", "/a?b", "/a#b", "/a%2Fb", "/%2e%2e/x"]
BENT_PATHS += ["/a\\b", "/a b", "/a\n", "/a\x00", "/é", "http://evil.example/", "/search%", "/a|b", "/a\x7f"]


@pytest.mark.parametrize("mode", ["signed", "legacy"])
@pytest.mark.parametrize("path", BENT_PATHS)
def test_paths_that_can_be_read_in_two_ways_are_not_signed(mode: str, path: str) -> None:
    """A browser or proxy would send on something else than what was signed."""
    with pytest.raises(InvalidRequest, match="path"):
        link(settings_of(mode=mode, allowed_paths=["/*"]), path, {}, "acme", NOW)


@pytest.mark.parametrize("path", ["/team", "/searches", "/dashboards/", "/chart/x", "/SEARCH", "/", "/trace/"])
def test_only_listed_pages_can_be_opened(path: str) -> None:
    """What is not in allowed_paths is refused, with the setting's name."""
    with pytest.raises(InvalidRequest, match=r"hyperdx\.allowed_paths"):
        link(SIGNED, path, {}, "acme", NOW)


@pytest.mark.parametrize("path", ["/search", "search/abc", "/dashboards/presets/x", "/chart", "/trace/b72e731d"])
def test_pages_with_telemetry_are_listed_by_default(path: str) -> None:
    """Search, dashboards, charts and traces need no setting."""
    assert isinstance(check(link(SIGNED, path, {}, "acme", NOW)), Verified)


@pytest.mark.parametrize(
    ("path", "wanted", "message"),
    [
        ("/search/" + "a" * 2048, {}, "path has 2056"),
        ("/search", {str(i): "" for i in range(51)}, "51 entries"),
        ("/search", {"q": "x" * MAX_URL_BYTES}, "at most 8000"),
        ("/search", {"q": "\ud800"}, "not Unicode"),
        ("/search", {"\udfff": ""}, "not Unicode"),
    ],
)
def test_what_is_too_much_is_refused(path: str, wanted: dict[str, str], message: str) -> None:
    """Sizes are bounded and texts are Unicode, so a link fits a request line and has one meaning."""
    with pytest.raises(InvalidRequest, match=message):
        link(SIGNED, path, wanted, "acme", NOW)


@pytest.mark.parametrize("org", ["", "\ud800"])
def test_a_link_is_made_for_an_organisation(org: str) -> None:
    """Without one, or with one that is no text, there is no tenant to sign."""
    with pytest.raises(InvalidRequest, match=r"[Oo]rganization"):
        link(SIGNED, "/search", {}, org, NOW)


def bent_targets() -> list[str]:
    good = target_of(link(SIGNED, "/search", {"q": "a"}, "acme", NOW))
    bad = ["", "/search", good[1:], f"http://hyperdx:3000{good}", f"/x/..{good}", f"/{good}", f"{good}#x", f"{good} "]
    bad += [good.replace("/search", "/%2Fsearch"), good.replace("/search", "/%2e/search"), good.replace("q=a", "q=%zz")]
    bad += [good.replace("q=a", "q=%"), good.replace("q=a", "q=%ff"), good.replace("q=a", "q=é"), good + "\n"]
    bad += [good.replace("org=acme", "o=acme"), good.replace("org=acme", "org="), good + "&x=" + "1" * MAX_URL_BYTES]
    expiries = ["", "0x1", "+1763136900", "01763136900", "1763136900.0", "%D9%A1", "-1", "1" * 13, "1_0", "%20 1"]
    return bad + [good.replace(f"expires={EXPIRES}", f"expires={text}") for text in expiries]


@pytest.mark.parametrize("target", bent_targets())
def test_targets_that_no_link_has_are_malformed(target: str) -> None:
    """What cannot be one of our links is refused before anything is compared, and nothing raises."""
    assert refused_as(verify(SIGNED, target, "hyperdx:3000", NOW)) is Refusal.MALFORMED


def test_an_encoded_slash_is_not_a_slash() -> None:
    """A server may read `/search%2Fabc` as one segment, so it is not the page that was signed."""
    good = target_of(link(SIGNED, "/search/abc", {}, "acme", NOW))
    assert refused_as(verify(SIGNED, good.replace("/abc", "%2Fabc"), "", NOW)) is Refusal.MALFORMED


@given(st.text(), st.text())
def test_verifying_never_raises(target: str, host: str) -> None:
    """Any text of a request is answered with a verdict."""
    for settings in (SIGNED, LEGACY):
        assert isinstance(verify(settings, target, host, NOW), Refused)
        assert isinstance(verify(settings, f"/search?{quote(target, '=&', errors='replace')}", host, NOW), Refused)


def test_a_signature_in_another_spelling_is_not_taken() -> None:
    """Padding or other last bits decode to the same digest; one link has one signature."""
    url = link(SIGNED, "/search", {}, "acme", NOW)
    assert refused_as(check(url + "%3D")) is Refusal.BAD_SIGNATURE
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(url[-1])
    sibling = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last ^ 1]
    decoded = [base64.urlsafe_b64decode(f"{end}="[-44:]) for end in (url[-43:], url[-43:-1] + sibling)]
    assert decoded[0] == decoded[1]
    assert refused_as(check(url[:-1] + sibling)) is Refusal.BAD_SIGNATURE


def test_the_signature_is_plain_hmac_sha256() -> None:
    """Another program can make and check links from the documented text alone."""
    text = f'["headrace-hyperdx-1","hyperdx:3000","/search","acme",{EXPIRES},[["q","a"]]]'
    digest = hmac.new(KEY.encode(), text.encode(), hashlib.sha256).digest()
    signature = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    expected = f"{BASE}/search?expires={EXPIRES}&org=acme&q=a&signature={signature}"
    assert link(SIGNED, "/search", {"q": "a"}, "acme", NOW) == expected
