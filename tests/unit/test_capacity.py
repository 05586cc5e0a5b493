"""A capacity plan: enough of everything, growing with the load, and honest about what it cannot keep."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import capacity_simulation, deliver
from bridge.__main__ import main
from bridge.capacity import Load, Plan, plan
from bridge.capacity_costs import Cost, costs_of_report, measured_costs
from bridge.capacity_lanes import Frame, Pod
from bridge.capacity_simulation import simulate
from bridge.capacity_warnings import warnings_of
from bridge.cli.capacity import Asked, capacity
from bridge.errors import SettingsInvalid
from bridge.settings import Settings

COSTS = measured_costs("logs", 1000)
LOADS = st.builds(
    Load,
    signal=st.just("logs"),
    events_per_second=st.floats(1, 5e6),
    bytes_per_event=st.floats(50, 5000),
    items_per_request=st.sampled_from([1, 100, 1000, 20_000]),
)
TWO_MILLION = Load("logs", 2_000_000, 300)
ROW: dict[str, Any] = {
    "system": "headrace",
    "leg": "receive",
    "signal": "logs",
    "transport": "grpc",
    "items_per_request": 1000,
    "cpu_us_per_item": 1.5,
    "otlp_bytes_per_item": 250.0,
}


def pod(items_per_second: float, lanes: int) -> Pod:
    return Pod(items_per_second, 300, 1000, lanes, COSTS, Frame())


def sizes(made: Plan) -> tuple[float, ...]:
    kafka, store = made.kafka, made.store
    return (
        made.receive_pods,
        made.deliver_pods,
        store.servers,
        kafka.in_bytes_per_second,
        store.bytes_retained,
    )


def changes(made: Plan) -> str:
    return " ".join(f"{each.problem}: {each.change}" for each in warnings_of(made))


@settings(max_examples=25)
@given(load=LOADS, more=st.floats(1.0, 10.0))
def test_more_load_never_takes_less(load: Load, more: float) -> None:
    """Pods, servers and bytes grow with the load."""
    small, large = plan(load, COSTS), plan(replace(load, events_per_second=load.events_per_second * more), COSTS)
    assert all(now >= before for now, before in zip(sizes(large), sizes(small), strict=True))


@settings(max_examples=25)
@given(load=LOADS)
def test_every_deliver_pod_has_the_same_number_of_partitions(load: Load) -> None:
    """Partitions are a multiple of the deliver pods, at least one each."""
    made = plan(load, COSTS)
    assert made.partitions == made.deliver_pods * made.lanes_per_pod
    assert made.lanes_per_pod >= 1


@settings(max_examples=25)
@given(load=LOADS)
def test_nothing_is_planned_fuller_than_the_target(load: Load) -> None:
    """CPU, slots and lanes stay at the target utilisation, ClickHouse within the share it gives to inserts."""
    used = dict(plan(load, COSTS).utilisations)
    assert used.pop("ClickHouse's share for inserts") <= 1 + 1e-9
    assert max(used.values()) <= Frame().target_utilisation + 1e-9


@settings(max_examples=25)
@given(load=LOADS, age=st.floats(0.1, 5.0))
def test_the_lag_bound_is_kept_or_told(load: Load, age: float) -> None:
    """No plan is silent about lag that is over the bound."""
    made = plan(load, COSTS, Frame(batch_max_age_seconds=age))
    assert made.is_in_time or "lag" in changes(made)


def test_two_million_logs_a_second_are_visible_within_three_seconds() -> None:
    """The load of the issue, at the checked-in costs, keeps its bound by formula and by simulation."""
    made = plan(TWO_MILLION, COSTS)
    assert made.is_in_time
    assert made.expected_lag.p99_seconds < 3
    assert "inserts/s into one table of one server" in changes(made)
    assert "one clickhouse.host" in changes(made)


def test_batches_that_wait_too_long_are_told() -> None:
    """With an age of 5 s the bound of 3 s cannot be kept, and the setting to change is named."""
    assert "deliver.max_age_seconds" in changes(plan(Load("logs", 1000, 300), COSTS, Frame(batch_max_age_seconds=5)))


def test_a_trickle_has_the_lag_of_its_age() -> None:
    """A sender that is seldom heard of waits for the batch's age, in the simulation too."""
    lag = plan(Load("logs", 0.01, 300), COSTS).simulated_lag
    assert lag.p50_seconds == pytest.approx(1.0, abs=0.1)


