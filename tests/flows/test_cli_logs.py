"""`headrace logs` as its user runs it, against a real server that speaks the contract."""

import asyncio
import json
import os
import pty
import socket
from pathlib import Path

import pytest

from bridge.cli.moments import parse_moment
from tests.listeners import authority
from tests.observer_server import NOON, entry, failing, headrace, rows, serving, started
from tests.program import free_port

WINDOW = ("--from", "2026-01-31", "--to", "2026-02-01")


async def test_a_window_is_shown_oldest_first_across_pages() -> None:
    """All rows are there once, in order, however small the server's pages are; a pipe gets raw lines."""
    async with serving(rows=rows(25)[::-1], max_page=10) as server:
        ended = await headrace("logs", "component", "checkout", *WINDOW, "--url", server.url)
    assert (ended.status, ended.err) == (0, "")
    assert [line.split("] ")[1] for line in ended.lines] == [f"row {number}" for number in range(25)]
    assert ended.lines[0] == f"{NOON} [main] row 0"
    assert len(server.asked) == 3


async def test_over_the_limit_it_is_told_how_many_are_missing() -> None:
    """The oldest rows up to --limit on standard output, the number of the others on standard error."""
    async with serving(rows=rows(25)) as server:
        ended = await headrace("logs", "component", "c", *WINDOW, "--limit", "10", "--url", server.url)
        assert len(ended.lines) == 10
        assert "15 more rows match" in ended.err
        server.headers["X-Total-Capped"] = "true"
        ended = await headrace("logs", "component", "c", *WINDOW, "--limit", "10", "--url", server.url)
        assert "at least 15 more rows match" in ended.err


async def test_the_tail_is_the_newest_rows_oldest_first() -> None:
    """Asked newest first, shown as they happened."""
    async with serving(rows=rows(25), max_page=2) as server:
        ended = await headrace("logs", "component", "c", *WINDOW, "--tail", "3", "--url", server.url)
    assert [line.split("] ")[1] for line in ended.lines] == ["row 22", "row 23", "row 24"]
    assert {body["sortOrder"] for body in server.bodies} == {"desc"}


async def test_every_filter_reaches_the_server() -> None:
    """Options become the fields of the contract's bodies; names are quoted in the path."""
    async with serving() as server:
        at = ("--url", server.url, *WINDOW)
        await headrace(
            *("logs", "component", "a/b c", "--org", "acme", "--project", "shop", "--env", "dev", "--namespace", "ns"),
            *("--level", "error", "--level", "WARN", "--search", "boom", "--version", "v1", "--build", "b1"),
            *("--build-uuid", "u1", "--type", "build", *at),
        )
        await headrace("logs", "project", "shop", "--component", "a", "--component", "b", *at)
        await headrace("logs", "org", "acme", "--label", "k=v=w", *at)
        await headrace("logs", "gateway", "--org", "acme", "--vhost", "h", "--api", "i1=v2", "--api", "i2", *at)
    times = {"startTime": "2026-01-31T00:00:00Z", "endTime": "2026-02-01T00:00:00Z", "sortOrder": "asc", "limit": 1000}
    assert server.asked == [
        (
            "/api/logs/component/a%2Fb%20c",
            times
            | {"organizationId": "acme", "projectId": "shop", "environmentId": "dev", "namespace": "ns"}
            | {"logLevels": ["ERROR", "WARN"], "searchPhrase": "boom", "versions": ["v1"]}
            | {"buildId": "b1", "buildUuid": "u1", "logType": "BUILD"},
        ),
        ("/api/logs/project/shop", times | {"componentIds": ["a", "b"]}),
        ("/api/logs/org/acme", times | {"podLabels": {"k": "v=w"}}),
        (
            "/api/logs/gateway",
            times | {"organizationId": "acme", "gatewayVHosts": ["h"], "apiIdToVersionMap": {"i1": "v2", "i2": ""}},
        ),
    ]


