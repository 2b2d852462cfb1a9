"""Every command that the documentation shows works, and what it says of the code is so.

``CAVEAU_UPDATE_DOCS=1 pytest tests/docs`` rewrites the parts of pages that are generated.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
from dataclasses import Field
from pathlib import Path
from typing import Any

import caveau
import pytest
from caveau.server.config import model
from caveau.tests.differential.intended import INTENDED
from caveau.tests.differential.sweep import ABSENT
from caveau.tests.docs.page import Shell, run

ROOT = Path(caveau.__file__).parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *PAGES]


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_work_as_shown(page, tmp_path):
    text = page.read_text()
    missing = [tool for tool in ("curl", "jq", "openssl", "sqlite3") if f"{tool} " in text and not shutil.which(tool)]
    if missing:
        pytest.skip(f"the page's commands need: {', '.join(missing)}")
    places = {place: free_address() for place in dict.fromkeys(re.findall(r"127\.0\.0\.1:82\d\d", text))}
    places |= {"/etc/caveau": f"{tmp_path}/etc", "/var/lib/caveau": f"{tmp_path}/lib"}
    for folder in ("etc", "lib"):
        (tmp_path / folder).mkdir()
    with Shell(tmp_path, places) as shell:
        problems = run(text, shell)
    if problems:
        pytest.fail("\n\n".join(problems), pytrace=False)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_links_lead_somewhere(text):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text.read_text()):
        if "://" not in target:
            assert (text.parent / target).exists(), target


FOLDERS = ("framework", "storage", "engines", "auth", "server", "cli", "docs", "tests", "scripts", "benchmarks", "helm",
           "docker")  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_files_that_are_named_exist(text):
    for name in re.findall(r"`([\w./-]+/[\w./-]*)`", text.read_text()):
        if (
            name.split("/")[0] in FOLDERS
            and (name.endswith("/") or Path(name).suffix)
            and not re.search(r"[A-Z]{3}", Path(name).stem)
        ):
            assert (ROOT / name).exists(), name


# docs/server.md: the tables of directives

SECTIONS = {
    "At the top": model.ServerConfig,
    "In a listener block": model.ListenerConfig,
    "In an audit block": model.AuditConfig,
    "In a user_lockout block": model.UserLockoutConfig,
    "In the telemetry block": model.TelemetryConfig,
}


def rows(section: str) -> dict[str, list[str]]:
    """Cells of the tables below a heading of docs/server.md, by the name in the first cell."""
    text = (ROOT / "docs" / "server.md").read_text()
    below = text.split(f"\n#### {section}\n", 1)[1].split("\n#", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in below.splitlines()
             if line.startswith("| `")]  # fmt: skip
    return {row[0].strip("`"): row[1:] for row in cells}


def default(item: Field[Any], kind: Any) -> str:
    """A default as the page writes it."""
    value = item.default
    if kind is model.OCTAL:
        return f"`{value:04o}`"
    if kind in (model.SECONDS, model.LONGEST):
        return "none" if not value else f"`{value / 3600:g}h`" if value >= 3600 else f"`{value:g}s`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int):
        return f"`{value}`" if value else "0"
    return f"`{value}`" if isinstance(value, str) and value else "none"


@pytest.mark.parametrize("section", SECTIONS)
def test_the_tables_of_directives_are_complete_and_right(section):
    directives = model.directives(SECTIONS[section])
    found = rows(section)
    assert set(found) == set(directives)
    wrong = {name: (row[0], default(*directives[name])) for name, row in found.items()
             if row[0] != default(*directives[name])}  # fmt: skip
    assert wrong == {}
    assert [name for name, row in found.items() if len(row) != 2 or len(row[1]) < 10] == []


UNUSED = "no effect yet"
ALSO_NAMES_OF_ELSE = {"role", "local", "description", "options", "path"}


def names_acted_on() -> set[str]:
    """Every name that the server's code uses, but where it only reads or shows its configuration."""
    used: set[str] = set()
    for file in (*(ROOT / "server").rglob("*.py"), *(ROOT / "framework").rglob("*.py")):
        if file.name == "host.py" or (file.parent.name == "config" and file.name != "model.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif file.name == "model.py":
                pass
            elif isinstance(node, ast.Constant):
                used.add(str(node.value))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                used.add(node.target.id)
    return used


@pytest.mark.parametrize("section", SECTIONS)
def test_directives_that_nothing_acts_on_are_marked(section):
    acted = names_acted_on()
    for name, row in rows(section).items():
        target = model.directives(SECTIONS[section])[name][0].name
        if target in ALSO_NAMES_OF_ELSE:
            continue
        assert (UNUSED in row[1]) == (target not in acted), f"{name}: {row[1]}"


# Parts that are generated


def generated(page: Path, name: str, content: str) -> None:
    """Check, or rewrite where asked to, the part of a page between its two markers."""
    text = page.read_text()
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, rest = text.split(begin)
    old, after = rest.split(end)
    if os.environ.get("CAVEAU_UPDATE_DOCS"):
        page.write_text(before + begin + content + end + after)
    else:
        assert old == content, f"{page.name} is behind: CAVEAU_UPDATE_DOCS=1 pytest tests/docs"


def cell(pattern: str) -> str:
    return "any" if pattern == ".*" else "`" + pattern.replace("|", "\\|") + "`"


def test_the_table_of_intended_differences_is_in_step():
    head = "| requests | what differs | why |\n|---|---|---|\n"
    lines = (f"| {cell(each.request)} | {cell(each.aspect)} | {each.reason} |\n" for each in INTENDED)
    generated(ROOT / "docs" / "compatibility.md", "intended differences", head + "".join(lines))


def test_the_table_of_what_is_intended_to_be_absent_is_in_step():
    lines = (f"| `{path.removeprefix('/')}{'*' * path.endswith('/')}` | {why} |\n" for path, why in ABSENT.items())
    generated(ROOT / "docs" / "compatibility.md", "absent", "| path | why |\n|---|---|\n" + "".join(lines))
