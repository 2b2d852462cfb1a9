"""Measures, and writes the page docs/commit-latency.md with its figures.

python -m caveau.benchmarks.commit_latency            # about half an hour
python -m caveau.benchmarks.commit_latency --quick    # about three, for CI
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path

from ..machine import machine
from . import records
from .records import Commit, Failover, Summary
from .report import page
from .run import Laboratory, Results, say
from .shape import FULL, QUICK

PAGE = Path(__file__).parents[2] / "docs" / "commit-latency.md"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m caveau.benchmarks.commit_latency", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="a bounded version, which shows that everything works")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE.md", help="the page; its figures go beside it")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="put the stores under DIR, on a disk")
    parser.add_argument("--shim", action="store_true", help="relays instead of network namespaces")
    parser.add_argument("--without-openbao", action="store_true", help="measure Caveau only")
    parser.add_argument("--again", action="store_true", help="write the page anew from the CSV files of the last run")
    options = parser.parse_args()
    folder: Path = options.page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    failures = [] if options.again else measure(options, folder)
    write_page(options.page, folder)
    say(f"written: {options.page}, and {folder}/")
    return 1 if failures else 0


def measure(options: argparse.Namespace, folder: Path) -> list[str]:
    """What could not be measured."""
    plan = QUICK if options.quick else FULL
    stores = options.dir or Path(tempfile.gettempdir())
    facts = machine(stores)
    say("  ".join(f"{name}={value}" for name, value in facts.items()))
    if facts["filesystem"] == "tmpfs":
        say("warning: a durable write costs nothing on a tmpfs; use --dir")
    laboratory = Laboratory(plan, stores, shim=options.shim, rivals=not options.without_openbao)
    results = asyncio.run(until_told(laboratory))
    records.write(folder / "commits.csv", Commit, results.commits)
    records.write(folder / "summary.csv", Summary, results.summaries)
    records.write(folder / "failovers.csv", Failover, results.failovers)
    about = {
        "machine": facts,
        "quick": options.quick,
        "seconds": plan.seconds,
        "links": results.links,
        "failures": results.failures,
    }
    (folder / "run.json").write_text(json.dumps(about, indent=1) + "\n")
    return results.failures


async def until_told(laboratory: Laboratory) -> Results:
    """Whoever ends it with SIGTERM leaves no servers and namespaces behind either."""
    task = asyncio.create_task(laboratory.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def write_page(path: Path, folder: Path) -> None:
    summaries = records.read(folder / "summary.csv", Summary)
    failovers = records.read(folder / "failovers.csv", Failover)
    about = json.loads((folder / "run.json").read_text())
    path.write_text(page(summaries, failovers, about))
    try:
        from .plots import draw
    except ImportError as error:
        say(f"no plots: {error} (pip install -e '.[lab]')")
    else:
        draw(folder, summaries, failovers)


if __name__ == "__main__":
    sys.exit(main())