def test_small_requests_are_told_to_cost_more_than_was_measured() -> None:
    """Receiving one item a request is not what the figures are of."""
    assert "items a request; 1 cost more" in changes(plan(replace(TWO_MILLION, items_per_request=1), COSTS))


def test_larger_items_cost_more_but_not_in_proportion() -> None:
    """Half of the cost is the item's, half its bytes'."""
    cost = Cost(2.0, 300)
    assert cost.seconds(300) == pytest.approx(2e-6)
    assert cost.seconds(600) == pytest.approx(3e-6)


@pytest.mark.parametrize(
    ("items_per_second", "lanes"), [(1000, 1), (10_000, 3), (20_000, 1), (30_000, 2), (50_000, 3), (50_000, 4)]
)
def test_formula_and_simulation_agree_roughly(items_per_second: float, lanes: int) -> None:
    """Up to the target utilisation they are within a third of one another at p99."""
    made = pod(items_per_second, lanes)
    assert made.utilisation <= 0.7
    assert made.expected_lag().p99_seconds == pytest.approx(simulate(made).p99_seconds, rel=1 / 3)


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_lag_grows_under_overload(lanes: int) -> None:
    """Three times what the pod can carry: the formula says never, the simulation's lag grows and is over the bound."""
    made = pod(3 * 70_000, lanes)
    found = simulate(made)
    assert made.expected_lag().p99_seconds == float("inf")
    assert found.is_growing
    assert found.p99_seconds > simulate(pod(20_000, lanes)).p99_seconds
    assert simulate(made, seconds=120).p99_seconds > 1.5 * found.p99_seconds


def test_a_throttled_pod_is_later_than_a_whole_core() -> None:
    """The quota is felt: the same load on a full core has less lag."""
    tenth = replace(pod(40_000, 2), frame=Frame(pod_cpus=0.1))
    whole = replace(tenth, frame=Frame(pod_cpus=1.0))
    assert simulate(whole).p50_seconds < simulate(tenth).p50_seconds


def test_the_same_seed_gives_the_same_lags() -> None:
    """A plan does not change between two calls."""
    assert simulate(pod(30_000, 3), seed=5) == simulate(pod(30_000, 3), seed=5)
    assert simulate(pod(30_000, 3), seed=5) != simulate(pod(30_000, 3), seed=6)


def test_the_simulated_lane_tops_up_as_the_real_one() -> None:
    """The simulation does not import the flow, so its copy of the share is held here."""
    assert capacity_simulation.TOP_UP_SHARE == deliver.TOP_UP_SHARE


def test_an_outage_is_drained_by_what_the_load_leaves_over() -> None:
    """Half used: as long as the outage; nothing over: never."""
    servers = replace(COSTS, clickhouse=Cost(4.0, 300))
    half = plan(Load("logs", 1_000_000, 300), servers, Frame(clickhouse_cores=10, clickhouse_insert_share=0.8))
    used = max(half.utilisations.values())
    assert half.drain.seconds == pytest.approx(600 * used / (1 - used))
    full = plan(Load("logs", 1_000_000, 300), servers, Frame(clickhouse_cores=8))
    assert full.drain.seconds is None
    assert "never ends" in changes(full)


def test_a_report_gives_receive_and_deliver_of_its_nearest_size() -> None:
    """The largest measured size that is not above what was asked for, or the smallest; our own rows only."""
    rows = [
        {**ROW, "items_per_request": 1, "cpu_us_per_item": 50.0},
        ROW,
        {**ROW, "system": "otelcol", "cpu_us_per_item": 0.1},
        {**ROW, "leg": "deliver", "transport": "kafka", "cpu_us_per_item": 1.9, "otlp_bytes_per_item": None},
    ]
    found = costs_of_report(rows, "logs", 5000, COSTS)
    assert (found.receive, found.receive_items_per_request) == (Cost(1.5, 250), 1000)
    assert found.deliver == Cost(1.9, 250)
    assert costs_of_report(rows, "logs", 999, COSTS).receive == Cost(50.0, 250)
    with pytest.raises(SettingsInvalid, match="traces, leg receive"):
        costs_of_report(rows, "traces", 100, COSTS)


