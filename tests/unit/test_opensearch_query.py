"""Questions as filters of OpenSearch: what stands in a pattern, whose documents, and where a page goes on."""

from collections.abc import Iterator

import pytest

from bridge.documents import CONCEPTS, Document, Family, layout_of
from bridge.model import Signal
from query_api.errors import InvalidRequest
from query_api.opensearch_clauses import EVERYTHING, is_exact_pattern, leaves, may_be_level, one_of, substring, words_of
from query_api.opensearch_places import own_columns, own_place
from query_api.opensearch_query import OTHERS_BLOCK, from_order, log_sort, order_of, span_sort, times
from query_api.opensearch_readable import Readable
from query_api.opensearch_scope import MAX_LEAVES, granted, others, own
from query_api.scoping import Asked, Depth, Scope
from query_api.sides import OPENSEARCH_BLOCK
from query_api.storage import LogRow, Position
from query_api.tenant import EVERYTHING as ALL
from query_api.tenant import NOTHING, Grant, Tenant


@pytest.mark.parametrize(
    ("text", "pattern", "is_exact"),
    [
        ("plain", "*plain*", True),
        ("a*b?c", "*a\\*b\\?c*", True),
        ("C:\\temp", "*C:?temp*", False),
        ("a\x00b", "*a?b*", False),
        ("\u03a3", "*?*", False),
        ("x" * 500, f"*{'x' * 200}*", False),
    ],
)
def test_a_phrase_is_no_pattern(text: str, pattern: str, is_exact: bool) -> None:
    """Stars and marks are themselves; what cannot be said exactly is known not to be."""
    assert substring("log", text) == {"wildcard": {"log": {"value": pattern}}}
    assert is_exact_pattern(text) is is_exact


def test_words_of_a_phrase_are_its_runs_of_letters_and_digits() -> None:
    """Whatever tokenizer there was: each run is in one word, in any case; a phrase of none narrows nothing."""
    assert words_of("log", "  \u4e2d * ") == EVERYTHING
    clause = words_of("log", "Nection fail* Nection")
    assert [each["wildcard"]["log"]["value"] for each in clause["bool"]["filter"]] == ["*nection*", "*fail*"]


def test_lines_of_a_level_are_looked_for_by_every_word_that_says_it() -> None:
    """Words that others contain stand for them; without a level every line may be meant."""
    assert may_be_level("log", ["", "ERROR"]) == EVERYTHING
    wildcards = [each for each in may_be_level("log", ["ERROR"])["bool"]["should"] if "wildcard" in each]
    assert [each["wildcard"]["log"]["value"] for each in wildcards] == ["*err*", "*severe*", "E???? ??:??:??*"]


def test_an_empty_text_is_the_field_that_is_not_there() -> None:
    """As a text that is too long to be indexed is not."""
    missing = {"bool": {"must_not": [{"exists": {"field": "f"}}]}}
    assert one_of("f", [""]) == missing
    assert one_of("f", ["x" * 9_000]) == missing
    assert one_of("f", []) == {"match_none": {}}


def test_a_tenant_is_its_grants_and_nothing_is_nothing() -> None:
    """Of our documents by ids; projects and components together where they are of one organisation or project."""
    assert granted(NOTHING, own).clause == {"match_none": {}}
    assert granted(ALL, own).clause == EVERYTHING
    found = granted(Tenant.of("a", "b", "c/p", "c/q", "d/p/x", "d/p/y"), own)
    assert found.is_exact
    assert found.clause["bool"]["should"] == [
        {"bool": {"filter": [{"terms": {"headrace.org": ["a", "b"]}}]}},
        {"bool": {"filter": [{"terms": {"headrace.org": ["c"]}}, {"terms": {"headrace.project": ["p", "q"]}}]}},
        {
            "bool": {
                "filter": [
                    {"terms": {"headrace.org": ["d"]}},
                    {"terms": {"headrace.project": ["p"]}},
                    {"terms": {"headrace.component": ["x", "y"]}},
                ]
            }
        },
    ]


def test_too_many_roles_are_a_wider_filter_that_says_so() -> None:
    """Lucene takes 1,024 clauses: then rows are told apart one by one."""
    tenant = Tenant(tuple(Grant(f"o{n}", "p", f"c{n}") for n in range(500)))
    for is_one_of in (own, others(layout_of(Family.BC), Signal.LOGS)):
        found = granted(tenant, is_one_of)
        assert not found.is_exact
        assert leaves(found.clause) <= MAX_LEAVES


