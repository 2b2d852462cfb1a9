"""Links by the kernel: every node in a network namespace of its own, with netem on what it sends to others.

A node has two interfaces: ``peers``, on the bridge where the others are, and ``lab``, on another one where only
the laboratory is and nothing is held back. Needs root, iproute2, and for links with a delay the kernel's sch_netem.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator

from .shape import Link

PORT = {"raft": 8201, "api": 8200, "echo": 8300}
_NETS = {"peers": "10.217.76", "lab": "10.217.77"}


def missing(link: Link) -> str:
    """Why there can be no such namespaces here; nothing if there can."""
    if not (shutil.which("ip") and shutil.which("tc")):
        return "no iproute2"
    probe = f"caveau-probe-{os.getpid()}"
    try:
        if _quietly("ip", "netns", "add", probe):
            return "no right to make network namespaces"
        if link.shaped and _quietly(*_netem(probe, "lo", link)):
            return "the kernel has no netem"
    finally:
        _quietly("ip", "netns", "del", probe)
    return ""


def _quietly(*command: str) -> bool:
    """Whether it failed."""
    return subprocess.run(command, capture_output=True).returncode != 0


def _netem(namespace: str, interface: str, link: Link) -> tuple[str, ...]:
    """``limit``: packets under way, more than any load here has."""
    shape = ["delay", f"{link.delay * 1e6:.0f}us", f"{link.jitter * 1e6:.0f}us"] if link.delay else []
    loss = ["loss", f"{link.loss:.4%}"] if link.loss else []
    netem = ("root", "netem", "limit", "100000", *shape, *loss)
    return ("tc", "-n", namespace, "qdisc", "add", "dev", interface, *netem)


class Namespaces:
    """A ``Network``."""

    def __init__(self, nodes: int, link: Link) -> None:
        self._nodes = nodes
        self._link = link
        self.how = "network namespaces" + " and netem" * link.shaped
        self._tag = f"cv{os.getpid()}"  # an interface's name has 15 characters at most

    def _name(self, node: int) -> str:
        return f"{self._tag}-n{node}"

    def inside(self, node: int) -> list[str]:
        return ["ip", "netns", "exec", self._name(node)]

    def listen(self, node: int, service: str) -> tuple[str, int]:
        return f"{_NETS['peers']}.{node + 1}", PORT[service]

    reach = listen

    def direct(self, node: int, service: str) -> tuple[str, int]:
        return f"{_NETS['lab']}.{node + 1}", PORT[service]

    def commands(self) -> Iterator[tuple[str, ...]]:
        """What makes them."""
        for kind, net in _NETS.items():
            bridge = f"{self._tag}{kind}"
            yield ("ip", "link", "add", bridge, "type", "bridge")
            yield ("ip", "link", "set", bridge, "up")
            if kind == "lab":
                yield ("ip", "address", "add", f"{net}.254/24", "dev", bridge)
        for node in range(self._nodes):
            name = self._name(node)
            yield ("ip", "netns", "add", name)
            yield ("ip", "-n", name, "link", "set", "lo", "up")
            for kind, net in _NETS.items():
                outer = f"{self._tag}{kind[1]}{node}"
                yield ("ip", "link", "add", outer, "type", "veth", "peer", "name", kind, "netns", name)
                yield ("ip", "link", "set", outer, "master", f"{self._tag}{kind}", "up")
                yield ("ip", "-n", name, "address", "add", f"{net}.{node + 1}/24", "dev", kind)
                yield ("ip", "-n", name, "link", "set", kind, "up")
            if self._link.shaped:
                yield _netem(name, "peers", self._link)

    async def start(self) -> None:
        for command in self.commands():
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")

    async def stop(self) -> None:
        """As far as they were made; an interface goes with its namespace."""
        for node in range(self._nodes):
            await asyncio.to_thread(_quietly, "ip", "netns", "del", self._name(node))
        for kind in _NETS:
            await asyncio.to_thread(_quietly, "ip", "link", "del", f"{self._tag}{kind}")
