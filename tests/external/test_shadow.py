"""`headrace deliver --sink opensearch` on real Kafka, ClickHouse and OpenSearch: beside the store, never in its way."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from bridge.model import OTLP_SIGNALS
from bridge.sampling import Sampling
from tests.chaos_kafka import TABLES, load
from tests.fleet import SHADOW, Documents, Fleet, Tables, fleet
from tests.kafka_service import KafkaBroker, start_kafka
from tests.load import Book
from tests.opensearch_service import OpenSearchNode, start_opensearch
from tests.services import ClickHouseServer, skipped_if_unavailable

pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]
OUTAGE_SECONDS = 8.0
POISON = "400"


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with skipped_if_unavailable(), start_kafka() as broker:
        yield broker


@pytest.fixture
def node() -> Iterator[OpenSearchNode]:
    """One that can be killed."""
    with skipped_if_unavailable(), start_opensearch() as node:
        yield node


def hosts(node: OpenSearchNode) -> dict[str, str]:
    return {"opensearch__hosts": json.dumps([node.url])}


async def reset(made: Fleet) -> None:
    """The shadow's group starts again from the beginning of every partition."""
    topics = [f"{made.name}-{signal.topic}" for signal in OTLP_SIGNALS]
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(4)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=made.broker.address, group_id=f"{made.name}-shadow", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign(partitions)
    await consumer.commit({partition: OffsetAndMetadata(0, "") for partition in partitions})
    await consumer.stop()


def test_an_outage_delays_only_the_shadow_and_redelivery_doubles_nothing(
    tmp_path: Path, broker: KafkaBroker, clickhouse: ClickHouseServer, node: OpenSearchNode
) -> None:
    """OpenSearch is killed under load and comes back; then all is delivered to it three times more, cut otherwise.

    Rows that the store refused are put back from its dead letters meanwhile, which the shadow has already.
    """
    name = "shadowed"
    extra = hosts(node) | {"deliver__max_dead_letters_per_minute": "1000000"}
    with fleet(tmp_path, broker, clickhouse, name, **extra) as made:
        made.start(receivers=1, delivers=1)
        made.add(SHADOW).wait_until_up()
        tables, documents = Tables(clickhouse, name), Documents(node, name)
        tables.wait()
        tables.refuse(POISON)
        book = Book()

        async def suffer() -> None:
            async with load(made, book, 1, 0.1):
                await asyncio.sleep(1.0)
                await asyncio.to_thread(node.kill)
                await asyncio.sleep(OUTAGE_SECONDS)
                # before the store's own lane has caught up, the shadow is still down
                await asyncio.to_thread(made.wait_until, lambda: len(tables.counts("otel_logs")) > 100, "written")
                assert not made.is_drained(made.shadows)
                await asyncio.to_thread(node.start)

        asyncio.run(suffer())
        made.wait_until(made.is_drained, "drained")
        for table in TABLES.values():
            tables.run(f"ALTER TABLE {name}.{table} DROP CONSTRAINT no_poison")
        assert made.run("dlq", "replay").returncode == 0
        made.wait_until(lambda: made.is_drained() and made.is_drained(made.shadows), "drained with the shadow")
        same_ids(tables, documents, book)
        for rows in (97, 1_009, 20_000):
            made.shadows[0].stop()
            asyncio.run(reset(made))
            made.shadows[0].settings |= {"HEADRACE_DELIVER__MAX_ROWS": str(rows)}
            made.shadows[0].start()
            made.wait_until(lambda: made.is_drained(made.shadows), "drained again")
            same_ids(tables, documents, book)
        ledger = made.check_ledger()
        assert ledger.returncode == 0, ledger.stdout
        assert made.shadows[0].metric("bridge_sink_sent_items_total", sink="opensearch") >= book.total_acknowledged
        tables.close()


def same_ids(tables: Tables, documents: Documents, book: Book) -> None:
    """Each acknowledged item is in both stores, once."""
    for signal in OTLP_SIGNALS:
        found, stored = documents.counts(signal), tables.counts(TABLES[signal])
        assert book.acknowledged[signal] <= found.keys()
        assert found == stored
        assert set(found.values()) == {1}


def test_a_partial_shadow_holds_its_share_and_no_more(
    tmp_path: Path, broker: KafkaBroker, clickhouse: ClickHouseServer, node: OpenSearchNode
) -> None:
    """By organisation and by trace: what it has is what the same rule finds in the store."""
    name = "sampled"
    sample = {"opensearch__sample__organizations": '["org-0", "org-2"]', "opensearch__sample__trace_ratio": "0.3"}
    with fleet(tmp_path, broker, clickhouse, name, **hosts(node), **sample) as made:
        made.start(receivers=1, delivers=1)
        made.add(SHADOW).wait_until_up()
        tables, documents = Tables(clickhouse, name), Documents(node, name)
        tables.wait()
        book = Book()

        async def send() -> None:
            async with load(made, book, 2, 0.05):
                await asyncio.sleep(3.0)

        asyncio.run(send())
        made.wait_until(lambda: made.is_drained() and made.is_drained(made.shadows), "drained")
        condition = Sampling(("org-0", "org-2"), 0.3).condition
        for signal in OTLP_SIGNALS:
            found = documents.counts(signal)
            assert found == tables.counts(f"{TABLES[signal]} WHERE {condition}")
            assert 0 < len(found) < len(book.acknowledged[signal])
        tables.close()
