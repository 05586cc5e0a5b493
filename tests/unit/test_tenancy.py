"""Where a resource belongs: spellings, decisions, and what a sender cannot talk its way into."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from enrichers.catalog import Catalog, DataPlane, parse_catalog, single_plane_catalog
from enrichers.tenancy import SPELLINGS, limit_attributes, place
from enrichers.verdict import Placement, Rejection

CATALOG = parse_catalog("""
organizations = [{ name = "acme", uid = "u-acme" }, { name = "globex", uid = "u-globex" }, { name = "plain" }]
projects = [{ organization = "acme", name = "shop", uid = "u-shop" },
            { organization = "globex", name = "shop", uid = "u-other" }]
components = [{ organization = "acme", project = "shop", name = "api", uid = "u-api" }]
environments = [{ organization = "acme", name = "prod" }]
data_planes = [{ id = "eu", organizations = ["acme", "plain"], default_organization = "acme" },
               { id = "bare", organizations = ["acme"] }]
""")
EU, BARE = CATALOG.planes


def resource(*pairs: tuple[str, Any]) -> Resource:
    made = Resource()
    for key, value in pairs:
        target = made.attributes.add(key=key).value
        if isinstance(value, int):
            target.int_value = value
        else:
            target.string_value = value
    return made


def pairs(of: Resource) -> list[tuple[str, str]]:
    return [(pair.key, pair.value.string_value) for pair in of.attributes]


def placed(of: Resource, plane: DataPlane = EU, catalog: Catalog = CATALOG) -> Placement:
    verdict = place(of, plane, catalog)
    assert isinstance(verdict, Placement), verdict
    return verdict


@pytest.mark.parametrize("key", [key for key, (kind, _, _) in SPELLINGS.items() if kind == "organization"])
@pytest.mark.parametrize("value", ["acme", "u-acme"])
def test_every_spelling_of_an_organisation_is_understood(key: str, value: str) -> None:
    """Name or uid, under any label or attribute, becomes the canonical id, once."""
    found = resource((key, value), ("other", "x"))
    assert placed(found, BARE).org == "u-acme"
    assert pairs(found).count(("organization.id", "u-acme")) == 1


@pytest.mark.parametrize(
    "keys",
    [
        ("openchoreo.dev/project", "openchoreo.dev/component", "openchoreo.dev/environment"),
        ("openchoreo_dev/project-uid", "openchoreo_dev/component-uid", "openchoreo_dev/environment"),
        ("project-name", "component-name", "environment-name"),
        ("k8s.pod.label.project-name", "k8s.pod.labels.component-name", "kubernetes.labels.environment-name"),
        ("k8s.pod.labels.openchoreo.dev/project", "k8s.pod.labels.openchoreo.dev/component", "environment.id"),
    ],
)
def test_every_generation_of_labels_is_placed(keys: tuple[str, str, str]) -> None:
    """Projects, components and environments of all generations end in the canonical attributes."""
    values = ("u-shop", "u-api", "prod") if keys[0].endswith("uid") else ("shop", "api", "prod")
    found = resource(*zip(keys, values, strict=True))
    assert placed(found) == Placement("u-acme", "u-shop", "u-api", "prod")
    assert {("project.id", "u-shop"), ("component.id", "u-api"), ("environment.id", "prod")} <= set(pairs(found))


@pytest.mark.parametrize("claim", ["globex", "u-globex", "nobody", "ACME", "acme\u200b", "acm\u0435"])
def test_an_organisation_that_is_not_the_planes_is_rejected(claim: str) -> None:
    """By name, by uid, unknown, in another case, with invisible or look-alike letters."""
    verdict = place(resource(("organization.id", claim)), EU, CATALOG)
    assert isinstance(verdict, Rejection)
    assert verdict.reason in ("organization_not_allowed", "claim_invalid")


def test_the_most_trusted_claim_decides_and_others_cannot_widen_it() -> None:
    """An allowed name beside another organisation's uid, or the reverse, never reaches the other organisation."""
    spoofed = resource(("openchoreo.dev/namespace", "globex"), ("organization-id", "u-acme"))
    assert isinstance(place(spoofed, EU, CATALOG), Rejection)
    spoofed = resource(("organization.id", "acme"), ("organization-id", "u-globex"), ("organization-name", "globex"))
    assert placed(spoofed).org == "u-acme"
    assert not any("globex" in value for _, value in pairs(spoofed))


