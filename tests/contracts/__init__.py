"""Contracts: what every implementation owes, as classes of tests that its own test file subclasses."""

import pytest

pytest.register_assert_rewrite("tests.contracts.observer_vectors", "tests.contracts.observer_clients")
