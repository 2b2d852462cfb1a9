"""Transcripts are read as their format says, and the report counts intended differences honestly."""

from __future__ import annotations

from caveau.tests.differential.compare import Difference
from caveau.tests.differential.intended import Intended
from caveau.tests.differential.replay import Observation
from caveau.tests.differential.report import Report, never_asked
from caveau.tests.differential.script import Case, load, parse, parse_request
from caveau.tests.differential.sweep import ABSENT, declared, operations, sweep

CASE = Case("area", "name", frozenset())


def test_a_line_holds_who_what_and_how() -> None:
    request = parse_request('weak POST $kv1/a {"a | b": 1} | X-A: 1:2 | shape | depth=2 => t=data.0.x u=y')
    assert (request.who, request.verb, request.path, request.body) == ("weak", "POST", "$kv1/a", '{"a | b": 1}')
    assert request.headers == (("X-A", "1:2"),)
    assert (request.shape_only, request.depth, request.setup) == (True, 2, False)
    assert request.capture == (("t", "data.0.x"), ("u", "y"))
    assert parse_request("- GET sys/mounts | wait").setup


def test_cases_keep_their_needs_and_order() -> None:
    first, second = parse("# text\ncase one [kv1 sealed]\nGET a\n\ncase two\n- GET b\nGET c\n", "area")
    assert (first.name, first.needs, first.sealed) == ("one", {"kv1", "sealed"}, True)
    assert [r.path for r in second.requests] == ["b", "c"]


def test_every_operation_is_asked() -> None:
    assert never_asked([*load(), *sweep()]) == []
    assert len(never_asked(load())) > 10, "the transcripts alone do not ask everything"
    paths = [path for area in declared().values() for path in area]
    assert len(paths) > sum(map(len, operations().values()))
    assert not [beginning for beginning in ABSENT if not any(path.startswith(beginning) for path in paths)]
    names = [(case.area, case.name) for case in load()]
    assert len(names) == len(set(names))


def test_intended_differences_agree_and_unused_rows_show() -> None:
    status, value = Difference("status", "200", "204"), Difference("value a", "1", "2")
    observed = [
        Observation(CASE, parse_request(f"GET {n}"), found)
        for n, found in (("a", []), ("b", [status]), ("c", [value]), ("d", [status, value]))
    ]
    useful = Intended("on purpose", aspect="status", request="GET b")
    useless = Intended("never happens", aspect="error")
    report = Report(observed, (useful, useless))
    assert report.agreeing_outright == 0.5
    assert report.agreeing == 0.75
    assert report.agreeing_in_values == 0.5
    assert report.unused == [useless]
    assert "GET d" in report.table()
    assert "GET b" not in report.table()
