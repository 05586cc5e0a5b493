"""`headrace migrate shadow|backup|cutover|rollback|routes|status` on real servers: what is kept, and what is told."""

import json

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from bridge.assembly import kafka_settings
from bridge.errors import SinkUnavailable
from bridge.log.kafka_appender import open_kafka_appender
from bridge.log.kafka_client import check_topics, open_admin_client
from bridge.log.kafka_lag import group_lag
from bridge.migration.state import Kind
from bridge.model import Record, Signal
from bridge.settings import load_settings
from query_api.sides import EVERYONE, Route, Side
from tests.closing import days_ago, migrating
from tests.kafka_service import KafkaBroker
from tests.opensearch_service import OpenSearchNode
from tests.services import ClickHouseServer

pytestmark = pytest.mark.external


def test_a_shadow_starts_once_and_stops_once(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """Starting or stopping again changes nothing; status counts both sides by day; without Kafka it says so."""
    with migrating(clickhouse, opensearch) as here:
        here.settings["HEADRACE_KAFKA__BOOTSTRAP_SERVERS"] = '["127.0.0.1:9"]'
        assert here.run("shadow", "status").returncode == 1
        here.done("shadow", "start", "--at", "2026-01-31T12:00:00Z")
        assert "nothing was changed" in here.done("shadow", "start")
        assert len(here.state.events(Kind.SHADOW)) == 1
        value = here.state.latest(Kind.SHADOW)["opensearch"].value
        assert (value["started_at"], value["running"], value["family"]) == ("2026-01-31T12:00:00Z", True, "a")
        assert value["cluster"] == here.ask("GET", "/")["cluster_uuid"]

        here.fill(days_ago(1), documents=4)
        here.fill(days_ago(1), kind="spans", documents=2)
        here.connection.run(
            f"INSERT INTO {here.name}.otel_logs (Timestamp, Body) VALUES ('{days_ago(1)} 12:00:00', 'there')"
        )
        told = here.done("shadow", "status", "--days", "2")
        assert "since 2026-01-31T12:00:00Z" in told
        assert "lag of the group headrace-opensearch: not known" in told
        lines = {tuple(line.split()[:2]): line.split()[2:] for line in told.splitlines()}
        assert lines["logs", str(days_ago(1))] == ["4", "1", "-3"]
        assert lines["traces", str(days_ago(1))] == ["2", "0", "-2"]
        assert lines["logs", str(days_ago(0))] == ["0", "0", "+0"]

        assert "nothing was deleted" in here.done("shadow", "stop")
        assert "nothing was changed" in here.done("shadow", "stop")
        assert len(here.state.events(Kind.SHADOW)) == 2
        assert len(here.there()) == 2


def test_an_organisation_goes_over_by_steps_and_back_at_once(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """Refused without a report; then the next step each time, before and after told; a rollback takes all back."""
    with migrating(clickhouse, opensearch) as here:
        here.settings |= {"HEADRACE_QUERY__STORAGE": "opensearch", "HEADRACE_QUERY__DUAL__RELOAD_SECONDS": "3"}
        refused = here.run("cutover", "--org", "org1")
        assert refused.returncode == 1
        assert "there is no report of the organisation org1" in refused.stderr
        assert here.state.events(Kind.ROUTE) == []

        here.report(days_ago(3), days_ago(1))
        told = here.done("cutover", "--org", "org1", "--reason", "first")
        assert "org1: before 100 % opensearch (by query.storage, no route was set)" in told
        assert "org1: now    5 % clickhouse, 95 % opensearch (first)" in told
        assert "within 3 s" in told
        assert "20 % clickhouse" in here.done("cutover", "--org", "org1")
        here.done("cutover", "--org", EVERYONE, "--percent", "100")
        event = here.state.latest(Kind.ROUTE)[EVERYONE]
        assert Route.of(EVERYONE, event.value, "", 0) == Route(EVERYONE, Side.CLICKHOUSE)
        assert event.value["report"]

        here.done("rollback", "--org", EVERYONE, "--reason", "slow")
        routes = [json.loads(line) for line in here.done("routes", "--json").splitlines()]
        assert {(each["org"], each["primary"], each["percent"]) for each in routes} == {
            (org, "opensearch", 100) for org in (EVERYONE, "org1")
        }


def test_a_forged_report_opens_nothing(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """A verdict that was changed in the table does not let anybody over; forcing it is kept with its reason."""
    with migrating(clickhouse, opensearch) as here:
        here.report(days_ago(3), days_ago(1), passed=False)
        kept = next(iter(here.state.latest(Kind.REPORT).values()))
        here.state.put(Kind.REPORT, kept.key, {**kept.value, "passed": True})
        refused = here.run("cutover", "--org", "org1", "--percent", "5")
        assert "was changed" in refused.stderr
        here.done("cutover", "--org", "org1", "--percent", "5", "--force", "--reason", "drill")
        assert "drill" in here.state.latest(Kind.ROUTE)["org1"].value["reason"]


def test_a_backup_is_checked_where_the_server_knows_it(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """Known and created: verified; unknown: recorded as somebody's word; failed: not recorded."""
    with migrating(clickhouse, opensearch) as here:
        assert here.run("backup", "check").returncode == 1
        here.connection.run(f"BACKUP DATABASE {here.name} TO Memory('{here.name}')")
        assert "recorded" in here.done("backup", "record", "--name", "before", "--reference", here.name)
        here.done("backup", "record", "--name", "tape", "--reference", "s3://bucket/monday", "--at", "2026-01-31")
        told = here.done("backup", "check")
        assert f"backup before ({here.name})" in told
        assert "verified: system.backups says BACKUP_CREATED" in told
        assert "UNVERIFIED: the server does not know it" in told
        assert "ClickHouse keeps logs for 30 days" in told
        assert "ClickHouse keeps traces for 30 days" in told
        sql = f"BACKUP DATABASE {here.name} TO Disk('none', '{here.name}-bad')"
        with pytest.raises(SinkUnavailable, match="allowed_disk"):
            here.connection.run(sql)
        failed = here.run("backup", "record", "--name", "bad", "--reference", f"{here.name}-bad")
        assert failed.returncode == 1
        assert "FAILED: system.backups says BACKUP_FAILED" in failed.stdout
        assert "bad" not in here.state.latest(Kind.BACKUP)


def test_status_tells_every_phase_and_works_without_opensearch(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """What is done, by whom and what is next, for people and for machines, from the state alone."""
    with migrating(clickhouse, opensearch) as here:
        here.shadow()
        here.report(days_ago(3), days_ago(1))
        here.settings["HEADRACE_OPENSEARCH__HOSTS"] = '["http://127.0.0.1:9"]'
        told = json.loads(here.done("status", "--json"))
        names = ["shadow", "backfill", "validate", "cutover", "archive", "backup", "teardown"]
        assert [phase["phase"] for phase in told["phases"]] == names
        assert [phase["phase"] for phase in told["phases"] if phase["done"]] == ["shadow", "validate"]
        assert told["next"] == "headrace migrate backfill"
        assert "next: headrace migrate backfill" in here.done("status")


async def test_the_lag_is_what_the_group_has_not_delivered(kafka: KafkaBroker) -> None:
    """Records behind the commits, of each signal; a signal that was never committed has none; asking moves nothing."""
    settings = kafka_settings(
        load_settings(
            None,
            {
                "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": f'["{kafka.address}"]',
                "HEADRACE_KAFKA__TOPIC_PREFIX": "lag-test.",
                "HEADRACE_KAFKA__REPLICATION_FACTOR": "1",
            },
        )
    )
    async with open_admin_client(settings) as admin:
        await check_topics(admin, settings)
    async with open_kafka_appender(settings) as appender:
        await appender.append([Record(Signal.LOGS, "org1", "p", 1, 1, b"x") for _ in range(5)])
    assert await group_lag(settings, "lag-test") == {Signal.TRACES: None, Signal.LOGS: None}
    topic = settings.topic(Signal.LOGS.topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.address, group_id="lag-test", enable_auto_commit=False)
    await consumer.start()
    try:
        parts = [TopicPartition(topic, number) for number in range(settings.partitions)]
        ends = await consumer.end_offsets(parts)
        full = next(part for part, end in ends.items() if end == 5)
        consumer.assign(parts)
        await consumer.commit({full: 2})
    finally:
        await consumer.stop()
    for _ in range(2):
        assert await group_lag(settings, "lag-test") == {Signal.TRACES: None, Signal.LOGS: 3}