def test_claims_that_contradict_the_decision_are_removed() -> None:
    """Duplicates and other spellings with other values go; those that agree stay, once."""
    found = resource(
        ("organization.id", "acme"),
        ("organization.id", "globex"),
        ("openchoreo.dev/namespace", "acme"),
        ("k8s.pod.label.organization-name", "globex"),
        ("data_plane.id", "us"),
        ("project-name", "shop"),
        ("project-name", "shop"),
        ("project.id", "elsewhere"),
        ("service.name", "api"),
    )
    placed(found)
    assert pairs(found) == [
        ("openchoreo.dev/namespace", "acme"),
        ("project-name", "shop"),
        ("service.name", "api"),
        ("organization.id", "u-acme"),
        ("project.id", "u-shop"),
        ("organization.name", "acme"),
        ("project.name", "shop"),
        ("data_plane.id", "eu"),
    ]


def test_without_a_claim_the_planes_default_counts() -> None:
    """And without a default there is nothing to store it under."""
    assert placed(resource()).org == "u-acme"
    verdict = place(resource(), BARE, CATALOG)
    assert isinstance(verdict, Rejection)
    assert verdict.reason == "organization_missing"


def test_a_project_is_looked_up_in_its_own_organisation_only() -> None:
    """Two organisations may each have a project of the same name, with different ids."""
    assert placed(resource(("project-name", "u-other"))).project == "u-other"  # just a text here, not globex's project
    assert placed(resource(("project-name", "shop"))).project == "u-shop"


def test_names_the_catalog_does_not_know_take_the_records_uid() -> None:
    """New projects need no entry: their own uid is the id, and the name stays readable."""
    found = resource(("openchoreo.dev/project", "new"), ("openchoreo.dev/project-uid", "u-new"))
    assert placed(found).project == "u-new"
    assert ("project.name", "new") in pairs(found)


def test_numbers_are_claims_and_other_values_are_not() -> None:
    """Some writers send ids as integers; an empty or a nested value says nothing."""
    assert placed(resource(("project.id", 42))).project == "42"
    nested = Resource()
    nested.attributes.add(key="project.id").value.array_value.values.add(string_value="x")
    nested.attributes.add(key="component.id").value.string_value = "  "
    assert placed(nested) == Placement("u-acme")
    assert [key for key, _ in pairs(nested)] == ["organization.id", "organization.name", "data_plane.id"]


@pytest.mark.parametrize("value", ["x" * 257, "a\nb", "a\x00b"])
def test_ids_that_cannot_be_ids_are_rejected(value: str) -> None:
    """Too long, or with control characters: told, not stored."""
    verdict = place(resource(("component.id", value)), EU, CATALOG)
    assert isinstance(verdict, Rejection)
    assert verdict.reason == "claim_invalid"


def test_the_local_plane_believes_what_it_is_told() -> None:
    """Without a catalog any organisation may be claimed, and the default is for those that claim none."""
    catalog, plane = single_plane_catalog("home")
    assert placed(resource(("openchoreo.dev/namespace", "any")), plane, catalog).org == "any"
    assert placed(resource(), plane, catalog).org == "home"


def test_too_many_attributes_are_rejected_by_count() -> None:
    """The limit is exact and names itself."""
    limit = limit_attributes(2)
    assert limit(resource(("a", "1"), ("b", "2")), EU, CATALOG) is None
    verdict = limit(resource(("a", "1"), ("b", "2"), ("c", "3")), EU, CATALOG)
    assert isinstance(verdict, Rejection)
    assert "at most 2" in verdict.message


VALUES = st.sampled_from(["acme", "u-acme", "globex", "u-globex", "shop", "u-shop", "api", "x", "", " acme ", "plain"])
KEYS = st.sampled_from([*SPELLINGS, "data_plane.id", "service.name", "other"])


@given(st.lists(st.tuples(KEYS, VALUES), max_size=12))
def test_whatever_is_claimed_the_result_is_one_allowed_place(claims: list[tuple[str, str]]) -> None:
    """One canonical attribute of each kind, an organisation the plane may write, the credential's plane, no spoof
    left; unrelated attributes in order; and doing it again changes nothing."""
    found = resource(*claims)
    verdict = place(found, EU, CATALOG)
    if isinstance(verdict, Rejection):
        assert pairs(found) == claims
        return
    assert verdict is not None
    after = pairs(found)
    assert verdict.org in {"u-acme", "plain"}
    assert [value for key, value in after if key == "organization.id"] == [verdict.org]
    assert [value for key, value in after if key == "data_plane.id"] == ["eu"]
    keys = [key for key, _ in after if key in SPELLINGS]
    assert len(keys) == len(set(keys))
    own = {"u-acme": {"acme", "u-acme"}, "plain": {"plain"}}[verdict.org]
    assert {value.strip() for key, value in after if SPELLINGS.get(key, ("",))[0] == "organization"} <= own
    assert [pair for pair in after if pair[0] in ("service.name", "other")] == [
        pair for pair in claims if pair[0] in ("service.name", "other")
    ]
    assert place(found, EU, CATALOG) == verdict
    assert pairs(found) == after
