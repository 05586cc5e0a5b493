"""What a ClickHouse error number means for the batch."""

import pytest

from bridge.errors import RejectedBySink, SinkUnavailable
from sinks.codes import PERMANENT, RETRYABLE, error_of


@pytest.mark.parametrize("code", [252, 241, 159, 164, 242, 60, 81, 16, 516, 999, 1002, 236, 243])
def test_what_time_or_an_operator_mends_is_retryable(code: int) -> None:
    """Too many parts, memory, timeouts, read-only, missing tables, rights, and numbers nobody listed."""
    assert isinstance(error_of(code, "text"), SinkUnavailable)


@pytest.mark.parametrize("code", [6, 27, 53, 70, 72, 117, 190, 349, 469])
def test_what_a_value_causes_is_permanent_with_its_number(code: int) -> None:
    """The same bytes will never be taken."""
    error = error_of(code, "text")
    assert isinstance(error, RejectedBySink)
    assert error.code == code


def test_no_number_is_a_connection_that_failed() -> None:
    """And the statement's url is not repeated in the text."""
    error = error_of(None, "Max retries exceeded with url: /?query=secret")
    assert (error.reason, str(error)) == ("connection", "Max retries exceeded")


def test_no_number_is_in_both_tables() -> None:
    """A code means one thing."""
    assert not PERMANENT.keys() & RETRYABLE.keys()
