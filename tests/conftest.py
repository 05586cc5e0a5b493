"""Fixtures and rules for every test: real services, started once, and what happens where they cannot be had."""

from tests.kafka_service import kafka
from tests.opensearch_service import opensearch
from tests.services import chdb_path, clickhouse, pytest_runtest_call

__all__ = ["chdb_path", "clickhouse", "kafka", "opensearch", "pytest_runtest_call"]
