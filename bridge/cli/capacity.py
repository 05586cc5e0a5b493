"""`headrace capacity`: print the plan for a load, from measured costs and this configuration's deliver settings."""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from bridge.capacity import Load, Plan, plan
from bridge.capacity_costs import Cost, Costs, costs_of_report, measured_costs
from bridge.capacity_lanes import Frame
from bridge.capacity_warnings import Warned, warnings_of
from bridge.errors import SettingsInvalid
from bridge.settings import Settings

EXIT_USAGE = 2
OF_SETTINGS = (
    "record_max_bytes",
    "batch_max_rows",
    "batch_max_bytes",
    "batch_max_age_seconds",
    "pending_max_bytes",
    "slots_per_pod",
)
SHARES = ("target_utilisation", "clickhouse_insert_share")
Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """The load, the two files that change what it is reckoned with, and how the answer is printed."""

    load: Load
    latest: Path | None
    costs: Path | None
    as_json: bool


def capacity(settings: Settings, asked: Asked) -> int:
    """0 when a plan was printed, with warnings or without; 2 if a file cannot be used."""
    try:
        costs, frame = _inputs(settings, asked)
    except SettingsInvalid as error:
        print(f"headrace capacity: {error}", file=sys.stderr)
        return EXIT_USAGE
    made = plan(asked.load, costs, frame)
    warned = warnings_of(made)
    if asked.as_json:
        print(json.dumps(_object(made, warned), indent=2, allow_nan=False))
    else:
        print("\n".join(_text(made, warned, _source(asked))))
    return 0


def _object(made: Plan, warned: list[Warned]) -> dict[str, Any]:
    """All of the plan; a lag without end, which JSON has no number for, is null."""
    told = {**asdict(made), "is_in_time": made.is_in_time, "warnings": [asdict(each) for each in warned]}
    if math.isinf(made.expected_lag.p99_seconds):
        told["expected_lag"] = None
    return told


