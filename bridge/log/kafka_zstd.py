"""The level of zstd that records are compressed at; aiokafka 0.14 always takes 3 and has no setting for it.

Level -1 takes half the CPU of level 3 on a batch of OTLP and two thirds of it to read, for 13 % more bytes, which is
fewer than lz4 makes (docs/performance.md). libzstd's contexts are not kept: a batch is large enough.
"""

import sys
from typing import Any, Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from backports import zstd

LEVEL: Final = -1


def encode(payload: Any, level: int | None = None) -> bytes:
    """One zstd frame."""
    return zstd.compress(payload, LEVEL if level is None else level)


def use_level() -> None:
    """Every producer of this process compresses at `LEVEL` from here on. `AttributeError` on another aiokafka."""
    module: Any = sys.modules[DefaultRecordBatchBuilder.__module__]
    _ = module.zstd_encode
    module.zstd_encode = encode
