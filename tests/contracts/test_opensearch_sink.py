"""The OpenSearch sink keeps the sink contract, in both families of documents, on a real node."""

import asyncio
import gc
import socket
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from aiohttp import web

from bridge.documents import Family
from bridge.errors import RejectedBySink, SettingsInvalid, SinkUnavailable
from bridge.model import OTLP_SIGNALS, Batch, Run, Signal
from bridge.opensearch import OpenSearchSettings, open_opensearch
from sinks.opensearch import OpenSearchSinkSettings, open_opensearch_sink
from sinks.opensearch_bulk import TRIES
from sinks.opensearch_documents import rows_of
from sinks.opensearch_rows_back import row_of
from tests.contracts.sink_contract import Opened, SinkContract, batch_of, expected, write
from tests.opensearch import OpenedOpenSearch, opened_opensearch, own_layout, sink_settings
from tests.opensearch_proxy import BulkProxy, bulk_proxy
from tests.opensearch_service import OpenSearchNode, start_opensearch
from tests.waiting import eventually

pytestmark = pytest.mark.external


class OpenSearchContract(SinkContract):
    has_views = False
    large_batch_rows = 50_000  # a dozen requests of the default size
    family: Family

    @pytest.fixture(autouse=True)
    def _node(self, opensearch: OpenSearchNode) -> None:
        self.node = opensearch

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        async with opened_opensearch(sink_settings(self.node.url, own_layout(self.family))) as opened:
            yield opened

    @pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
    async def test_stored_documents_are_the_rows(self, opened: OpenedOpenSearch, signal: Signal) -> None:
        """What comes back of the store is, row by row, what was written."""
        batch = batch_of(signal, 20)
        encoded = opened.sink.encode(batch)
        await opened.sink.write(encoded)
        found = [row_of(document) for document in await opened.fetch(encoded) if document is not None]
        assert found == list(rows_of(batch.table))

    @pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
    async def test_rows_of_a_record_are_once_however_it_is_cut(self, opened: OpenedOpenSearch, signal: Signal) -> None:
        """A row's name is its record's and its number, not its batch's."""
        batch = batch_of(signal, 10)
        await write(opened, replace(batch, runs=(Run("record", 0, 10),)))
        await write(opened, Batch(signal, "another token", batch.table.slice(4, 6), (Run("record", 4, 6),)))
        assert sorted(await opened.ids(signal)) == expected(10)

    async def test_a_batch_over_many_days_is_in_the_indices_of_its_days(self, opened: OpenedOpenSearch) -> None:
        """UTC days, also those before the oldest index; each has the mapping of the template."""
        day = 86_400_000_000_000
        batch = batch_of(Signal.LOGS, 20)
        times = pa.array([number * day for number in range(20)], pa.timestamp("ns", "UTC"))
        await write(opened, replace(batch, table=batch.table.set_column(0, "Timestamp", times)))
        found = await opened.client.call("GET", f"/{opened.layout.pattern(Signal.LOGS)}/_mapping")
        assert sorted(found) == sorted(opened.layout.index(Signal.LOGS, number * day) for number in range(20))
        assert all(told["mappings"]["dynamic"] == "false" for told in found.values())


class TestFamilyA(OpenSearchContract):
    family = Family.A


class TestFamilyBC(OpenSearchContract):
    family = Family.BC


async def test_a_sink_opens_while_nothing_listens() -> None:
    """The bridge starts without its store."""
    async with open_opensearch_sink(sink_settings("http://127.0.0.1:1", own_layout(Family.A))) as sink:
        with pytest.raises(SinkUnavailable) as caught:
            await sink.ping()
        assert caught.value.reason == "connection"


@pytest.mark.parametrize("name", ["ca_certs", "client_cert"])
@pytest.mark.parametrize("text", [None, "no PEM"])
async def test_a_certificate_that_cannot_be_read_is_said_at_the_start(
    tmp_path: Path, name: str, text: str | None
) -> None:
    """By the setting's name, and not in the middle of a lane."""
    path = tmp_path / "file.pem"
    if text is not None:
        path.write_text(text)
    settings = replace(OpenSearchSettings(("https://127.0.0.1:1",)), **{name: path})  # type: ignore[arg-type]
    with pytest.raises(SettingsInvalid, match=f"opensearch.{name}"):
        async with open_opensearch(settings):
            pass


