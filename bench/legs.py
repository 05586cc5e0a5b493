"""One measurement each: a system in its box, a load from outside, what came of it."""

import signal as signals
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from bench import peers
from bench.boxed import Boxed, boxed, wait_for
from bench.result import Result
from bench.world import PARTITIONS, Place, World, listening
from bridge.model import Signal

CALLERS = 16
WARM_SECONDS = 2.0
DRAIN_SECONDS = 90.0
# What has not moved for so long is lost: a Kafka group may take 45 s to notice that a member was killed.
STILL_SECONDS = 60.0
BACKLOG_MIB = 24  # in each partition
BACKLOG_SECONDS = 60.0


Start = Callable[[Place, ExitStack], list[Boxed]]


@dataclass(frozen=True, slots=True)
class System:
    """`start` starts the processes that are measured; `stores` says where acknowledged items are looked for."""

    name: str
    variant: str
    start: Start
    stores: str
    is_durable: bool = True


@dataclass(frozen=True, slots=True)
class LoadOf:
    transport: str
    signal: Signal
    items: int
    seconds: float
    extra: tuple[str, ...] = ()
    callers: int = CALLERS


def headrace(*roles: str, stores: str) -> System:
    def start(place: Place, stack: ExitStack) -> list[Boxed]:
        place.create_topics()
        place.create_schema()
        processes = []
        for role in roles:
            processes.append(stack.enter_context(boxed(*place.headrace(role))))
            if role in ("receive", "run"):
                listening(processes[-1], place.ports.grpc)
        return processes

    return System("headrace", "", start, stores)


def collector(
    variant: str, stores: str, *configs: Callable[[peers.Ports], dict[str, Any]], is_durable: bool = True
) -> System:
    def start(place: Place, stack: ExitStack) -> list[Boxed]:
        binary = peers.otelcol()
        assert binary is not None
        place.create_topics()
        processes = []
        for number, config in enumerate(configs):
            folder = place.folder / f"otelcol-{number}"
            folder.mkdir()
            made = config(place.ports)
            command = peers.collector(binary, folder, made)
            processes.append(stack.enter_context(boxed(command, peers.GO_ENVIRON, folder / "otelcol.log")))
            if "otlp" in made["receivers"]:
                listening(processes[-1], place.ports.grpc)
        return processes

    return System("otelcol", variant, start, stores, is_durable)


def rotel() -> System:
    def start(place: Place, stack: ExitStack) -> list[Boxed]:
        binary = peers.rotel()
        assert binary is not None
        place.create_schema()
        process = stack.enter_context(boxed(peers.rotel_command(binary, place.ports), {}, place.folder / "rotel.log"))
        listening(process, place.ports.grpc)
        return [process]

    return System("rotel", "direct", start, "clickhouse", is_durable=False)


def drive_leg(world: World, system: System, leg: str, load: LoadOf) -> Result:
    """Closed or open loop for so long, then until everything acknowledged is where it belongs, or does not come."""
    with _running(world, system) as (place, processes):
        with place.driven(load.transport, load.signal, load.items, load.callers, WARM_SECONDS) as warm:
            warm.go()
            before = warm.outcome()["requests"] * load.items
        _settled(place, system, load, before)
        arguments = (load.transport, load.signal, load.items, load.callers, load.seconds)
        with place.driven(*arguments, *load.extra) as driven, _seen(place, system, load) as visible:
            base, cpu_before, started = _there(place, system, load), cpu_of(processes), time.perf_counter()
            driven.go()
            told = driven.outcome()
            acknowledged = told["requests"] * load.items
            found = _settled(place, system, load, base + acknowledged) - base
            elapsed = time.perf_counter() - started
        used = cpu_of(processes) - cpu_before
        is_stored = system.stores == "clickhouse"
        seconds = elapsed if is_stored and not load.extra else told["seconds"]
        lags = lags_by_count(told["answered_at"], load.items, visible, base) if is_stored else []
        sizes = _sizes(place, system, load.signal, base + found)
        return Result(
            system=system.name,
            variant=system.variant,
            is_durable=system.is_durable,
            leg=leg,
            load="open loop" if "--rate" in load.extra else "closed loop",
            signal=str(load.signal),
            transport=load.transport,
            items_per_request=load.items,
            items_per_second=acknowledged / seconds,
            cpu_us_per_item=used / max(1, acknowledged) * 1e6,
            lost=max(0, acknowledged - found),
            **_latencies(told, lags),
            otlp_bytes_per_item=told["request_bytes"] / load.items if "--gzip" not in load.extra else None,
            encoding="gzip" if "--gzip" in load.extra else "plain",
            **sizes,
            **peaks_of(processes),
        )


def kill_leg(world: World, system: System, leg: str, load: LoadOf) -> Result:
    """kill -9 of every process of the system in the middle of the load, started again at once; what is then missing."""
    with _running(world, system) as (place, processes):
        with place.driven(load.transport, load.signal, load.items, load.callers, load.seconds) as driven:
            driven.go()
            time.sleep(load.seconds / 2)
            for process in processes:
                process.end(signals.SIGKILL)
            for process in processes:
                process.spawn()
            told = driven.outcome()
        acknowledged = told["requests"] * load.items
        found = _settled(place, system, load, acknowledged)
        return Result(
            system=system.name,
            variant=system.variant,
            is_durable=system.is_durable,
            leg=leg,
            load="kill -9",
            signal=str(load.signal),
            transport=load.transport,
            items_per_request=load.items,
            items_per_second=acknowledged / told["seconds"],
            cpu_us_per_item=0.0,
            lost=max(0, acknowledged - found),
            refused=told["refused"],
            written_twice=place.twice(load.signal),
            **peaks_of(processes),
        )


