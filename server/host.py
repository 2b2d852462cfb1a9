"""What the machine under the server is and how busy it is, in the shape of ``sys/host-info``."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import psutil

_CPU_KEYS = {
    "vendor_id": "vendorId", "cpu family": "family", "model": "model", "stepping": "stepping",
    "model name": "modelName", "physical id": "physicalId", "core id": "coreId", "cpu MHz": "mhz",
    "cache size": "cacheSize", "microcode": "microcode", "flags": "flags",
}  # fmt: skip
_MEMORY_KEYS = {
    "Active": "active", "Buffers": "buffers", "Cached": "cached", "CommitLimit": "commitlimit",
    "Committed_AS": "committedas", "Dirty": "dirty", "HighFree": "highfree", "HighTotal": "hightotal",
    "HugePages_Free": "hugepagesfree", "Hugepagesize": "hugepagesize", "HugePages_Total": "hugepagestotal",
    "Inactive": "inactive", "LowFree": "lowfree", "LowTotal": "lowtotal", "Mapped": "mapped",
    "PageTables": "pagetables", "Shmem": "shared", "Slab": "slab", "SReclaimable": "sreclaimable",
    "SUnreclaim": "sunreclaim", "SwapCached": "swapcached", "SwapFree": "swapfree", "SwapTotal": "swaptotal",
    "VmallocChunk": "vmallocchunk", "VmallocTotal": "vmalloctotal", "VmallocUsed": "vmallocused",
    "Writeback": "writeback", "WritebackTmp": "writebacktmp",
}  # fmt: skip


def describe() -> dict[str, Any]:
    """CPUs, their times, disks, the host and its memory. Reads files: call it off the event loop."""
    return {"cpu": _cpus(), "cpu_times": _cpu_times(), "disk": _disks(), "host": _host(), "memory": _memory()}


def _cpus() -> list[dict[str, Any]]:
    cpus = []
    for number, block in enumerate(Path("/proc/cpuinfo").read_text().strip().split("\n\n")):
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        cpu: dict[str, Any] = {"cpu": number, "cores": 1}
        cpu |= {ours: facts.get(theirs, "") for theirs, ours in _CPU_KEYS.items()}
        cpu["stepping"], cpu["cacheSize"] = _int(cpu["stepping"]), _int(cpu["cacheSize"])
        cpu["mhz"] = float(cpu["mhz"] or 0)
        cpu["flags"] = cpu["flags"].split()
        cpus.append(cpu)
    return cpus


def _int(text: str) -> int:
    digits = text.split()[0] if text.split() else ""
    return int(digits) if digits.isdigit() else 0


def _cpu_times() -> list[dict[str, Any]]:
    rename = {"guest_nice": "guestNice"}
    return [
        {"cpu": f"cpu{number}", **{rename.get(name, name): value for name, value in times._asdict().items()}}
        for number, times in enumerate(psutil.cpu_times(percpu=True))
    ]


def _disks() -> list[dict[str, Any]]:
    disks = []
    for partition in psutil.disk_partitions():
        try:
            usage, inodes = psutil.disk_usage(partition.mountpoint), os.statvfs(partition.mountpoint)
        except OSError:
            continue  # unmounted meanwhile, or not ours to see
        used = inodes.f_files - inodes.f_ffree
        disks.append(
            {
                "path": partition.mountpoint,
                "fstype": partition.fstype,
                "total": usage.total,
                "free": usage.free,
                "used": usage.used,
                "usedPercent": usage.percent,
                "inodesTotal": inodes.f_files,
                "inodesUsed": used,
                "inodesFree": inodes.f_ffree,
                "inodesUsedPercent": 100 * used / inodes.f_files if inodes.f_files else 0.0,
            }
        )
    return disks


def _host() -> dict[str, Any]:
    boot = int(psutil.boot_time())
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    machine_id = Path("/etc/machine-id")
    return {
        "hostname": platform.node(),
        "uptime": int(time.time()) - boot,
        "bootTime": boot,
        "procs": len(psutil.pids()),
        "os": platform.system().lower(),
        "platform": release.get("ID", ""),
        "platformFamily": release.get("ID_LIKE", release.get("ID", "")),
        "platformVersion": release.get("VERSION_ID", ""),
        "kernelVersion": platform.release(),
        "kernelArch": platform.machine(),
        "virtualizationSystem": "",
        "virtualizationRole": "",
        "hostid": machine_id.read_text().strip() if machine_id.exists() else "",
    }


def _memory() -> dict[str, Any]:
    facts = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts[name] = _int(value) * (1024 if value.endswith("kB") else 1)
    memory = psutil.virtual_memory()
    return {
        "total": memory.total,
        "available": memory.available,
        "used": memory.used,
        "usedPercent": memory.percent,
        "free": memory.free,
        "laundry": 0,
        "wired": 0,
        **{ours: facts.get(theirs, 0) for theirs, ours in _MEMORY_KEYS.items()},
    }
