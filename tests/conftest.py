"""Fixtures and rules for every test: real services, started once, and what happens where they cannot be had."""

from tests.kafka_service import kafka
from tests.services import chdb_path, clickhouse, pytest_runtest_call

__all__ = ["chdb_path", "clickhouse", "kafka", "pytest_runtest_call"]
