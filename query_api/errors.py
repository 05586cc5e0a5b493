"""What a question can end in, by what the caller does about it; `query_api/render.py` gives each its status and body.

QueryError
  InvalidRequest        400: the request is wrong; `code` is OBS-L-10 (missing) or OBS-L-12 (anything else)
    SlowBody            408: the body did not come in time
  NotAuthenticated      401: no credential, or one that does not hold
  NotAllowed            403: a known caller without a role for what was asked
  NotFound              404: what the path names is not there for this caller
  RequestTooLarge       413: the body is over query.max_request_bytes
  TooManyRequests       429: over the caller's rate, or every place for a query is taken
  StoreUnavailable      503: the store cannot be asked now; the same question may work later
  QueryTimeout          504: the store did not finish in time; a narrower question may work
  AnswerTooLarge        400: the answer is over a limit on size; a smaller question works
  StoreFailed           500: the store refused a question of ours
"""


class QueryError(Exception):
    """`str()` is the message for the caller: never the store's own words."""


class InvalidRequest(QueryError):
    """`is_missing`: a parameter that has to be there is not (missingParameter, OBS-L-10)."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


class SlowBody(InvalidRequest):
    pass


class NotAuthenticated(QueryError):
    """`reason` is a short constant for the metric and the log."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotAllowed(QueryError):
    pass


class NotFound(QueryError):
    pass


class RequestTooLarge(QueryError):
    pass


class TooManyRequests(QueryError):
    """`retry_after_seconds` is told to the caller."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StoreUnavailable(QueryError):
    """`reason` is for the metric and the program's own log."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class QueryTimeout(QueryError):
    pass


class AnswerTooLarge(QueryError):
    """Without words of its own, the advice that holds for any answer."""

    def __init__(
        self, message: str = "the answer is too large: ask for fewer rows (limit) or a shorter time range"
    ) -> None:
        super().__init__(message)


class StoreFailed(QueryError):
    """The store refused a question of ours: a bug, or a store that is not ours. Its text is for the program's log."""
