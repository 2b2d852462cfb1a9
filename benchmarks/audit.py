"""What the audit log costs: throughput with a file device on, as a share of that without.

    python benchmarks/audit.py              # 5 rounds of 3 s a cell
    python benchmarks/audit.py --quick      # 2 rounds of 1 s

One server, loaded in turn with and without the device, which is enabled and disabled in between. Beside the
rates, which other processes of the machine disturb, stands the processor time that the server took a request.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

import psutil
from compare import LOADS, MANY, Load, prepare, run
from servers import CAVEAU, Server

TARGET = 0.6  # of the throughput of KV reads at 32 connections
CELLS: tuple[tuple[Load, int], ...] = tuple((LOADS[index], count) for index in (1, 3, 4) for count in (1, MANY))


def processor_seconds(server: Server) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


def measure(server: Server, log: Path, rounds: int, seconds: int) -> dict[tuple[str, int, bool], list[list[float]]]:
    """Rate and processor microseconds a request of every run, by load, connections and whether it was audited."""
    token = prepare(server)
    found: dict[tuple[str, int, bool], list[list[float]]] = {}
    for round_ in range(rounds):
        for audited in (False, True) if round_ % 2 == 0 else (True, False):
            if audited:
                server.client.sys.enable_audit_device("file", path="file", options={"file_path": str(log)})
            for load, connections in CELLS:
                before = processor_seconds(server)
                sample = run(server, token, load, connections, seconds)
                spent = (processor_seconds(server) - before) / (sample.rate * seconds) * 1e6
                found.setdefault((load.name, connections, audited), []).append([sample.rate, spent])
            if audited:
                server.client.sys.disable_audit_device("file")
                log.unlink()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s a cell")
    parser.add_argument("--check", action="store_true", help="exit with 1 when the target is missed")
    options = parser.parse_args()
    rounds, seconds = (2, 1) if options.quick else (5, 3)
    with tempfile.TemporaryDirectory() as directory:
        server = Server(CAVEAU, Path(directory) / "caveau")
        try:
            server.start()
            server.initialise()
            server.unseal()
            found = measure(server, Path(directory) / "audit.log", rounds, seconds)
        finally:
            server.stop()
    missed = False
    print(f"{'':<28} {'without':>9} {'with':>9} {'ratio':>6}   processor us a request")
    for load, connections in CELLS:
        (plain, plain_us), (audited, audited_us) = (
            (median(each[0] for each in found[load.name, connections, on]),
             median(each[1] for each in found[load.name, connections, on]))
            for on in (False, True)
        )  # fmt: skip
        ratio = audited / plain
        missed = missed or (not load.writes and connections == MANY and ratio < TARGET)
        name = f"{load.name}, {connections} conn"
        print(f"{name:<28} {plain:>9.0f} {audited:>9.0f} {ratio:>6.2f}   {plain_us:.0f} -> {audited_us:.0f}")
    print(f"target: reads at {MANY} connections keep {TARGET:.2f}; {'missed' if missed else 'met'}")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
