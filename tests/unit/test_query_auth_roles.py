"""Roles: what their texts say is what they open, and no claim says more than its text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings_auth import ACTIONS, parse_role
from query_api.auth.roles import MAX_ROLES, readable_roles, tenants_of
from query_api.tenant import Action, Caller, Grant
from tests.unit.query_tokens import caller, signed

names = st.text(st.characters(codec="utf-8", exclude_characters="/:* ", exclude_categories=("C", "Z")), min_size=1)
places = st.lists(names, min_size=1, max_size=3)
near_roles = st.text(st.sampled_from("a/:*. logs\u00a0\n"), max_size=12) | st.text(max_size=12)


def opened(*texts: str) -> Caller:
    return Caller("x", tenants_of([parse_role(text) for text in texts]))


def test_actions_are_those_of_the_vocabulary() -> None:
    """Settings cannot import the query API's actions, so their copy is held to them."""
    assert set(ACTIONS) == set(Action)


@given(places, st.sampled_from(["", *ACTIONS]))
def test_a_role_opens_its_place_and_its_action(place: list[str], action: str) -> None:
    """Exactly the named place, for the named action or, without one, for every action."""
    role = "/".join(place)
    found = opened(f"{action}:{role}" if action else role)
    for each in Action:
        grants = (Grant(*place),) if action in ("", each) else ()
        assert found.tenant_for(each).grants == grants
        assert not found.tenant_for(each).is_unbound


@given(near_roles)
def test_a_role_is_never_wider_than_its_text(text: str) -> None:
    """What opens is spelt in the text whole: nothing is trimmed, skipped or completed."""
    try:
        role = parse_role(text)
    except ValueError:
        return
    prefix = "" if role.action == "*" else f"{role.action}:"
    assert prefix + ("/".join(role.place) or "*") == text
    assert len(role.place) <= 3
    assert all(role.place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "/",
        "acme/",
        "/acme",
        "acme//c",
        "acme/shop/",
        "a/b/c/d",
        " acme",
        "acme ",
        "acme /shop",
        "logs:",
        ":",
        ":acme",
        "*:acme",
        "*:*",
        "**",
        "acme*",
        "*/shop",
        "acme/*",
        "acme/*/c",
        "logs:*/x",
        "LOGS:acme",
        "logs :acme",
        "write:acme",
        "acme\n",
        "acme\x00",
        "\ud800",
        "a\u202eb",
        "x" * 801,
    ],
)
def test_a_role_that_is_not_spelt_right_is_none(text: str) -> None:
    """Nothing is guessed: an empty part is not "all of them"."""
    with pytest.raises(ValueError, match=r"."):
        parse_role(text)
    assert readable_roles([text]) == ([], [text])


def test_a_colon_behind_the_first_slash_belongs_to_a_name() -> None:
    """Projects may have one; an action stands at the very start only."""
    assert parse_role("acme/logs:x") == ("*", ("acme", "logs:x"))
    assert parse_role("logs:acme/traces:x") == ("logs", ("acme", "traces:x"))


def test_the_star_opens_everything_for_its_action_only() -> None:
    """`costs:*` is no way to logs."""
    found = opened("costs:*", "logs:acme")
    assert found.tenant_for(Action.COSTS).is_unbound
    assert found.tenant_for(Action.LOGS).grants == (Grant("acme"),)
    assert found.tenant_for(Action.TRACES).grants == ()


def test_names_are_resolved_to_ids() -> None:
    """The composition root's catalog turns what an operator wrote into what rows hold."""
    uid = {"acme": "u-1"}
    found = tenants_of([parse_role("acme/shop")], lambda grant: Grant(uid[grant.org], grant.project))
    assert found[0][1].grants == (Grant("u-1", "shop"),)


@pytest.mark.parametrize("wide", [Grant("acme"), Grant("", "shop"), Grant("acme", "shop", "cart")])
def test_a_resolver_cannot_widen_a_role(wide: Grant) -> None:
    """A project that is not found must not become its whole organisation."""
    with pytest.raises(ValueError, match="another kind of place"):
        tenants_of([parse_role("acme/shop")], lambda _: wide)


def test_there_is_an_end_to_roles() -> None:
    """What would make a filter without measure counts as wrong; a repeated role counts once."""
    roles, wrong = readable_roles([f"o{number % (MAX_ROLES + 5)}" for number in range(2 * MAX_ROLES)])
    assert len(roles) == MAX_ROLES
    assert set(wrong) == {f"o{MAX_ROLES + number}" for number in range(5)}


