"""What must be set before a big library is loaded: the allocator's thresholds and grpc's engine.

Measured (shared numbers, re-run with `make bench`): stock glibc trims and re-faults the heap on every large request;
these two thresholds cut the CPU of a 1000-span request by 13-61 % for up to 12 MB of memory.
"""

import ctypes
import os
import sys
from importlib.abc import MetaPathFinder

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
TRIM_THRESHOLD_BYTES = 128 << 20
MMAP_THRESHOLD_BYTES = 32 << 20
ARENAS = 2

# The poller of grpc's new event engine costs 15-30 % per small call; the name is an experiment's, so tests assert it.
GRPC_EXPERIMENTS = "-event_engine_listener"


def tune_process() -> bool:
    """Call before grpc or pyarrow is imported. True if the allocator took the settings (glibc only)."""
    os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy comes with it; its threads would spin and take memory
    # pyarrow loads pandas (40 MB, seen with pyarrow 26) whenever it is installed, as it is beside chDB; nothing uses it
    if not any(isinstance(finder, _Forgone) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Forgone("pandas"))
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no mallopt
        return False
    thresholds = (
        (_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
        (_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
        (_M_ARENA_MAX, ARENAS),
    )
    taken = [mallopt(name, value) == 1 for name, value in thresholds]
    return all(taken)


def give_memory_back() -> None:
    """Return what the allocator holds free to the system: after a request so large that the thresholds above keep its
    pieces for nobody. It takes about a millisecond for each 10 MB."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class _Forgone(MetaPathFinder):
    """Makes the import of a module fail, as if it were not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname} is not used here (bridge/process.py)", name=fullname)