async def test_the_last_hour_is_asked_for_unless_it_is_said_otherwise() -> None:
    """--since ends now; logs of builds are asked for without times."""
    async with serving() as server:
        await headrace("logs", "component", "c", "--url", server.url)
        await headrace("logs", "component", "c", "--since", "2d", "--url", server.url)
        await headrace("logs", "component", "c", "--type", "build", "--url", server.url)
    hour, days, build = server.bodies
    spans = [parse_moment(body["endTime"]) - parse_moment(body["startTime"]) for body in (hour, days)]
    assert spans == [3600 * 10**9, 2 * 86400 * 10**9]
    assert not {"startTime", "endTime"} & set(build)


async def test_json_is_the_servers_entries() -> None:
    """One object a line, nothing added or left out, whatever is in it."""
    odd = [entry(NOON, 'a "quoted"\nline \x1b[1m \ud800 é') | {"more": [1, 2**70]}]
    async with serving(rows=odd) as server:
        ended = await headrace("logs", "component", "c", *WINDOW, "--output", "json", "--url", server.url)
    assert [json.loads(line) for line in ended.lines] == odd


async def test_nothing_found_is_told_with_what_may_be_missing() -> None:
    """Status 0, an empty output, and on standard error the window and until when the store is complete."""
    async with serving(headers={"X-Complete-Until": "2026-01-31T13:00:00Z"}) as server:
        ended = await headrace("logs", "component", "c", *WINDOW, "--url", server.url)
        assert (ended.status, ended.out) == (0, "")
        assert "nothing found from 2026-01-31T00:00:00Z to 2026-02-01T00:00:00Z" in ended.err
        assert "data received after 2026-01-31T13:00:00Z may be missing" in ended.err
        server.headers["X-Complete-Until"] = "2026-02-01T00:00:00Z"
        ended = await headrace("logs", "component", "c", *WINDOW, "--url", server.url)
        assert "may be missing" not in ended.err


async def test_rows_are_shown_with_a_word_on_those_that_are_late() -> None:
    """A store that is more than a minute behind the window's end is told also when something was found."""
    async with serving(rows=rows(1), headers={"X-Complete-Until": "2026-01-31T23:58:00Z"}) as server:
        ended = await headrace("logs", "component", "c", *WINDOW, "--url", server.url)
        assert (len(ended.lines), "may be missing" in ended.err) == (1, True)
        server.headers["X-Complete-Until"] = "2026-01-31T23:59:30Z"
        ended = await headrace("logs", "component", "c", *WINDOW, "--url", server.url)
        assert (len(ended.lines), ended.err) == (1, "")


