"""schemathesis finds nothing: the running API, over a real server, does what its own OpenAPI document says."""

import asyncio
import sys
from pathlib import Path
from typing import Final

import pytest

from bridge.settings_links import HyperDX
from query_api.api import Rules
from tests import processes
from tests.clickhouse_storage import opened_server
from tests.contracts.observer_vectors import the_data
from tests.query_server import known, serving
from tests.services import ClickHouseServer

pytestmark = [pytest.mark.external, pytest.mark.timeout(180)]
LINKS: Final = HyperDX.model_validate({"base_url": "http://hyperdx:3000", "signing_key": "0123456789abcdef"})
# A rule between members (times in order, at most 30 days, one of several has to be
# there, a page is among hyperdx.allowed_paths) cannot be said in JSON schema, so data that fit it may be refused.
RULES_BETWEEN: Final = (
    *(
        f"POST /api/logs/{path}"
        for path in ("component/{componentId}", "project/{projectId}", "org/{orgId}", "gateway")
    ),
    *("GET /api/logs/export/csv", "POST /api/traces/component", "POST /api/hyperdx/link", "POST /api/v1/logs/query"),
    *("POST /api/v1alpha1/traces/query", "POST /api/v1alpha1/traces/{traceId}/spans/query"),
)
# Checks that are left out of one operation; everything else schemathesis has is run.
CONFIG: Final = "".join(
    f'[[operations]]\ninclude-name = "{name}"\nchecks.positive_data_acceptance.enabled = false\n'
    + ("checks.allow_header_conformance.enabled = false\n" if name.endswith("/spans/query") else "")
    for name in RULES_BETWEEN
)  # and `Allow`: a GET of .../spans/query is one of a span with the id `query`, as it is in Go's mux
EXAMPLES: Final = 25
SEED: Final = 20251114


async def test_schemathesis_finds_nothing(clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    """Examples, coverage of the schema, fuzzing and stateful phases, valid and invalid data, with a fixed seed."""
    async with opened_server(clickhouse.http_port) as store:
        await store.write(the_data())
        rules = Rules(hyperdx=LINKS)
        async with serving(store.storage, rules=rules, callers=known({"portal": ["acme", "default"]})) as served:
            status, told = await run(f"{served.main}/openapi.json", tmp_path)
    assert status == 0, told
    assert len(served.observed) > 1000


async def run(url: str, directory: Path) -> tuple[int, str]:
    """Its exit status and what it said. One worker: threads that parse at once raise SystemError in CPython 3.11."""
    (directory / "schemathesis.toml").write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from schemathesis.cli import schemathesis; schemathesis()",
        *("run", url, "--header", "Authorization: Bearer portal"),
        *("--max-examples", str(EXAMPLES), "--seed", str(SEED), "--workers", "1", "--no-color"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env={**processes.inherited_environ(), "COLUMNS": "160"},
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()
