"""Caveau against OpenBao on this machine: throughput, latency, memory and time to the first answer.

    python benchmarks/compare.py            # about ten minutes
    python benchmarks/compare.py --quick    # about a minute, for CI

Both servers run at the same time on durable stores of their own and are loaded in turn, never
together; README.md beside this file says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from hvac.exceptions import VaultError
from machine import machine
from servers import CAVEAU, OPENBAO, Server

NAMES = (CAVEAU.name, OPENBAO.name)
KEYS = 1000
MANY = 32
POLICY = (
    'path "kv1/*" { capabilities = ["create", "read", "update"] }\n'
    'path "kv2/*" { capabilities = ["create", "read", "update"] }\n'
)
SECRET = {"username": "app-production", "password": "p" * 40, "note": "n" * 100}  # 200 bytes as JSON
LUA = Path(__file__).parent / "wrk" / "load.lua"


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request; spread over `KEYS` keys when `spread`."""

    name: str
    method: str
    path: str
    writes: bool = False
    spread: bool = True
    body: str | None = None

    def arguments(self) -> list[str]:
        keys = str(KEYS) if self.spread else "0"
        return [self.method, self.path, keys, *([self.body] if self.body else [])]


LOADS = (
    Load("token lookup-self", "GET", "/v1/auth/token/lookup-self", spread=False),
    Load("KV v1 read", "GET", "/v1/kv1/app"),
    Load("KV v1 write", "POST", "/v1/kv1/app", writes=True, body=json.dumps(SECRET)),
    Load("KV v2 read", "GET", "/v1/kv2/data/app"),
    Load("KV v2 write", "POST", "/v1/kv2/data/app", writes=True, body=json.dumps({"data": SECRET})),
)
SEQUENTIAL_WRITE = LOADS[4]


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: int
    cells: tuple[tuple[Load, int], ...]


