"""What can go wrong, by what the caller does about it.

BridgeError
  Retryable(retry_after_seconds)   the same bytes may succeed later
    Overloaded                     the budget of bytes in flight is taken
    QuotaExceeded                  the organisation has used up what it may send for now
    LogUnavailable                 the log cannot make data durable now
      LogFull                      it is at its size limit
    SinkUnavailable                the store is down, read-only or over its limits
  Permanent                        the same bytes will never succeed
    Malformed                      not OTLP
    Unauthenticated                no credential, or one nobody knows
    PermissionDenied               a known credential that may not write
    TooLarge                       over a limit on size
    UnsupportedMedia               a content type or encoding we do not speak
    SlowClient                     the body did not come in time
    RejectedBySink                 the store refuses these rows
  Revoked                          the partition belongs to another reader now: stop working on it
  SettingsInvalid                  the settings cannot be used; every mistake is in the text

Everything else (TypeError, AssertionError, ...) is a bug and may end the process: what was accepted is in the log.
`reason` is a short constant for metrics and answers; the text is for people.
"""


class BridgeError(Exception):
    reason = "internal"


class Retryable(BridgeError):
    """The same bytes may succeed later; wait `retry_after_seconds` if given, else back off."""

    reason = "unavailable"

    def __init__(self, message: str, retry_after_seconds: float | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        if reason is not None:
            self.reason = reason


class Overloaded(Retryable):
    reason = "overloaded"


class QuotaExceeded(Retryable):
    reason = "quota"


class LogUnavailable(Retryable):
    reason = "log_unavailable"


class LogFull(LogUnavailable):
    reason = "log_full"


class SinkUnavailable(Retryable):
    reason = "sink_unavailable"


class Permanent(BridgeError):
    """The same bytes will never succeed; do not send them again."""

    reason = "permanent"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class Malformed(Permanent):
    reason = "malformed"


class Unauthenticated(Permanent):
    reason = "unauthenticated"


class PermissionDenied(Permanent):
    reason = "permission_denied"


class TooLarge(Permanent):
    reason = "too_large"


class UnsupportedMedia(Permanent):
    reason = "unsupported_media"


class SlowClient(Permanent):
    reason = "slow_client"


class RejectedBySink(Permanent):
    """`code` is the store's own error number, 0 if it gave none."""

    reason = "rejected_by_sink"

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Revoked(BridgeError):
    reason = "revoked"


class SettingsInvalid(BridgeError):
    reason = "settings"
