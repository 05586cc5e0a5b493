"""The OpenSearch storage keeps the storage contract, on a real node, in both families."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from bridge.documents import Family
from tests.contracts.storage_contract import IsolationContract, Opened
from tests.contracts.storage_logs import LogsContract
from tests.contracts.storage_names import NamesContract
from tests.contracts.storage_places import PlacesContract
from tests.contracts.storage_spans import SpansContract
from tests.contracts.storage_texts import TextsContract
from tests.opensearch_service import OpenSearchNode
from tests.opensearch_storage import opened_opensearch


@pytest.mark.external
class OnOpenSearch:
    family: ClassVar[Family]
    # By a number made of the row's name, the same however often it is written; a bulk has no order of its own.
    tells_one_time_as_written: ClassVar[bool] = False

    @pytest.fixture(autouse=True)
    def _node(self, opensearch: OpenSearchNode) -> None:
        self.node = opensearch

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        async with opened_opensearch(self.node, self.family) as opened:
            yield opened


class OnFamilyA(OnOpenSearch):
    family = Family.A


class OnFamilyBC(OnOpenSearch):
    family = Family.BC


class TestIsolationFamilyA(OnFamilyA, IsolationContract):
    pass


class TestIsolationFamilyBC(OnFamilyBC, IsolationContract):
    pass


class TestLogsFamilyA(OnFamilyA, LogsContract):
    pass


class TestLogsFamilyBC(OnFamilyBC, LogsContract):
    pass


class TestSpansFamilyA(OnFamilyA, SpansContract):
    pass


class TestSpansFamilyBC(OnFamilyBC, SpansContract):
    pass


class TestPlacesFamilyA(OnFamilyA, PlacesContract):
    pass


class TestPlacesFamilyBC(OnFamilyBC, PlacesContract):
    pass


class TestTextsFamilyA(OnFamilyA, TextsContract):
    pass


class TestTextsFamilyBC(OnFamilyBC, TextsContract):
    pass


class TestNamesFamilyA(OnFamilyA, NamesContract):
    pass


class TestNamesFamilyBC(OnFamilyBC, NamesContract):
    pass
