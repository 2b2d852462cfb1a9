"""What is installed is what is here: packages, entry points, the wheel, and what an import costs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import caveau
import pytest

ROOT = Path(caveau.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUNTIME = [*PROJECT["project"]["dependencies"], *EXTRAS["pgp"], *EXTRAS["mfa"]]
NOT_SHIPPED = {"tests", "benchmarks", "build", "dist"}
NAME = re.compile(r"[A-Za-z0-9._-]+")


def canonical(requirement: str) -> str:
    """The normalized name (PEP 503) of a requirement line."""
    return re.sub(r"[-_.]+", "-", NAME.match(requirement)[0]).lower()


def locked(file: str) -> set[str]:
    return {canonical(line) for line in (ROOT / file).read_text().splitlines() if NAME.match(line)}


def isolated(code: str) -> str:
    """What a fresh interpreter prints."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_listed_packages_are_the_folders_with_code():
    found = {
        ".".join(("caveau", *file.parent.relative_to(ROOT).parts))
        for file in ROOT.rglob("__init__.py")
        if not file.is_relative_to(ROOT / ".venv") and file.relative_to(ROOT).parts[0] not in NOT_SHIPPED
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_every_folder_with_modules_is_a_package():
    for module in (
        file
        for package in ("framework", "storage", "engines", "auth", "server", "cli")
        for file in (ROOT / package).rglob("*.py")
    ):
        assert (module.parent / "__init__.py").exists(), f"{module} is in a folder that no wheel would hold"


@pytest.mark.parametrize("group", sorted(PROJECT["project"]["entry-points"]))
def test_every_entry_point_loads_and_is_registered(group):
    declared = PROJECT["project"]["entry-points"][group]
    points = {point.name: point for point in entry_points(group=group) if point.value.startswith("caveau.")}
    assert {name: point.value for name, point in points.items()} == declared
    for point in points.values():
        assert callable(point.load())


def test_the_version_is_the_same_everywhere():
    assert version("caveau") == caveau.__version__
    assert isolated("import caveau; print(caveau.__version__)") == caveau.__version__


@pytest.mark.parametrize(("what", "absent"), [
    ("import caveau", {"aiohttp", "cryptography", "orjson", "asyncio"}),
    ("from caveau.cli.main import main; main(['version'])", {"aiohttp", "cryptography", "asyncio", "yaml"}),
])  # fmt: skip
def test_an_import_brings_no_more_than_it_needs(what, absent):
    loaded = isolated(f"{what}; import sys; print(*sys.modules)").splitlines()[-1].split()
    assert not absent & set(loaded)


def test_the_development_lock_holds_every_requirement():
    wanted = [*RUNTIME, *PROJECT["dependency-groups"]["dev"]]
    assert {canonical(each) for each in wanted} <= locked("requirements.lock")


def test_the_runtime_lock_holds_the_runtime_and_no_more():
    runtime = locked("requirements-runtime.lock")
    wanted = {canonical(each) for each in RUNTIME}
    assert wanted <= runtime
    assert not {canonical(each) for each in PROJECT["dependency-groups"]["dev"]} - wanted & runtime


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-runtime.lock"])
def test_every_pinned_distribution_has_hashes(file):
    blocks = re.split(r"\n(?=\S)", (ROOT / file).read_text())
    pins = [block for block in blocks if NAME.match(block)]
    assert pins
    assert [block for block in pins if "==" not in block or "--hash=sha256:" not in block] == []


def test_both_locks_pin_the_same_versions():
    pins = [
        dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / file).read_text()))
        for file in ("requirements.lock", "requirements-runtime.lock")
    ]
    assert {name: pins[0].get(name) for name in pins[1]} == pins[1]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        ".",
    ]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        command = ["uv", "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable,
                   "-o", tmp_path, "."]  # fmt: skip
    source = tmp_path / "source"
    files = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                           check=True).stdout.decode().split("\0")  # fmt: skip
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("caveau-*.whl")
    assert wheel.name == f"caveau-{caveau.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {name for name in names if not name.startswith("caveau-")}
    expected = {"caveau/py.typed"} | {
        str("caveau" / file.relative_to(source))
        for package in PROJECT["tool"]["setuptools"]["packages"]
        for file in source.joinpath(*package.split(".")[1:]).glob("*.py")
    }
    assert shipped == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)