def _inputs(settings: Settings, asked: Asked) -> tuple[Costs, Frame]:
    """Raises `SettingsInvalid` naming the option."""
    load, deliver = asked.load, settings.deliver
    costs = measured_costs(load.signal, load.items_per_request)
    frame = Frame(
        record_max_bytes=settings.log.max_record_bytes,
        batch_max_rows=deliver.max_rows,
        batch_max_bytes=deliver.max_bytes,
        batch_max_age_seconds=deliver.max_age_seconds,
        pending_max_bytes=deliver.max_pending_bytes,
        slots_per_pod=deliver.max_inserts_in_flight,
    )
    if asked.latest is not None:
        report = _read("--latest", asked.latest)
        try:
            costs = costs_of_report(report["results"], load.signal, load.items_per_request, costs)
        except SettingsInvalid as error:
            raise SettingsInvalid(f"--latest {asked.latest}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise SettingsInvalid(f"--latest {asked.latest}: not a report of `make bench` ({error!r})") from error
    if asked.costs is not None:
        costs, frame = _changed(_read("--costs", asked.costs), costs, frame)
    return costs, frame


def _read(option: str, path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{option} {path}: {error}") from error
    if not isinstance(told, dict):
        raise SettingsInvalid(f"{option} {path}: not a JSON object")
    return told


def _changed(told: Mapping[str, Any], costs: Costs, frame: Frame) -> tuple[Costs, Frame]:
    """Every figure by its name in `Costs` or `Frame`; a `Cost` as an object. What the settings say stays theirs."""
    of_costs = {each.name for each in fields(Costs)} - {"receive_items_per_request"}
    of_frame = {each.name for each in fields(Frame)} - set(OF_SETTINGS)
    unknown = told.keys() - of_costs - of_frame
    if unknown:
        known = ", ".join(sorted(of_costs | of_frame))
        raise SettingsInvalid(f"--costs: {', '.join(sorted(unknown))}: unknown; there are {known}")
    new: dict[str, Any] = {}
    for name, value in told.items():
        old = getattr(costs, name, None)
        new[name] = _cost(name, value, old) if isinstance(old, Cost) else _number(name, value)
        if name in SHARES and new[name] > 1:
            raise SettingsInvalid(f"--costs: {name}: a share, at most 1")
    costs = replace(costs, **{name: new[name] for name in new.keys() & of_costs})
    return costs, replace(frame, **{name: new[name] for name in new.keys() & of_frame})


def _cost(name: str, value: Any, old: Cost) -> Cost:
    if not isinstance(value, dict) or not value.keys() <= {"us_per_item", "at_bytes"}:
        raise SettingsInvalid(f"--costs: {name}: must be an object of us_per_item and at_bytes")
    return replace(old, **{key: _number(f"{name}.{key}", number) for key, number in value.items()})


def _number(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        raise SettingsInvalid(f"--costs: {name}: must be a number above 0, not {value!r}")
    return float(value)


def _source(asked: Asked) -> str:
    files = [f"{name} {path}" for name, path in (("--latest", asked.latest), ("--costs", asked.costs)) if path]
    return ", ".join(["checked-in measurements", *files])


def _text(made: Plan, warned: list[Warned], source: str) -> list[str]:
    load = made.load
    title = (
        f"{load.events_per_second:,.0f} {load.signal} items/s of {load.bytes_per_event:g} bytes"
        f" ({load.bytes_per_second / 1e6:,.1f} MB/s of OTLP), {load.items_per_request} a request"
    )
    lines = [title, ""]
    for heading, rows in (
        ("what it takes", _parts(made)),
        ("how late, how full", _times(made)),
        (f"reckoned with: {source}", _figures(made)),
    ):
        lines += [heading, *_table(rows), ""]
    for each in warned:
        lines += [f"WARNING: {each.problem}", f"  change: {each.change}"]
    return lines if warned else lines[:-1]


def _table(rows: list[Row]) -> list[str]:
    names, values = max(len(name) for name, _, _ in rows), max(len(value) for _, value, _ in rows)
    return [f"  {name.ljust(names)}  {value.rjust(values)}  {note}".rstrip() for name, value, note in rows]


def _parts(made: Plan) -> list[Row]:
    kafka, store, frame = made.kafka, made.store, made.frame
    pod = f"of {frame.pod_cpus:g} CPU at most {frame.target_utilisation:.0%} full"
    return [
        ("receive pods", f"{made.receive_pods:,}", pod),
        (
            "deliver pods",
            f"{made.deliver_pods:,}",
            f"{pod}; CPU alone {made.deliver_pods_by_cpu:,}, {frame.slots_per_pod} insert slots a pod"
            f" {made.deliver_pods_by_slots:,}",
        ),
        ("partitions", f"{made.partitions:,}", f"kafka.partitions; {made.lanes_per_pod} a deliver pod"),
        ("Kafka in", f"{kafka.in_bytes_per_second / 1e6:,.1f} MB/s", f"all brokers, replication {frame.replication:g}"),
        ("Kafka out", f"{kafka.out_bytes_per_second / 1e6:,.1f} MB/s", "to deliver once, to followers"),
        ("Kafka disk", f"{kafka.bytes_per_hour / 1e9:,.1f} GB", "for an hour of retention, all replicas"),
        ("ClickHouse servers", f"{store.servers:,}", _servers_note(made)),
        ("rows an insert", f"{store.rows_per_insert:,.0f}", ""),
        ("inserts/s a server", f"{store.inserts_per_second_per_server:,.1f}", "into the signal's table"),
        ("stall covered", f"{store.window_seconds / 60:,.1f} min", "by the deduplication window (docs/delivery.md)"),
        ("disk a day", f"{store.bytes_per_day / 1e9:,.1f} GB", "one replica"),
        ("disk kept", f"{store.bytes_retained / 1e12:,.2f} TB", f"{made.load.retention_days:g} days, one replica"),
    ]


def _servers_note(made: Plan) -> str:
    frame = made.frame
    share = f"{frame.clickhouse_insert_share:.0%} of {frame.clickhouse_cores:g} cores"
    return f"{made.store.busy_cores:.1f} cores busy, {share} each; shards, replicas on top"


def _times(made: Plan) -> list[Row]:
    formula, simulated, drain = made.expected_lag, made.simulated_lag, made.drain
    bound = f"bound {made.frame.lag_bound_seconds:g} s: {'kept' if made.is_in_time else 'NOT KEPT'}"
    rows = [
        ("lag p50 / p99, simulated", f"{simulated.p50_seconds:.2f} / {simulated.p99_seconds:.2f} s", bound),
        ("lag p50 / p99, formula", f"{formula.p50_seconds:.2f} / {formula.p99_seconds:.2f} s", ""),
    ]
    rows += [(f"{name} used", f"{used:.0%}", "") for name, used in made.utilisations.items()]
    took = "never" if drain.seconds is None else f"{drain.seconds / 60:,.0f} min"
    note = f"of {drain.outage_seconds / 60:g} min, the load going on; limit: {drain.limit}"
    return [*rows, ("drained after an outage", took, note)]


def _figures(made: Plan) -> list[Row]:
    costs, frame = made.costs, made.frame
    at = f"at {costs.receive_items_per_request} items a request, "
    return [
        ("receive", *_cost_cells(costs.receive, at)),
        ("deliver", *_cost_cells(costs.deliver, "")),
        ("ClickHouse", *_cost_cells(costs.clickhouse, "")),
        ("Kafka bytes an OTLP byte", f"{costs.kafka_bytes_per_otlp_byte:g}", ""),
        ("disk bytes an OTLP byte", f"{costs.disk_bytes_per_otlp_byte:g}", ""),
        ("an insert's fixed part", f"{costs.insert_fixed_seconds:g} s", "the rest is ClickHouse's CPU on one thread"),
        ("a commit", f"{costs.commit_seconds:g} s", "two a batch"),
        ("batch", f"{frame.batch_max_rows:,} rows", f"or {frame.batch_max_bytes / 2**20:g} MiB"),
        ("batch age", f"{frame.batch_max_age_seconds:g} s", "deliver.max_age_seconds"),
    ]


def _cost_cells(cost: Cost, prefix: str) -> tuple[str, str]:
    return f"{cost.us_per_item:g} us/item", f"CPU, {prefix}{cost.at_bytes:g} bytes an item"
