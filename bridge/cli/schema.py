"""`headrace schema plan|apply|check` on a ClickHouse server or on the embedded store while nobody runs on it."""

from bridge.assembly_store import clickhouse_settings, schema_options
from bridge.settings import Settings
from sinks.clickhouse import Connection


def connect(settings: Settings) -> Connection:
    return Connection(clickhouse_settings(settings))


def schema(settings: Settings, action: str) -> int:
    """0 done or in order, 1 if `check` found differences. Raises the sink's errors."""
    connection, options = connect(settings), schema_options(settings)
    if action == "plan":
        steps = connection.plan_schema(options)
        for step in steps:
            print(f"-- step {step.number}: {step.name}")
            print(";\n\n".join(step.statements) + ";\n")
        print(f"-- {len(steps)} step(s) missing")
        return 0
    if action == "apply":
        taken = connection.apply_schema(options)
        print(f"applied: {', '.join(taken)}" if taken else "nothing to apply")
        return 0
    differences = connection.check_schema(options)
    print("\n".join(differences) if differences else "the schema is as it should be")
    return 1 if differences else 0
