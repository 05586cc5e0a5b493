"""Back-off: exponential with full jitter, so that many writers do not come back together."""


def backoff_seconds(attempt: int, initial_seconds: float, max_seconds: float, spread: float) -> float:
    """How long to wait after failed attempt number `attempt` (from 1), `spread` being uniform in [0, 1).

    Full jitter between a tenth of the step and the whole step: never zero, never over `max_seconds`.
    """
    step = min(max_seconds, initial_seconds * 2.0 ** min(attempt - 1, 30))
    return step * (0.1 + 0.9 * spread)
