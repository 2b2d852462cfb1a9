"""``monitor`` prints lines as they come."""

from __future__ import annotations

from ..stub import Answer, serving

LINES = b"2026-01-31T12:00:00.000Z [INFO]  core: one\n2026-01-31T12:00:01.000Z [INFO]  core: two\n"


def test_lines_are_printed(caveau):
    with serving(Answer(200, LINES)) as stub:
        ran = caveau("monitor", f"-address={stub.address}", "-log-level=DEBUG", "-log-format=json")
    assert (ran.code, ran.out, ran.err) == (0, LINES.decode(), "")
    assert stub.asked[0].path == "/v1/sys/monitor?log_format=json&log_level=debug"


def test_a_refusal(caveau):
    with serving(Answer(403, {"errors": ["permission denied"]})) as stub:
        ran = caveau("monitor", f"-address={stub.address}")
    assert ran.code == 1
    assert ran.err.startswith("Error starting monitor: Error making API request.\n\nURL: GET ")
    assert ran.err.endswith("Code: 403. Errors:\n\n* permission denied\n")


def test_no_server(caveau):
    ran = caveau("monitor", "-address=http://127.0.0.1:1")
    assert (ran.code, "connection refused" in ran.err) == (1, True)


def test_a_level_that_is_none(caveau):
    ran = caveau("monitor", "-log-level=bad")
    expected = "bad is an unknown log level. Valid log levels are: [trace debug info warn error]\n"
    assert (ran.code, ran.err) == (1, expected)


def test_what_would_be_sent(caveau):
    ran = caveau("monitor", "-output-curl-string")
    assert (ran.code, "/v1/sys/monitor?log_format=standard&log_level=info" in ran.out) == (0, True)