async def test_a_caller_without_roles_may_read_nothing() -> None:
    """Deny by default: a valid token is a caller, and opens nothing by itself."""
    assert (await caller(signed())).tenants == ()


@pytest.mark.parametrize(
    ("told", "grants"),
    [
        (["acme", "logs:beta/shop"], (Grant("acme"), Grant("beta", "shop"))),
        ("acme logs:beta/shop", (Grant("acme"), Grant("beta", "shop"))),
        ("  acme  ", (Grant("acme"),)),
        ("acme\u00a0beta", ()),
        ("acme\tbeta", ()),
        ("", ()),
        ([], ()),
        ([""], ()),
        (["acme beta"], (Grant("acme beta"),)),
        (["acme", "", "nonsense:x", None, 7, {}, ["beta"]], (Grant("acme"),)),
        ({"acme": True}, ()),
        (None, ()),
        (7, ()),
        (True, ()),
    ],
)
async def test_roles_are_read_from_the_claim(told: Any, grants: tuple[Grant, ...]) -> None:
    """A list or a text with blanks; what is anything else, or no role, opens nothing and takes nothing away."""
    assert (await caller(signed(headrace_roles=told))).tenant_for(Action.LOGS).grants == grants


async def test_the_issuer_may_say_everything() -> None:
    """`*` in the roles claim is signed by the issuer, so it holds; in another claim it is a text like any."""
    assert (await caller(signed(headrace_roles=["*"]))).tenant_for(Action.LINKS).is_unbound
    assert (await caller(signed(groups=["*"], roles="*"))).tenants == ()
    assert (await caller(signed(headrace_roles=["*"]), roles_claim="")).tenants == ()


@pytest.mark.parametrize(
    ("told", "is_given"),
    [
        ({"realm_access": {"roles": ["acme"]}}, True),
        ({"realm_access.roles": ["acme"]}, True),
        ({"realm_access.roles": [], "realm_access": {"roles": ["acme"]}}, False),
        ({"realm_access": [{"roles": ["acme"]}]}, False),
        ({"realm_access": "roles"}, False),
        ({"realm_access": None}, False),
        ({"roles": ["acme"]}, False),
    ],
)
async def test_dots_lead_into_claims(told: dict[str, Any], is_given: bool) -> None:
    """A claim with just that name comes first; nothing but objects is entered."""
    found = await caller(signed(**told), roles_claim="realm_access.roles")
    assert bool(found.tenants) == is_given


BINDINGS = [
    {"claim": "groups", "value": "admins", "roles": ["*"]},
    {"claim": "sub", "value": "robot", "roles": ["logs:acme"]},
    {"claim": "org.teams", "value": "a b", "roles": ["beta"]},
]


@pytest.mark.parametrize(
    "told",
    [
        {"groups": ["admins-of-nothing"]},
        {"groups": ["admin"]},
        {"groups": ["Admins"]},
        {"groups": ["admins "]},
        {"groups": "users admins"},
        {"groups": "users,admins"},
        {"groups": ["users admins"]},
        {"groups": {"admins": True}},
        {"groups": [["admins"]]},
        {"groups": [{"name": "admins"}]},
        {"groups": [None, 1, True, ""]},
        {"groups": ""},
        {"groups": 1},
        {"group": ["admins"]},
        {"sub": "robot-2"},
        {"nested": {"groups": ["admins"]}},
    ],
)
async def test_a_binding_needs_the_whole_value(told: dict[str, Any]) -> None:
    """No part of a text, no key of an object, no other case: equal, or an item that is equal."""
    assert (await caller(signed(**told), bindings=BINDINGS)).tenants == ()


async def test_bindings_give_roles_to_users_and_service_accounts() -> None:
    """Groups of users, subjects of accounts, and claims inside others; all that hold are taken together."""
    assert (await caller(signed(groups=["x", "admins"]), bindings=BINDINGS)).tenant_for(Action.COSTS).is_unbound
    assert (await caller(signed(groups="admins"), bindings=BINDINGS)).tenant_for(Action.COSTS).is_unbound
    robot = await caller(signed(sub="robot", org={"teams": ["a b"]}, headrace_roles="gamma"), bindings=BINDINGS)
    assert robot.tenant_for(Action.LOGS).grants == (Grant("acme"), Grant("beta"), Grant("gamma"))
    assert robot.tenant_for(Action.TRACES).grants == (Grant("beta"), Grant("gamma"))
