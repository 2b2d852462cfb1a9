"""A PostgreSQL server of the tests' own, in a temporary directory, on loopback."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from caveau.tests.peers import free_port

_PASSWORD = "secret-of-the-database"
_numbers = count()


def programs() -> Path | None:
    """Where ``initdb`` and ``pg_ctl`` are; Debian keeps them out of the way."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        places.append(Path(found).resolve().parent)
    return next((place for place in places if (place / "initdb").exists()), None)


class Cluster:
    """One server, and its databases."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        self._binaries = binaries
        self.directory = directory
        self.port = free_port()
        self._user = None  # PostgreSQL refuses to run as root
        if os.geteuid() == 0:
            self._user = next(name for name in ("postgres", "nobody") if _there(name))
            shutil.chown(directory, self._user)

    def run(self, program: str, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            user=self._user,
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": _PASSWORD, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert not check or not done.returncode, done.stdout
        return done.stdout

    def create(self) -> None:
        password = self.directory / "password"
        password.write_text(_PASSWORD)
        if self._user:
            shutil.chown(password, self._user)
        self.run("initdb", "-D", "data", "-U", "caveau", "-A", "scram-sha-256", f"--pwfile={password}", "-N",
                 "--locale=C.UTF-8")  # fmt: skip
        settings = f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
        with (self.directory / "data" / "postgresql.conf").open("a") as file:
            file.write(settings)

    def start(self) -> None:
        log = str(self.directory / "log")
        self.run("pg_ctl", "-D", "data", "-w", "-l", log, "start", "-o", "-c shared_buffers=16MB")

    def stop(self, mode: str = "fast") -> None:
        """``immediate`` is a crash: it recovers when it starts again."""
        self.run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop", check=False)

    def psql(self, sql: str, database: str = "postgres") -> str:
        """What it prints, bare."""
        address = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "caveau", "-d", database)
        return self.run("psql", *address, "-v", "ON_ERROR_STOP=1", "-XAtc", sql).strip()

    def url(self, database: str, user: str = "caveau", password: str = _PASSWORD) -> str:
        return f"postgres://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The name of a new database."""
        name = f"d{next(_numbers)}"
        self.psql(f"CREATE DATABASE {name}")
        return name


@contextlib.contextmanager
def cluster(place: str | None = None) -> Iterator[Cluster]:
    """A server that runs; its files are in a new folder in ``place``. Raises FileNotFoundError without PostgreSQL."""
    binaries = programs()
    if binaries is None:
        raise FileNotFoundError("PostgreSQL is not installed (apt-get install postgresql)")
    directory = Path(tempfile.mkdtemp(prefix="caveau-postgresql-", dir=place))
    try:
        one = Cluster(binaries, directory)
        one.create()
        one.start()
        try:
            yield one
        finally:
            one.stop("immediate")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _there(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
