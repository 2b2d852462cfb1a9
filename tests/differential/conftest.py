"""Print what the differential tests found at the end of the run."""

from __future__ import annotations

import pytest

SECTION = "differential"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties:
                if name == SECTION:
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(text))
