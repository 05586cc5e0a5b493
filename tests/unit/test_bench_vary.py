"""What the bench sends: payloads that differ, and still are what they are said to be."""

from typing import Any

import numpy as np
import pytest

from bench.generate import requests_of
from bench.vary import varied
from bridge.messages import SHAPES, parse
from bridge.model import OTLP_SIGNALS, Signal


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
def test_every_sending_has_new_ids_and_is_otherwise_the_same(signal: Signal) -> None:
    """Only trace ids, span ids (of links too) and the random text change; sizes and the mix stay."""
    (made,), (plain,) = varied(signal, 1, 50), requests_of(signal, 1, 50)
    dice = np.random.default_rng(1)
    first, second = made.fresh(dice), made.fresh(dice)
    assert len(first) == len(second) == len(plain)
    assert len({_ids(signal, body) for body in (first, second, plain)}) == 3
    assert _rest(signal, first) == _rest(signal, second) == _rest(signal, plain)


def _items(signal: Signal, body: bytes) -> list[Any]:
    shape = SHAPES[signal]
    request = parse(signal, body)
    entries = getattr(request, shape.resources)
    return [item for entry in entries for scope in getattr(entry, shape.scopes) for item in getattr(scope, shape.items)]


def _ids(signal: Signal, body: bytes) -> tuple[bytes, ...]:
    return tuple(item.span_id for item in _items(signal, body))


def _rest(signal: Signal, body: bytes) -> list[str]:
    kept = []
    for item in _items(signal, body):
        item.ClearField("trace_id")
        item.ClearField("span_id")
        for link in getattr(item, "links", ()):
            link.Clear()
        for pair in item.attributes:
            if pair.key == "request.id":
                assert int(pair.value.string_value, 16) >= 0
                pair.ClearField("value")
        kept.append(str(item))
    return kept
