"""Caveau and OpenBao answer alike: the same requests to both, and every difference accounted for.

``DIFFERENTIAL_AREAS=kv_v2,token`` plays only those transcripts (and then asks nothing of unused rows);
``DIFFERENTIAL_REPORT=FILE`` writes the whole table of differences there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from caveau.tests.differential.replay import replay
from caveau.tests.differential.report import Report, coverage
from caveau.tests.differential.script import Case, load
from caveau.tests.differential.sweep import sweep
from caveau.tests.peers import bao_server_like_vault, bao_server_sealed, caveau_server, caveau_server_sealed

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(300)]

BAO = (bao_server_like_vault, bao_server_sealed)
CAVEAU = (caveau_server, caveau_server_sealed)
AT_LEAST = 0.97

_areas = {area for area in os.environ.get("DIFFERENTIAL_AREAS", "").split(",") if area}


def _cases() -> list[Case]:
    return [case for case in [*load(), *sweep()] if not _areas or case.area in _areas]


def test_caveau_agrees_with_bao(record_property: Callable[[str, object], None]) -> None:
    cases = _cases()
    report = Report(replay(cases, CAVEAU, BAO))
    told = f"{report.summary()}\n{'' if _areas else coverage(cases)}"
    record_property("differential", f"{told}\n{report.table(limit=150)}")
    if path := os.environ.get("DIFFERENTIAL_REPORT"):
        Path(path).write_text(f"{told}\n{report.table()}\n")
    assert report.agreeing >= AT_LEAST
    assert _areas or not report.unused


def test_bao_agrees_with_itself(record_property: Callable[[str, object], None]) -> None:
    """What is left when both sides are the same is noise that the comparison should have evened out.

    A few of bao's answers vary by luck (which check a wrong share fails first): what differs has to differ twice.
    """
    report = Report(replay(_cases(), BAO, BAO), intended=())
    record_property("differential", report.summary())
    if left := set(report.table().splitlines()):
        again = Report(replay(_cases(), BAO, BAO), intended=())
        assert not left & set(again.table().splitlines())