def test_the_plan_is_printed_with_its_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    """Parts, lag, the figures reckoned with, and what to change."""
    assert capacity(Settings(), Asked(TWO_MILLION, None, None, as_json=False)) == 0
    text, receiving = capsys.readouterr().out, f"{COSTS.receive.us_per_item:g} us/item"
    for part in ("deliver pods", "partitions", "lag p50 / p99, simulated", receiving, "WARNING", "change:"):
        assert part in text


def test_settings_and_files_change_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Batches come from the configuration, costs from the report, single figures from --costs."""
    latest, costs = tmp_path / "latest.json", tmp_path / "costs.json"
    latest.write_text(json.dumps({"results": [ROW, {**ROW, "leg": "deliver", "cpu_us_per_item": 1.9}]}))
    costs.write_text(json.dumps({"pod_cpus": 1, "clickhouse": {"us_per_item": 7}, "commit_seconds": 0.02}))
    half = Settings.model_validate({"deliver": {"max_age_seconds": 0.5}})
    assert capacity(half, Asked(TWO_MILLION, latest, costs, as_json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frame"]["batch_max_age_seconds"] == 0.5
    assert told["frame"]["pod_cpus"] == 1
    assert told["costs"]["receive"]["us_per_item"] == 1.5
    assert told["costs"]["clickhouse"] == {"us_per_item": 7, "at_bytes": 290}
    assert told["load"] == asdict(TWO_MILLION)


def test_a_plan_that_cannot_keep_up_is_still_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With commits of ten seconds no number of lanes is enough; the lag is null and the plan says that it grows."""
    path = tmp_path / "costs.json"
    path.write_text('{"commit_seconds": 10}')
    assert capacity(Settings(), Asked(TWO_MILLION, None, path, as_json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["expected_lag"] is None
    assert not told["is_in_time"]
    assert "lag" in told["warnings"][0]["problem"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "Expecting value"),
        ("[]", "not a JSON object"),
        ('{"pod_cpu": 1}', "pod_cpu: unknown; there are clickhouse"),
        ('{"pod_cpus": 0}', "pod_cpus: must be a number above 0"),
        ('{"receive": 3}', "receive: must be an object"),
        ('{"receive": {"us_per_item": true}}', "receive.us_per_item: must be a number"),
        ('{"target_utilisation": 1.5}', "target_utilisation: a share"),
    ],
)
def test_a_costs_file_that_cannot_be_used_is_named(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, the option and what is wrong with which figure."""
    path = tmp_path / "costs.json"
    path.write_text(text)
    assert capacity(Settings(), Asked(TWO_MILLION, None, path, as_json=False)) == 2
    error = capsys.readouterr().err
    assert "--costs" in error
    assert told in error


@pytest.mark.parametrize("text", ["{}", '{"results": [1]}', '{"results": []}'])
def test_a_report_that_cannot_be_used_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, for another file as for one that has not measured the signal; likewise if it is not there."""
    path = tmp_path / "latest.json"
    assert capacity(Settings(), Asked(TWO_MILLION, path, None, as_json=False)) == 2
    path.write_text(text)
    assert capacity(Settings(), Asked(TWO_MILLION, path, None, as_json=False)) == 2
    assert capsys.readouterr().err.count("--latest") == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--events-per-second", "-1"),
        ("--events-per-second", "many"),
        ("--events-per-second", "inf"),
        ("--bytes-per-event", "0"),
        ("--items-per-request", "1.5"),
        ("--retention-days", "nan"),
        ("--signal", "metrics"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_option(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 before anything is reckoned."""
    good = {"--events-per-second": "10", "--bytes-per-event": "300", option: value}
    with pytest.raises(SystemExit) as caught:
        main(["capacity", *(part for pair in good.items() for part in pair)])
    assert caught.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def test_the_command_runs_as_its_user_starts_it() -> None:
    """`headrace capacity` needs no configuration and no service."""
    command = [sys.executable, "-m", "bridge", "capacity", "--events-per-second", "2e6", "--bytes-per-event", "300"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["is_in_time"] is True
