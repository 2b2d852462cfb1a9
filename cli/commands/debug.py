"""``debug``: what a server tells of itself for some minutes, in one package for whoever has to find a fault.

The files have the names and the form of those that ``vault debug`` writes, so that what reads the one reads the other;
profiles are text.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ... import __version__
from .. import durations
from ..client import ClientError
from ..command import Command
from ..flags import Flag
from ..invocation import CommandError, Invocation

_POLLED = {
    "config": ("config.json", {"config": "sys/config/state/sanitized"}),
    "host": ("host_info.json", {"": "sys/host-info"}),
    "metrics": ("metrics.json", {"": "sys/metrics"}),
    "requests": ("requests.json", {"in_flight_requests": "sys/in-flight-req"}),
    "server-status": ("server_status.json", {"health": "sys/health", "seal": "sys/seal-status"}),
}
"""Target: its file, and what an entry of it consists of: by name, the path whose answer that is ("": the entry)."""
_WHATEVER_STATE = {"sealedcode": 299, "uninitcode": 299, "standbyok": "true"}
_PROFILES = {"goroutine": "sys/pprof/goroutine", "heap": "sys/pprof/heap"}
_TARGETS = (*_POLLED, "pprof", "log")
_PATIENCE = 10.0  # seconds for the log to begin
_SHORTEST = 5 * durations.SECOND


class Package:
    """The files of a package, kept in memory until they are written: they are small."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.errors: list[dict[str, str]] = []
        self._answers: dict[str, list[Any]] = {}

    def poll(self, run: Invocation, target: str) -> None:
        """Add an entry of the present answers to a file; an error is noted, and the rest goes on."""
        file, parts = _POLLED[target]
        entry: dict[str, Any] = {}
        for name, path in parts.items():
            with self.noting(target):
                answer = run.client.answer("GET", path, query=_WHATEVER_STATE if name == "health" else {})
                entry |= {name: answer} if name else answer
        if entry:
            self._answers.setdefault(file, []).append(entry | {"timestamp": entry.get("timestamp") or _now()})

    def profile(self, run: Invocation) -> None:
        """Add the present profiles, in a directory of their own."""
        directory = _now().replace(":", "-")
        for name, path in _PROFILES.items():
            with self.noting(f"pprof.{name}"):
                self.files[f"{directory}/{name}.txt"] = run.client.request("GET", path).body

    @contextlib.contextmanager
    def noting(self, target: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            self.errors.append({"error": str(error), "target": target, "timestamp": _now()})

    def contents(self) -> dict[str, Any]:
        """The names of the files, by directory; for the index."""
        names = sorted([*self.files, *self._answers])
        found: dict[str, Any] = {"files": [name for name in names if "/" not in name]}
        for name in names:
            directory, slash, file = name.partition("/")
            if slash:
                when = f"{directory[:11]}{directory[11:].replace('-', ':')}"
                found.setdefault(directory, {"files": [], "timestamp": when})["files"].append(file)
        return found

    def write(self, place: Path, *, compress: bool) -> None:
        """Readable by the owner only. Raises OSError where ``place`` exists or cannot be written."""
        files = self.files | {name: _json(answers) for name, answers in self._answers.items()}
        if compress:
            with place.open("xb") as raw:
                place.chmod(0o600)
                with tarfile.open(fileobj=raw, mode="w:gz") as archive:
                    for name, content in sorted(files.items()):
                        entry = tarfile.TarInfo(f"{place.name.removesuffix('.tar.gz')}/{name}")
                        entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
                        archive.addfile(entry, io.BytesIO(content))
            return
        place.mkdir(mode=0o700)
        for name, content in files.items():
            (place / name).parent.mkdir(mode=0o700, exist_ok=True)
            (place / name).write_bytes(content)
            (place / name).chmod(0o600)


def debug(run: Invocation) -> int:
    flags = run.flags
    targets = flags.texts("target") or list(_TARGETS)
    if wrong := next((each for each in targets if each not in _TARGETS), ""):
        raise CommandError(f"-target: {wrong} is not one of {', '.join(_TARGETS)}", 1)
    lengths = [flags.number(name) for name in ("duration", "interval", "metrics-interval")]
    if min(lengths) < _SHORTEST:
        raise CommandError("-duration, -interval and -metrics-interval are 5s at least", 1)
    duration, interval, metrics_interval = (each / durations.SECOND for each in lengths)
    compress = flags.on("compress")
    place = Path(flags.text("output") or time.strftime("caveau-debug-%Y-%m-%dT%H-%M-%SZ", time.gmtime()))
    if compress and not place.name.endswith(".tar.gz"):
        place = place.with_name(f"{place.name}.tar.gz")
    if place.exists():
        raise CommandError(f"{place} exists already", 1)
    with run.failing("Error reading the server's status"):
        health = run.client.answer("GET", "sys/health", query=_WHATEVER_STATE)
    package, began = Package(), _now()
    run.say(f"==> Starting debug capture of {', '.join(targets)} for {duration:g}s; Ctrl-C ends it early")
    watched = _log_lines(run, package, flags.text("log-format")) if "log" in targets else contextlib.nullcontext()
    with watched, contextlib.suppress(KeyboardInterrupt):
        _capture(run, package, targets, duration, interval, metrics_interval)
    index = {
        "version": 1, "vault_address": run.client.settings.address.text, "client_version": __version__,
        "server_version": health.get("version", ""), "timestamp": began, "duration_seconds": int(duration),
        "interval_seconds": int(interval), "metrics_interval_seconds": int(metrics_interval), "compress": compress,
        "targets": targets, "output": package.contents(), "errors": package.errors,
    }  # fmt: skip
    package.files["index.json"] = _json(index)
    try:
        package.write(place, compress=compress)
    except OSError as error:
        raise CommandError(f"{place} cannot be written: {error.strerror}", 1) from error
    if package.errors:
        run.say(f"{len(package.errors)} answers are missing; index.json says why.")
    return run.say(f"Success! Bundle written to: {place}")


def _capture(
    run: Invocation, package: Package, targets: list[str], duration: float, interval: float, metrics_interval: float
) -> None:
    """Ask at the start, and then whenever an interval is over, until ``duration`` is."""
    began = time.monotonic()
    due = {target: began for target in targets if target != "log"}
    while due:
        now = time.monotonic()
        for target in [each for each in due if due[each] <= now]:
            due[target] = now + (metrics_interval if target == "metrics" else interval)
            if target == "pprof":
                package.profile(run)
            else:
                package.poll(run, target)
        if min(due.values()) >= began + duration:
            break
        time.sleep(max(0.0, min(due.values()) - time.monotonic()))
    time.sleep(max(0.0, began + duration - time.monotonic()))


@contextlib.contextmanager
def _log_lines(run: Invocation, package: Package, format: str) -> Iterator[None]:
    """Collect the server's log meanwhile, in a thread that ends with the program."""
    kept, begun = io.BytesIO(), threading.Event()

    def collect() -> None:
        try:
            with (
                package.noting("log"),
                run.client.lines("sys/monitor", {"log_level": "trace", "log_format": format}) as lines,
            ):
                begun.set()
                kept.writelines(lines)
        finally:
            begun.set()

    threading.Thread(target=collect, daemon=True).start()
    begun.wait(_PATIENCE)
    yield
    package.files["caveau.log"] = kept.getvalue()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


DEBUG = Command(
    "debug", debug,
    "Asks a server for its configuration, state, metrics and profiles again and again, watches its log, and puts\n"
    "all of it into one package. What the token may not read is left out, and index.json says so. Nothing in it\n"
    "is secret, but names and addresses are.\n\n    $ caveau debug -duration=1m -output=found.tar.gz",
    flags=(
        Flag("compress", "bool", "Write one .tar.gz and not a directory. The default is true.", default=True),
        Flag("duration", "duration", "How long to go on. The default is 2m.", default=120 * durations.SECOND),
        Flag("interval", "duration", "How often to ask. The default is 30s.", default=30 * durations.SECOND),
        Flag("log-format", "string", "standard or json.", default="standard"),
        Flag("metrics-interval", "duration", "How often to ask for metrics. The default is 10s.",
             default=10 * durations.SECOND),
        Flag("output", "string", "Where to write the package. The default is a name with the time in it."),
        Flag("target", "strings", f"What to ask for: {', '.join(_TARGETS)}. May be repeated. The default is all."),
    ),
)  # fmt: skip
