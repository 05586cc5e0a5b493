"""A real ClickHouse server from libchdb.so: arguments are the library, the HTTP and TCP ports and the data folder."""

import ctypes
import signal
import sys


def serve(library: str, http_port: str, tcp_port: str, data: str) -> None:
    """The server in the foreground until it is killed, or its parent is gone."""
    die_with_parent = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(die_with_parent, signal.SIGKILL)
    server = ctypes.CDLL(library)
    server.query_stable_v2.restype = ctypes.c_void_p
    server.query_stable_v2.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    # the endless select keeps the process serving
    query = (
        "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT sleepEachRow(3) FROM numbers(1000000)"
        " SETTINGS function_sleep_max_microseconds_per_block = 0, max_block_size = 1 FORMAT Null"
    )
    arguments = [
        "clickhouse",
        "--multiquery",
        f"--http_port={http_port}",
        f"--tcp_port={tcp_port}",
        "--listen_host=127.0.0.1",
        f"--path={data}",
        f"--query={query}",
    ]
    server.query_stable_v2(len(arguments), (ctypes.c_char_p * len(arguments))(*[text.encode() for text in arguments]))


if __name__ == "__main__":
    serve(*sys.argv[1:])
