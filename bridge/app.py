"""The composition root: the only place that meets concrete logs, sinks and listeners.

Opened downstream first, left in reverse: sink, log, deliver, receivers. A soft stop closes the receivers (calls under
way finish), then lets deliver write what it has in hand, then closes the rest; what is left stays in the log. Past
`stop_seconds` the process ends at once with status 1, which is safe: what was accepted is in the log.
"""

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bridge.admin import Check, open_admin
from bridge.admission import Budget
from bridge.batch import BatchPolicy
from bridge.deliver import Deliver, DeliverPolicy
from bridge.health import Health
from bridge.ingest import Ingest
from bridge.log.embedded import EmbeddedLog, open_embedded_log
from bridge.otlp.grpc import open_grpc
from bridge.otlp.http import open_http
from bridge.otlp.receiver import Receiver
from bridge.settings import Settings
from bridge.telemetry import Metrics
from enrichers import Enricher, compose, load_enricher
from enrichers.catalog import Catalog, DataPlane, single_plane_catalog
from enrichers.catalog_file import CatalogFile, open_catalog
from enrichers.redaction import RedactionRules
from enrichers.tenancy import limit_attributes, place
from sinks.clickhouse import ClickHouseSink, open_clickhouse

logger = logging.getLogger(__name__)