FULL = Plan(rounds=5, seconds=5, cells=tuple((load, c) for load in LOADS for c in (1, MANY)))
# The cells that have a target, in the shortest time that wrk can be told.
QUICK = Plan(rounds=2, seconds=1, cells=((SEQUENTIAL_WRITE, 1), *((load, MANY) for load in LOADS)))


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of wrk: requests a second, latencies in microseconds."""

    rate: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Row:
    """A measure of both servers; `ratio` is Caveau to OpenBao and `target` its limit, where it has one."""

    name: str
    unit: str
    caveau: float
    openbao: float
    target: float | None = None
    at_least: bool = False
    absolute: bool = False

    @property
    def ratio(self) -> float:
        return self.caveau / self.openbao

    @property
    def passed(self) -> bool | None:
        if self.target is None:
            return None
        value = self.caveau if self.absolute else self.ratio
        return value >= self.target if self.at_least else value <= self.target


def prepare(server: Server) -> str:
    """Mount the engines, fill every key and return a service token whose policy allows the load."""
    client = server.client
    client.sys.enable_secrets_engine("kv", path="kv1", options={"version": "1"})
    client.sys.enable_secrets_engine("kv", path="kv2", options={"version": "2"})
    client.sys.create_or_update_policy("bench", POLICY)
    deadline = time.monotonic() + 10
    while True:  # a new KV v2 mount may answer 400 while it converts its storage
        try:
            client.secrets.kv.v2.create_or_update_secret("app/0", SECRET, mount_point="kv2")
            break
        except VaultError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    for key in range(KEYS):
        client.secrets.kv.v1.create_or_update_secret(f"app/{key}", SECRET, method="POST", mount_point="kv1")
        client.secrets.kv.v2.create_or_update_secret(f"app/{key}", SECRET, mount_point="kv2")
    return str(client.auth.token.create(policies=["bench"], ttl="2h")["auth"]["client_token"])


def run(server: Server, token: str, load: Load, connections: int, seconds: int) -> Sample:
    """Load one server with wrk; raises when a single request failed."""
    done = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "-s",
            str(LUA),
            server.address,
            "--",
            *load.arguments(),
        ],
        env={**os.environ, "VAULT_TOKEN": token},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    result = json.loads(done.stderr.splitlines()[-1])
    if any(result["errors"].values()) or not result["requests"]:
        raise RuntimeError(f"{server.name}: {load.name} at {connections} connections failed: {result}")
    return Sample(result["requests"] / result["seconds"], result["p50_us"], result["p99_us"])


def alternating(servers: list[Server], round_: int) -> list[Server]:
    """Who goes first changes every round, so that neither always finds the machine warm."""
    return servers if round_ % 2 == 0 else servers[::-1]


def measure(plan: Plan, directory: Path) -> list[Row]:
    """Run the whole plan on fresh stores under `directory`; the medians of its rounds."""
    with ExitStack() as cleanup:
        servers = [Server(product, directory / product.name) for product in (CAVEAU, OPENBAO)]
        for server in servers:
            cleanup.callback(server.stop)
            server.start()
            server.initialise()

        first: dict[str, list[float]] = {name: [] for name in NAMES}
        for round_ in range(plan.rounds):
            for server in alternating(servers, round_):
                server.stop()
                first[server.name].append(server.start())
        for server in servers:
            server.unseal()
        idle = {server.name: server.memory() for server in servers}
        tokens = {server.name: prepare(server) for server in servers}

        samples: dict[tuple[str, int, str], list[Sample]] = {}
        for round_ in range(plan.rounds):
            for cell, (load, connections) in enumerate(plan.cells):
                progress(round_ * len(plan.cells) + cell, plan.rounds * len(plan.cells))
                for server in alternating(servers, round_):
                    sample = run(server, tokens[server.name], load, connections, plan.seconds)
                    samples.setdefault((load.name, connections, server.name), []).append(sample)
        after = {server.name: server.memory() for server in servers}

    def row(name: str, unit: str, values: dict[str, float], target: float | None = None, **how: bool) -> Row:
        return Row(name, unit, values[CAVEAU.name], values[OPENBAO.name], target, **how)

    rows = [row("first answer after exec", "ms", {n: median(first[n]) * 1000 for n in NAMES}, 400, absolute=True)]
    for load, connections in plan.cells:
        where, many = f"{load.name}, {connections} conn", connections == MANY
        of = {name: samples[load.name, connections, name] for name in NAMES}
        rows += [
            row(
                f"{where}: throughput",
                "req/s",
                {n: median(s.rate for s in of[n]) for n in NAMES},
                (4 if load.writes else 5) if many else None,
                at_least=True,
            ),
            row(
                f"{where}: p50",
                "ms",
                {n: median(s.p50 for s in of[n]) / 1000 for n in NAMES},
                0.4 if load is SEQUENTIAL_WRITE and not many else None,
            ),
            row(f"{where}: p99", "ms", {n: median(s.p99 for s in of[n]) / 1000 for n in NAMES}, 0.2 if many else None),
        ]
    for when, sizes, limit in (("idle", idle, None), ("after the load", after, 0.45)):
        for index, kind in enumerate(("PSS", "RSS")):
            rows.append(row(f"memory {when}: {kind}", "MiB", {n: sizes[n][index] / 2**20 for n in NAMES}, limit))
    return rows


def table(rows: list[Row]) -> str:
    lines = [f"{'':44}{'Caveau':>12}{'OpenBao':>12} {'':6}{'ratio':>8}  target"]
    for row in rows:
        verdict = ""
        if row.target is not None:
            sign = ">=" if row.at_least else "<="
            limit = f"{row.target:g} {row.unit}" if row.absolute else f"{row.target:g}x"
            verdict = f"{sign} {limit:8} {'pass' if row.passed else 'FAIL'}"
        values = f"{row.caveau:12,.2f}{row.openbao:12,.2f} {row.unit:6}{row.ratio:7.2f}x"
        lines.append(f"{row.name:44}{values}  {verdict}".rstrip())
    return "\n".join(lines)


def progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rcell {done + 1} of {total} ", end="", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare Caveau with OpenBao on this machine.")
    parser.add_argument("--quick", action="store_true", help="the bounded version that CI runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="put the stores under DIR, on a disk")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL

    with tempfile.TemporaryDirectory(prefix="caveau-bench-", dir=options.dir) as directory:
        facts = machine(Path(directory))
        print("  ".join(f"{name}={value}" for name, value in facts.items()))
        if facts["filesystem"] == "tmpfs":
            print("warning: a durable write costs nothing on a tmpfs; use --dir", file=sys.stderr)
        rows = measure(plan, Path(directory))
    print(table(rows))
    if options.json:
        figures = [{**asdict(row), "ratio": row.ratio, "passed": row.passed} for row in rows]
        report = {"machine": facts, "rounds": plan.rounds, "seconds": plan.seconds, "rows": figures}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    missed = [row.name for row in rows if row.passed is False]
    print(f"{len(missed)} of {sum(row.target is not None for row in rows)} targets missed")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
