"""Bodies that differ every time they are sent: equal ones would flatter compression, dictionaries and caches.

Trace ids, span ids and the random attribute of every item are new in every request; all else comes from `generate`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.generate import requests_of
from bridge.model import Signal

TEXT = b"request.id\x12"
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Varied:
    """A request, where its ids are (bytes), and where its random texts are (hexadecimal digits)."""

    body: npt.NDArray[np.uint8]
    ids: Places
    texts: Places

    def fresh(self, dice: np.random.Generator) -> bytes:
        body = self.body.copy()
        body[self.ids] = dice.integers(0, 256, len(self.ids), np.uint8)
        body[self.texts] = HEX[dice.integers(0, 16, len(self.texts), np.uint8)]
        return body.tobytes()


def varied(signal: Signal, requests: int, items: int) -> list[Varied]:
    return [_varied(body) for body in requests_of(signal, requests, items)]


def _varied(body: bytes) -> Varied:
    texts: list[Places] = []
    at = body.find(TEXT)
    while at >= 0:
        start = at + len(TEXT) + 3  # the AnyValue's length, the tag of its string, the string's length
        texts.append(np.arange(start, start + body[start - 1]))
        at = body.find(TEXT, start)
    return Varied(np.frombuffer(body, np.uint8), _ids(body), _joined(texts))


def _ids(body: bytes) -> Places:
    """Where the ids of spans (fields 1 and 2) and log records (9 and 10) are: a tag, a length of 16 or 8."""
    raw = np.frombuffer(body, np.uint8)
    found = []
    for trace_tag, span_tag in ((0x0A, 0x12), (0x4A, 0x52)):
        is_trace = (raw[:-28] == trace_tag) & (raw[1:-27] == 16) & (raw[18:-10] == span_tag) & (raw[19:-9] == 8)
        starts = np.flatnonzero(is_trace)
        found += [(starts[:, None] + 2 + np.arange(16)).ravel(), (starts[:, None] + 20 + np.arange(8)).ravel()]
    return _joined(found)


def _joined(parts: list[Places]) -> Places:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)
