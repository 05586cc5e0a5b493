"""The query API: the Observer contract on the stored telemetry. Empty until its issue; the reading side's place."""
