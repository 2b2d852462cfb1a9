"""Thousands of simulated clusters: ``python tests/storage/raft/simulate.py NODES RUNS [FIRST_SEED]``."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path


def main(nodes: int, runs: int, first: int = 0) -> int:
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from tests.storage.raft.simulator import simulate

    seen: Counter[str] = Counter()
    acknowledged = terms = wrong = 0
    for seed in range(first, first + runs):
        try:
            world = simulate(seed, nodes)
        except Exception as error:
            wrong += 1
            print(f"seed {seed}: {error!r}", flush=True)
            continue
        seen += world.seen
        acknowledged += len(world.acked)
        terms += len(world.leaders)
    print(f"{runs} runs of {nodes} nodes: {wrong} wrong; {acknowledged} writes acknowledged in {terms} terms")
    print(", ".join(f"{name} {count}" for name, count in sorted(seen.items())))
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