async def test_the_ledger_and_what_a_partial_shadow_leaves_out_are_not_sent(opensearch: OpenSearchNode) -> None:
    """Kept rows have the ids they have in a whole shadow, so that it can be made whole later."""
    settings = sink_settings(opensearch.url, own_layout(Family.A))
    batch = batch_of(Signal.LOGS, 5)
    async with opened_opensearch(settings, kept=lambda table: [0, table.num_rows - 1]) as opened:
        ledger = opened.sink.encode(Batch(Signal.LEDGER, "token", pa.table({"Received": [1]})))
        await opened.sink.write(ledger)
        encoded = opened.sink.encode(batch)
        assert (ledger.rows, list(ledger.body.bodies), encoded.rows) == (1, [], 5)
        await opened.sink.write(encoded)
        assert sorted(await opened.ids(Signal.LOGS)) == ["0000000000000001", "0000000000000005"]
        async with open_opensearch_sink(settings) as whole:
            await whole.write(whole.encode(batch))
        assert sorted(await opened.ids(Signal.LOGS)) == expected(5)


@asynccontextmanager
async def opened_by_proxy(
    node: OpenSearchNode, max_bulk_bytes: int = 4_000_000
) -> AsyncIterator[tuple[OpenedOpenSearch, BulkProxy]]:
    async with bulk_proxy(node.url) as proxy:
        settings = replace(sink_settings(proxy.url, own_layout(Family.A)), max_bulk_bytes=max_bulk_bytes)
        async with opened_opensearch(settings, direct_url=node.url) as opened:
            yield opened, proxy


async def test_throttled_documents_are_sent_again_alone(opensearch: OpenSearchNode) -> None:
    """Half of the rest each time, until all are there; what was taken is not sent again."""
    async with opened_by_proxy(opensearch) as (opened, proxy):
        proxy.throttled = 3
        await write(opened, batch_of(Signal.LOGS, 40))
        assert proxy.sizes == [40, 20, 10, 5]
        assert sorted(await opened.ids(Signal.LOGS)) == expected(40)


async def test_throttling_without_end_leaves_the_batch_to_be_written_later(opensearch: OpenSearchNode) -> None:
    """After a bounded number of tries it is the lane's turn, whose health and metrics say so."""
    async with opened_by_proxy(opensearch) as (opened, proxy):
        proxy.throttled = TRIES
        batch = batch_of(Signal.LOGS, 100)
        with pytest.raises(SinkUnavailable) as caught:
            await write(opened, batch)
        assert caught.value.reason == "throttled"
        assert len(proxy.sizes) == TRIES
        await write(opened, batch)
        assert sorted(await opened.ids(Signal.LOGS)) == expected(100)


async def test_a_lost_answer_is_no_second_copy(opensearch: OpenSearchNode) -> None:
    """The request was done: written again, its documents are there once."""
    async with opened_by_proxy(opensearch) as (opened, proxy):
        proxy.lost = 1
        batch = batch_of(Signal.TRACES, 30)
        with pytest.raises(SinkUnavailable) as caught:
            await write(opened, batch)
        assert caught.value.reason == "connection"
        assert sorted(await opened.ids(Signal.TRACES)) == expected(30)
        await write(opened, batch)
        assert sorted(await opened.ids(Signal.TRACES)) == expected(30)


async def test_a_body_too_large_for_the_nodes_is_halved(opensearch: OpenSearchNode) -> None:
    """Down to single documents, of which one that is still too large is refused, after the others are written."""
    async with opened_by_proxy(opensearch) as (opened, proxy):
        batch = batch_of(Signal.LOGS, 16)
        bodies = ["x" * 100_000 if row == 6 else "short" for row in range(16)]
        position = batch.table.schema.get_field_index("Body")
        large = replace(batch, table=batch.table.set_column(position, "Body", pa.array(bodies)))
        proxy.limit_bytes = 50_000
        with pytest.raises(RejectedBySink, match=r"1 documents refused.*too large"):
            await write(opened, large)
        assert sorted(await opened.ids(Signal.LOGS)) == sorted(set(expected(16)) - {f"{7:016x}"})
        proxy.limit_bytes = 150_000
        await write(opened, large)
        assert sorted(await opened.ids(Signal.LOGS)) == expected(16)


def limit_indexing(node: OpenSearchNode, limit: str) -> None:
    """Start again with this much memory for documents on their way."""
    node.kill()
    config = node.directory / "home" / "config" / "opensearch.yml"
    config.write_text(f"indexing_pressure.memory.limit: {limit}\n")
    node.start()


async def write_patiently(opened: OpenedOpenSearch, batch: Batch) -> None:
    """As a lane does: again for as long as the store has no room."""
    while True:
        try:
            return await write(opened, batch)
        except SinkUnavailable as error:
            if error.reason not in ("throttled", "connection", "cluster", "server_error"):
                raise


