"""Logins a second: Caveau against OpenBao on this machine, as in compare.py.

    python benchmarks/logins.py            # about two minutes
    python benchmarks/logins.py --quick    # half a minute

AppRole with a secret id of unlimited uses, for service and for batch tokens (with a counted one, OpenBao refuses
nearly all of 32 logins at a time). Rounds, stores and fairness are those of compare.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from compare import MANY, NAMES, Load, Row, Sample, alternating, machine, run, table
from servers import CAVEAU, OPENBAO, Server

TARGET = 4.0
SERVICE, BATCH = "approle login", "approle login, batch token"


def prepare(server: Server) -> dict[str, Load]:
    """Enable the methods; the loads by name, which hold the ids that this server has given."""
    client = server.client
    client.sys.enable_auth_method("approle")
    client.sys.create_or_update_policy("bench", 'path "kv/*" { capabilities = ["read"] }')
    loads = {}
    for name, kind in ((SERVICE, "service"), (BATCH, "batch")):
        path = f"auth/approle/role/{kind}"
        client.write_data(path, data={"token_policies": "bench", "token_ttl": "2h", "token_type": kind})
        ids = {"role_id": client.read(f"{path}/role-id")["data"]["role_id"]}
        ids["secret_id"] = client.write_data(f"{path}/secret-id")["data"]["secret_id"]
        loads[name] = Load(name, "POST", "/v1/auth/approle/login", writes=True, spread=False, body=json.dumps(ids))
    return loads


def measure(rounds: int, seconds: int, directory: Path) -> list[Row]:
    """The medians of the rounds, on fresh stores under ``directory``."""
    with ExitStack() as cleanup:
        servers = [Server(product, directory / product.name) for product in (CAVEAU, OPENBAO)]
        for server in servers:
            cleanup.callback(server.stop)
            server.start()
            server.initialise()
            server.unseal()
        loads = {server.name: prepare(server) for server in servers}
        samples: dict[tuple[str, str], list[Sample]] = {}
        for round_ in range(rounds):
            for load in (SERVICE, BATCH):
                for server in alternating(servers, round_):
                    sample = run(server, "", loads[server.name][load], MANY, seconds)
                    samples.setdefault((load, server.name), []).append(sample)
    rows = []
    for load in (SERVICE, BATCH):
        rate, p99 = ({name: median(getattr(s, figure) for s in samples[load, name]) for name in NAMES}
                     for figure in ("rate", "p99"))  # fmt: skip
        target = TARGET if load == SERVICE else None
        rows += [
            Row(f"{load}: throughput", "req/s", rate[CAVEAU.name], rate[OPENBAO.name], target, at_least=True),
            Row(f"{load}: p99", "ms", p99[CAVEAU.name] / 1000, p99[OPENBAO.name] / 1000),
        ]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the logins of Caveau with OpenBao's on this machine.")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s instead of 5 of 4 s")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="put the stores under DIR, on a disk")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    rounds, seconds = (2, 1) if options.quick else (5, 4)
    with tempfile.TemporaryDirectory(prefix="caveau-bench-", dir=options.dir) as directory:
        print("  ".join(f"{name}={value}" for name, value in machine(Path(directory)).items()))
        rows = measure(rounds, seconds, Path(directory))
    print(f"{MANY} connections")
    print(table(rows))
    return 1 if options.check and any(row.passed is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