def backlog_leg(world: World, system: System, signal: Signal) -> Result:
    """A topic that is full, drained; CPU from the first row on, so that starting is not in it."""
    place = world.place()
    items = place.fill(signal, BACKLOG_MIB)
    with ExitStack() as stack:
        processes = system.start(place, stack)
        wait_for(lambda: place.rows(signal) > 0 or not processes[0].is_alive, BACKLOG_SECONDS, "the first row", 0.02)
        cpu_before, first, started = cpu_of(processes), place.rows(signal), time.perf_counter()
        rows = first
        while rows < items and time.perf_counter() - started < BACKLOG_SECONDS and processes[0].is_alive:
            time.sleep(0.1)
            rows = place.rows(signal)
        elapsed, used = time.perf_counter() - started, cpu_of(processes) - cpu_before
        return Result(
            system=system.name,
            variant=system.variant,
            is_durable=system.is_durable,
            leg="deliver",
            load="backlog",
            signal=str(signal),
            transport="kafka",
            items_per_request=1000,
            items_per_second=(rows - first) / elapsed,
            cpu_us_per_item=used / max(1, rows - first) * 1e6,
            lost=0,
            disk_bytes_per_item=place.stored_bytes(signal) / max(1, rows),
            kafka_bytes_per_item=place.kafka_bytes(signal) / items,
            otlp_bytes_per_item=PARTITIONS * (BACKLOG_MIB << 20) / items,
            note="" if rows == items else f"{rows:,} of {items:,} in {BACKLOG_SECONDS:g} s",
            **peaks_of(processes),
        )


@contextmanager
def _running(world: World, system: System) -> Iterator[tuple[Place, list[Boxed]]]:
    place = world.place()
    with ExitStack() as stack:
        yield place, system.start(place, stack)


def cpu_of(processes: list[Boxed]) -> float:
    """CPU seconds of all of them so far."""
    return sum(process.cpu_seconds() for process in processes)


def peaks_of(processes: list[Boxed]) -> dict[str, Any]:
    """Of the largest process: each has a box of its own."""
    return {
        "peak_rss_bytes": max(process.peaks.get("VmHWM", 0) for process in processes),
        "peak_anonymous_bytes": max(process.peaks.get("RssAnon", 0) for process in processes),
        "oom_kills": sum(process.held.oom_kills() for process in processes if process.held),
    }


def _there(place: Place, system: System, load: LoadOf) -> int:
    """Items that can be seen where the system puts them."""
    if system.stores == "kafka":
        return place.records(load.signal) * load.items
    return place.rows(load.signal)


def _settled(place: Place, system: System, load: LoadOf, expected: int) -> int:
    """Wait until so many items are there, or no more come."""
    found, moved_at = _there(place, system, load), time.monotonic()
    deadline = time.monotonic() + DRAIN_SECONDS
    while found < expected and time.monotonic() < deadline and time.monotonic() - moved_at < STILL_SECONDS:
        time.sleep(0.2)
        now = _there(place, system, load)
        if now != found:
            found, moved_at = now, time.monotonic()
    return found


@contextmanager
def _seen(place: Place, system: System, load: LoadOf) -> Iterator[list[tuple[float, int]]]:
    """When how many rows were visible, looked at all the time."""
    seen: list[tuple[float, int]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            rows = place.rows(load.signal)
            seen.append((time.time(), rows))

    watcher = threading.Thread(target=look, daemon=True)
    if system.stores == "clickhouse":
        watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        if watcher.is_alive():
            watcher.join()


def lags_by_count(answered_at: list[float], items: int, seen: list[tuple[float, int]], base: int) -> list[float]:
    """From each acknowledgement until so many rows were visible: by count, as if rows came in the order of answers."""
    lags, place = [], 0
    for number, at in enumerate(sorted(answered_at), 1):
        while place < len(seen) and seen[place][1] < base + number * items:
            place += 1
        if place == len(seen):
            break
        lags.append(max(0.0, seen[place][0] - at))
    return sorted(lags)


def _latencies(told: dict[str, Any], lags: list[float]) -> dict[str, Any]:
    return {
        "ack_p50_seconds": told["ack_p50_seconds"],
        "ack_p99_seconds": told["ack_p99_seconds"],
        "refused": told["refused"],
        "lag_p50_seconds": lags[len(lags) // 2] if lags else None,
        "lag_p99_seconds": lags[int(len(lags) * 0.99)] if lags else None,
        "lag_max_seconds": lags[-1] if lags else None,
    }


def _sizes(place: Place, system: System, signal: Signal, items: int) -> dict[str, Any]:
    if not items:
        return {}
    found: dict[str, Any] = {}
    if (kafka_bytes := place.kafka_bytes(signal)) > 0:
        found["kafka_bytes_per_item"] = kafka_bytes / items
    if system.stores == "clickhouse":
        found["disk_bytes_per_item"] = place.stored_bytes(signal) / items
    return found
