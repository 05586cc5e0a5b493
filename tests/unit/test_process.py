"""What is set before the big libraries are loaded."""

import subprocess
import sys

PROBE = """
import os, sys
import bridge.__main__
early = [name for name in ("grpc", "pyarrow", "numpy", "aiohttp") if name in sys.modules]
from bridge.process import tune_process
took = tune_process() and tune_process()
try:
    import pandas
    has_pandas = True
except ModuleNotFoundError:
    has_pandas = False
import grpc, pyarrow
print(early, took, os.environ["GRPC_EXPERIMENTS"], pyarrow.default_memory_pool().backend_name, has_pandas)
"""


def test_tuning_comes_before_the_libraries_and_takes_hold() -> None:
    """The entry point loads none of them, glibc takes the thresholds, Arrow uses the system's pool, no pandas."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] True -event_engine_listener system False"


RECEIVE = """
import sys
import bridge.app, bridge.log.kafka_appender, bridge.log.kafka_client
print([name for name in ("pyarrow", "numpy", "ptars", "clickhouse_connect") if name in sys.modules])
"""


def test_receive_loads_neither_arrow_nor_the_store() -> None:
    """All that `headrace receive` is made of leaves out what only deliver needs: 40 MB of a small box."""
    done = subprocess.run([sys.executable, "-c", RECEIVE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
