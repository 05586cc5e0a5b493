"""The query API, asked over HTTP: the only module of the client commands that knows urllib, TLS and error bodies.

The contract is that of the Observer: logs under `/api/logs/`, traces under `/api/v1alpha1/traces/`; errors of the first
are `{error, code, message}`, of the second `{title, errorCode, message}`. Ours adds the headers read here.
"""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Final, Self

from bridge.cli.moments import parse_moment
from bridge.errors import BridgeError, SettingsInvalid
from bridge.settings import Settings

# What a later, equal question may be answered to; 502 comes from proxies before the query API.
TRANSIENT: Final = frozenset({429, 502, 503, 504})
ADVICE: Final = {
    401: "; give a token with --token-file or HEADRACE_CLIENT__TOKEN (setting client.token)",
    404: "; is this the query API? (setting client.url, or --url)",
}
Fields = Mapping[str, Any]


class AskFailed(BridgeError):
    """No answer to show. `is_transient`: the same question may be answered later. `kind` changes with the cause."""

    def __init__(self, message: str, kind: str, *, is_transient: bool, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.is_transient = is_transient
        self.retry_after_seconds = retry_after_seconds


class Refused(AskFailed):
    """The query API answered with another status than 200."""

    def __init__(self, message: str, status: int, retry_after_seconds: float = 0.0) -> None:
        is_transient = status in TRANSIENT
        super().__init__(message, str(status), is_transient=is_transient, retry_after_seconds=retry_after_seconds)
        self.status = status


class Unreachable(AskFailed):
    """Nobody answered, or the connection broke."""

    def __init__(self, message: str, *, is_transient: bool = True) -> None:
        super().__init__(message, "unreachable", is_transient=is_transient)


class BadAnswer(AskFailed):
    """It is not what the contract says: another program listens there."""

    def __init__(self, url: str, what: str) -> None:
        text = f"{url} gave {what}, which the query API does not; is it one? (setting client.url, or --url)"
        super().__init__(text, "bad answer", is_transient=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` of a page. `next_cursor` is empty when there are no more; `total` counts all that match, up to a cap."""

    rows: Sequence[Fields]
    total: int = 0
    is_total_capped: bool = False
    next_cursor: str = ""
    complete_until_unix_nano: int | None = None


@dataclass(frozen=True, slots=True)
class Observer:
    """A query API at `url`. Every question raises `AskFailed` with a text that says what to do."""

    url: str
    token: str
    timeout_seconds: float
    opener: urllib.request.OpenerDirector

    @classmethod
    def of(cls, settings: Settings, url: str | None, token_file: Path | None) -> Self:
        """From the settings and the options that override them. Raises `SettingsInvalid`; connects to nothing."""
        client = settings.client if url is None else settings.client.at(url)
        token = client.token.get_secret_value().strip()
        if token_file is not None:
            token = _token_of(token_file)
        if not (token.isascii() and token.isprintable()) or " " in token:
            where = "client.token" if token_file is None else f"--token-file {token_file}"
            raise SettingsInvalid(f"{where}: a token is one line of ASCII without spaces")
        https = urllib.request.HTTPSHandler(context=_tls(settings))
        return cls(client.url, token, client.timeout_seconds, urllib.request.build_opener(https, _NoRedirect))

    def logs(self, path: str, body: Fields) -> Answer:
        """A page of log entries, each with a readable time; `path` is behind `/api/logs/`."""
        answer = self._ask(f"/api/logs/{path}", body, "logs", "totalCount")
        for row in answer.rows:
            try:
                parse_moment(str(row.get("timestamp")))
            except ValueError as error:
                raise BadAnswer(self.url, f"a row without a readable time ({error})") from None
        return answer

    def traces(self, body: Fields) -> Answer:
        """Trace summaries."""
        return self._ask("/api/v1alpha1/traces/query", body, "traces", "total")

    def spans(self, trace_id: str, body: Fields) -> Answer:
        """The spans of a trace."""
        return self._ask(f"/api/v1alpha1/traces/{trace_id}/spans/query", body, "spans", "total")

    def places(self) -> Sequence[Fields]:
        """Where the caller's telemetry comes from."""
        told, _ = self._send("/api/places", None)
        rows = told.get("places")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise BadAnswer(self.url, "an answer without 'places'")
        return rows

    def _ask(self, path: str, body: Fields, rows_key: str, total_key: str) -> Answer:
        told, headers = self._send(path, json.dumps(body).encode())
        rows, total = told.get(rows_key), told.get(total_key, 0)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise BadAnswer(self.url, f"an answer without {rows_key!r}")
        return Answer(
            rows,
            total if isinstance(total, int) else len(rows),
            headers.get("X-Total-Capped", "").lower() == "true",
            headers.get("X-Next-Cursor", ""),
            _moment_or_none(headers.get("X-Complete-Until", "")),
        )

    def _send(self, path: str, body: bytes | None) -> tuple[Fields, Message]:
        """An object and the headers of a 200: to a POST, or without a body to a GET."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "headrace"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, body, headers)  # noqa: S310 - Client.url is http(s)
        try:
            with self.opener.open(request, timeout=self.timeout_seconds) as answer:
                content, answered = answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                raise refusal(error.code, error.headers, _content_of(error)) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        try:
            told = json.loads(content)
        except ValueError:
            raise BadAnswer(self.url, "something that is not JSON") from None
        if not isinstance(told, dict):
            raise BadAnswer(self.url, "JSON that is not an object")
        return told, answered

    def _unreachable(self, error: Exception) -> Unreachable:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"the certificate of {self.url} is not trusted: {cause.verify_message} (setting client.ca_file)"
            return Unreachable(text, is_transient=False)
        if isinstance(cause, TimeoutError):
            waited = f"{self.timeout_seconds:g} s (setting client.timeout_seconds)"
            return Unreachable(f"{self.url} did not answer within {waited}")
        told = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause) or type(cause).__name__
        text = f"{self.url} cannot be reached: {told}; is the query API there? (setting client.url, or --url)"
        return Unreachable(text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to another host: it ends as the error that its status is."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def refusal(status: int, headers: Message, content: bytes) -> Refused:
    """The error that an answer with this status is, in either of the contract's shapes or none of them."""
    try:
        told = json.loads(content)
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    parts = [
        str(status),
        told.get("code") or told.get("errorCode"),
        told.get("error") or told.get("title") or http.client.responses.get(status),
    ]
    text = " ".join(str(part) for part in parts if part)
    message = told.get("message") or told.get("detail")
    if message:
        text += f": {message}"
    text += ADVICE.get(status, "") if status != 404 or not told else ""
    if request_id := headers.get("X-Request-Id"):
        text += f" (request id {request_id})"
    return Refused(f"the query API refused: {text}", status, _seconds(headers.get("Retry-After", "")))


def _content_of(error: urllib.error.HTTPError) -> bytes:
    """As much of an error's body as can be read: the status alone is an answer already."""
    try:
        return error.read(1 << 20)
    except (OSError, http.client.HTTPException):
        return b""


def _seconds(text: str) -> float:
    """Of a Retry-After, where it is a number; a date there is taken as no hint."""
    return float(text) if text.isdecimal() and len(text) < 10 else 0.0


def _moment_or_none(text: str) -> int | None:
    try:
        return parse_moment(text)
    except ValueError:
        return None


def _token_of(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"--token-file {file}: {getattr(error, 'strerror', None) or error}") from error
    if not token:
        raise SettingsInvalid(f"--token-file {file}: it is empty")
    return token


def _tls(settings: Settings) -> ssl.SSLContext:
    """Raises `SettingsInvalid` naming the setting whose file does not hold what it should."""
    client = settings.client
    try:
        context = ssl.create_default_context(cafile=client.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsInvalid(f"client.ca_file: {client.ca_file}: {error}") from error
    if client.cert_file is not None:
        try:
            context.load_cert_chain(client.cert_file, client.key_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsInvalid(
                f"client.cert_file: {client.cert_file} (key_file {client.key_file}): {error}"
            ) from error
    return context