async def test_an_answer_that_does_not_come_ends_with_the_setting() -> None:
    """A server that takes the connection and stays silent is given up after client.timeout_seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ended = await headrace("logs", "component", "c", "--url", url, HEADRACE_CLIENT__TIMEOUT_SECONDS="0.2")
    assert ended.status == 1
    assert "did not answer within 0.2 s (setting client.timeout_seconds)" in ended.err


async def test_a_refusal_says_status_code_text_and_request_id() -> None:
    """Exit status 1, and all that helps whoever runs the server; its text cannot drive the terminal."""
    told = {"error": "forbidden", "code": "OBS-AUTH-01", "message": "no role \x1b[2J"}
    async with serving(fails=[failing(403, told, X_Request_Id="r-1"), failing(401)]) as server:
        ended = await headrace("logs", "component", "c", "--url", server.url)
        assert ended.status == 1
        assert "403 OBS-AUTH-01 forbidden: no role \\x1b[2J (request id r-1)" in ended.err
        ended = await headrace("logs", "component", "c", "--url", server.url)
        assert "401 Unauthorized; give a token with --token-file" in ended.err


async def test_a_server_that_is_not_there_is_named_with_its_setting() -> None:
    """Nobody listens, or somebody else does: the url and what to change."""
    ended = await headrace("logs", "component", "c", HEADRACE_CLIENT__URL=f"http://127.0.0.1:{free_port()}")
    assert ended.status == 1
    assert "cannot be reached: Connection refused" in ended.err
    assert "client.url" in ended.err
    async with serving(fails=[failing(200, {"pods": []}), failing(302, Location="http://127.0.0.1:1/")]) as server:
        ended = await headrace("logs", "component", "c", "--url", server.url)
        assert (ended.status, "without 'logs'" in ended.err) == (1, True)
        ended = await headrace("logs", "component", "c", "--url", server.url)
        assert (ended.status, "302" in ended.err) == (1, True)


async def test_the_token_goes_with_every_question(tmp_path: Path) -> None:
    """From the settings, or from a file that overrides them; never on the output."""
    file = tmp_path / "token"
    file.write_text("from-file\n")
    async with serving() as server:
        environ = {"HEADRACE_CLIENT__URL": server.url, "HEADRACE_CLIENT__TOKEN": "from-settings"}
        await headrace("logs", "component", "c", **environ)
        await headrace("logs", "component", "c", "--token-file", str(file), **environ)
        file.write_text("two\nlines")
        ended = await headrace("logs", "component", "c", "--token-file", str(file), **environ)
    assert server.tokens == ["Bearer from-settings", "Bearer from-file"]
    assert (ended.status, "--token-file" in ended.err, "lines\n" in ended.err) == (2, True, False)


async def test_tls_in_both_directions(tmp_path: Path) -> None:
    """The server's certificate is checked against client.ca_file, and ours is shown to it."""
    import ssl

    from cryptography import x509

    trusted = authority(tmp_path)
    cert, key = trusted.issue("server", x509.DNSName("localhost"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=trusted.file)
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    own_cert, own_key = trusted.issue("client", x509.DNSName("client"))
    async with serving(rows=rows(1), ssl=context) as server:
        ended = await headrace("logs", "component", "c", *WINDOW, "--url", server.url)
        assert (ended.status, "is not trusted" in ended.err, "client.ca_file" in ended.err) == (1, True, True)
        environ = {
            "HEADRACE_CLIENT__CA_FILE": str(trusted.file),
            "HEADRACE_CLIENT__CERT_FILE": str(own_cert),
            "HEADRACE_CLIENT__KEY_FILE": str(own_key),
        }
        ended = await headrace("logs", "component", "c", *WINDOW, "--url", server.url, **environ)
        assert (ended.status, len(ended.lines)) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("component", "c", "--since", "soon"), "--since"),
        (("component", "c", "--from", "soon"), "--from"),
        (("component", "c", "--from", "2026-02-02", "--to", "2026-02-01"), "is after --to"),
        (("component", "c", "--tail", "0"), "--tail 0"),
        (("component", "c", "-f", "--limit", "3"), "--limit"),
        (("component", "c", "-f", "--to", "2026-02-01"), "--to"),
        (("component", "c", "--tail", "3", "--limit", "3"), "not allowed with"),
        (("component", "c", "--url", "localhost:9097"), "--url"),
        (("component", " "), "NAME"),
        (("org", "c", "--label", "k"), "KEY=VALUE"),
        (("gateway",), "--org"),
    ],
)
async def test_wrong_usage_ends_with_2_and_names_the_option(arguments: tuple[str, ...], what: str) -> None:
    """Nothing is asked; the message has the option's name."""
    ended = await headrace("logs", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert what in ended.err


async def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    """As `| head`: the pipe is closed while there is more to write, and it is no error."""
    async with serving(rows=[entry(NOON, "x" * 1000) for _ in range(2000)]) as server:
        reading, writing = os.pipe()
        command = await started(
            "logs", "component", "c", *WINDOW, "--limit", "2000", "--url", server.url, stdout=writing
        )
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 10) == b"2026-01-31"
        os.close(reading)
        _, err = await asyncio.wait_for(command.communicate(), 30)
    assert (command.returncode, err) == (0, b"")


async def test_on_a_terminal_it_is_a_coloured_table() -> None:
    """With a terminal as its output the table is the default, levels are coloured and bodies are harmless."""
    async with serving(rows=[entry(NOON, "\x1b]0;owned\x07 hello", level="ERROR")]) as server:
        reading, writing = pty.openpty()
        environ = {"TERM": "xterm-256color", "COLUMNS": "100"}
        at = ("--url", server.url)
        command = await started("logs", "component", "c", *WINDOW, *at, stdout=writing, **environ)
        await asyncio.wait_for(command.communicate(), 30)
        shown = os.read(reading, 10_000).decode()
        os.close(writing)
        os.close(reading)
    assert "\x1b[31mERROR\x1b[0m" in shown
    assert "2026-01-31T12:00:00.000Z" in shown
    assert "\\x1b]0;owned\\x07 hello" in shown
