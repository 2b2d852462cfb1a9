"""Rules that hold for every file of the package."""

from __future__ import annotations

import ast
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import caveau
import pytest

ROOT = Path(caveau.__file__).parent
FOLDERS = ("framework", "storage", "engines", "auth", "server", "cli")
FILES = [
    ROOT / "__init__.py",
    ROOT / "__main__.py",
    *(f for each in FOLDERS for f in sorted((ROOT / each).rglob("*.py"))),
]
SERIALIZERS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
EVALUATORS = {"eval", "exec", "compile", "__import__"}
SHELLS = {("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput")}
UNSAFE = {("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"), ("tempfile", "mktemp")}


@pytest.fixture(scope="module")
def nodes() -> list[tuple[str, ast.AST]]:
    """Every node of every file, with the file's name."""
    return [(str(file.relative_to(ROOT)), node) for file in FILES for node in ast.walk(ast.parse(file.read_text()))]


def imports(nodes: list[tuple[str, ast.AST]]) -> Iterator[tuple[str, str]]:
    """Every absolute import: where it is, and the first part of the module's name."""
    for file, node in nodes:
        where = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from ((where, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield where, (node.module or "").partition(".")[0]


def calls(nodes: list[tuple[str, ast.AST]]) -> Iterator[tuple[str, ast.Call]]:
    for file, node in nodes:
        if isinstance(node, ast.Call):
            yield f"{file}:{node.lineno}: {ast.unparse(node)[:80]}", node


def attribute(call: ast.Call) -> tuple[str, str]:
    """``("os", "system")`` of a call ``os.system(...)``."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.value.id, function.attr
    return "", ""


def test_imports_inside_the_package_are_relative(nodes):
    assert [found for found in imports(nodes) if found[1] in ("caveau", *FOLDERS)] == []


def test_no_format_that_runs_code_is_read_or_written(nodes):
    assert [found for found in imports(nodes) if found[1] in SERIALIZERS] == []
    assert [where for where, call in calls(nodes) if attribute(call) in UNSAFE] == []


def test_nothing_is_evaluated(nodes):
    assert [where for where, call in calls(nodes)
            if isinstance(call.func, ast.Name) and call.func.id in EVALUATORS] == []  # fmt: skip


def test_no_shell_is_started(nodes):
    assert [where for where, call in calls(nodes)
            if attribute(call) in SHELLS or any(keyword.arg == "shell" for keyword in call.keywords)] == []  # fmt: skip


def test_secrets_do_not_come_from_the_predictable_generator(nodes):
    """The client's pause before a retry may; whatever else is random comes from ``secrets`` or ``os.urandom``."""
    users = {where.partition(":")[0] for where, name in imports(nodes) if name == "random"}
    assert users <= {"cli/client.py"}


def test_sql_is_written_in_stores_only(nodes):
    """How it is put together there is for ruff's S608 to check."""
    users = {
        where.partition(":")[0] for where, name in imports(nodes) if name in ("sqlite3", "aiosqlite", "sqlalchemy")
    }
    assert {user.partition("/")[0] for user in users} == {"storage"}


@pytest.mark.timeout(180)
def test_imports_run_one_way():
    lint = Path(sysconfig.get_path("scripts")) / "lint-imports"
    run = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