@pytest.mark.timeout(180)
async def test_a_node_that_is_throttled_or_killed_has_every_row_once() -> None:
    """Its own 429s, to many writers at once; then SIGKILL after the first, second, ... request of a write."""
    with start_opensearch() as node:
        async with opened_by_proxy(node, max_bulk_bytes=60_000) as (opened, proxy):
            limit_indexing(node, "1kb")
            batch = batch_of(Signal.LOGS, 20)
            with pytest.raises(SinkUnavailable) as caught:
                await write(opened, batch)
            assert caught.value.reason == "throttled"
            limit_indexing(node, "100kb")
            batches = [batch, *(batch_of(Signal.LOGS, 500, first=21 + 500 * number) for number in range(4))]
            await asyncio.gather(*(write_patiently(opened, each) for each in batches))
            assert await rejections(opened) > 0
            for kill in range(3):
                batch = batch_of(Signal.LOGS, 1_000, first=2_021 + 1_000 * kill)
                sent = len(proxy.sizes)
                writing = asyncio.create_task(write(opened, batch))
                await eventually(lambda sent=sent, kill=kill: len(proxy.sizes) > sent + kill)  # type: ignore[misc]
                node.kill()
                failed = (await asyncio.gather(writing, return_exceptions=True))[0]
                assert isinstance(failed, SinkUnavailable)
                node.start()
                await write_patiently(opened, batch)
            assert sorted(await opened.ids(Signal.LOGS)) == expected(5_020)


async def rejections(opened: OpenedOpenSearch) -> int:
    """How many requests the node has had no room for."""
    answer = await opened.client.call("GET", "/_nodes/stats/indexing_pressure")
    (node,) = answer["nodes"].values()
    return int(node["indexing_pressure"]["memory"]["total"]["coordinating_rejections"])


NO_ANSWERS = (
    *("", "[]", "{}", "<html>", '"down"', '{"items": null}', '{"error": null}', '{"index_templates": []}'),
    *('{"items": [{"index": {"status": 201}}]}', '{"items": [{"create": {"status": 400, "error": "x"}}]}'),
)


@pytest.mark.parametrize("is_bulk_only", [False, True])
@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("text", NO_ANSWERS)
async def test_what_is_no_answer_of_opensearch_is_waited_for(status: int, text: str, is_bulk_only: bool) -> None:
    """A gateway before the nodes, or another program at their address: no lane ends for it."""

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET" and is_bulk_only:
            return web.json_response({"index_templates": [{"index_template": {}}], "x": {"mappings": {}}})
        return web.Response(text=text, status=status, content_type="application/json")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with open_opensearch_sink(sink_settings(url, own_layout(Family.A))) as sink:
            with pytest.raises(SinkUnavailable):
                await sink.write(sink.encode(batch_of(Signal.LOGS, 1)))
    finally:
        await runner.cleanup()


async def test_a_silent_host_is_left_alone(opensearch: OpenSearchNode) -> None:
    """One that takes connections and answers nothing costs the others one timeout, not every second request."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with opened_opensearch(sink_settings(opensearch.url, own_layout(Family.A))) as opened:
            hosts = (opensearch.url, f"http://127.0.0.1:{silent.getsockname()[1]}")
            client = replace(opened.sink.settings.client, hosts=hosts, request_timeout_seconds=1.0)
            async with open_opensearch_sink(replace(opened.sink.settings, client=client)) as sink:
                batch = batch_of(Signal.LOGS, 50)
                with pytest.raises(SinkUnavailable) as caught:
                    await sink.write(sink.encode(batch))
                assert caught.value.reason == "timeout"
                for _ in range(3):
                    await sink.write(sink.encode(batch))
            assert sorted(await opened.ids(Signal.LOGS)) == expected(50)


async def test_a_host_that_refuses_is_passed_by_and_closed_with_the_rest(opensearch: OpenSearchNode) -> None:
    """Nothing of it is left when the client is closed."""
    settings = OpenSearchSettings((opensearch.url, "http://127.0.0.1:1"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        async with open_opensearch(settings) as client:
            for _ in range(4):
                assert "version" in await client.call("GET", "/")
        del client
        gc.collect()
    assert not told


async def test_a_write_that_takes_too_long_says_timeout(opensearch: OpenSearchNode) -> None:
    """And may be done: it is written again, once."""
    settings: OpenSearchSinkSettings = sink_settings(opensearch.url, own_layout(Family.BC))
    hasty = replace(settings, client=replace(settings.client, request_timeout_seconds=0.001))
    batch = batch_of(Signal.LOGS, 50)
    async with opened_opensearch(settings) as opened:
        async with open_opensearch_sink(hasty) as sink:
            with pytest.raises(SinkUnavailable) as caught:
                await sink.write(sink.encode(batch))
            assert caught.value.reason == "timeout"
        await write(opened, batch)
        assert sorted(await opened.ids(Signal.LOGS)) == expected(50)