def test_a_worse_label_counts_only_without_a_better_one() -> None:
    """The name of a project decides where there is no id."""
    clause = others(layout_of(Family.BC), Signal.LOGS)("project", ["p"])
    better, worse = "kubernetes.labels.openchoreo_dev/project-uid", "kubernetes.labels.openchoreo_dev/project"
    assert clause["bool"]["should"] == [
        {"bool": {"filter": [{"terms": {better: ["p"]}}]}},
        {"bool": {"filter": [{"terms": {worse: ["p"]}}, {"bool": {"must_not": [{"exists": {"field": better}}]}}]}},
    ]


def test_a_page_goes_on_at_the_number_of_its_last_row() -> None:
    """Once more, since other shards may have it too; others' rows come behind ours of a millisecond."""
    ours = order_of(Position(5_000_001, OPENSEARCH_BLOCK | 7, 9))
    theirs = order_of(Position(5_000_000, OPENSEARCH_BLOCK | OTHERS_BLOCK | 7, 9))
    assert ours == (5, 5_000_001, 7, 9, 0)
    assert ours < theirs == (5, 2**63 - 1, 2**63 - 1, 9, 7)
    assert from_order(ours, is_descending=False) == [5, 5_000_001, 7, 8]
    assert from_order(theirs, is_descending=True) == [5, 2**63 - 1, 2**63 - 1, 10]
    with pytest.raises(InvalidRequest):
        order_of(Position(5, 7, 9))


@pytest.mark.parametrize("is_descending", [True, False])
def test_an_order_by_time_says_what_no_time_is(is_descending: bool) -> None:
    """Without it OpenSearch leaves out shards whose rows of one time are better by the next key."""
    for sort in (log_sort(is_descending=is_descending), span_sort(is_descending=is_descending)):
        (first,) = sort[0].values()
        assert first["missing"] == 0


def test_times_out_of_reach_are_the_nearest_that_can_be_asked() -> None:
    """date_nanos holds 1970 to 2262."""
    assert times("t", None, None) == EVERYTHING
    assert times("t", None, -1) == {"match_none": {}}
    assert times("t", -(2**80), None)["range"]["t"]["gte"] == "1970-01-01T00:00:00Z"
    assert times("t", 2**80, None)["range"]["t"]["gte"].startswith("2262-")


class Rows(tuple[tuple[str, str, str, str], ...]):
    """Places that count how often somebody goes through them."""

    __slots__ = ()
    asked = 0

    def __iter__(self) -> Iterator[tuple[str, str, str, str]]:
        Rows.asked += 1
        return super().__iter__()


def test_a_row_does_not_go_through_all_places_of_a_question() -> None:
    """10,000 places times the rows of an export kept everybody waiting for half a second a block."""
    rows = Rows(("acme", f"p{number}", "api", "dev") for number in range(100))
    scope = Scope(rows, Depth(by_project=True, by_component=True, by_environment=True))
    readable = Readable(layout_of(Family.A), Signal.LOGS, ALL, Asked(components=("api",)), scope)
    own: Document = {"headrace": {"row": {}}}
    before = Rows.asked
    for project, environment, is_in in (("p7", "dev", True), ("p100", "dev", False), ("p7", "prod", False)):
        row = LogRow(Position(0, 0, 0), "", "", "acme", project, "api", environment)
        assert readable.has(own, row) is is_in
    assert Rows.asked == before


@pytest.mark.parametrize("forged", [[{"org_name": "a"}, {"org_name": "b"}], {"received_unix_milli": "12"}, None])
def test_a_forged_object_costs_nobody_the_list_of_places(forged: object) -> None:
    """What is no name or time of ours says nothing; the place is told by its ids."""
    key = {"org": "acme", "project": None, "component": None, "environment": None}
    bucket = {"key": key, "newest": {"hits": {"hits": [{"_source": {"headrace": forged}}]}}}
    found = own_place(own_columns(CONCEPTS), bucket)
    assert (found.org, found.org_name, found.last_seen_unix_nano) == ("acme", "acme", 0)
