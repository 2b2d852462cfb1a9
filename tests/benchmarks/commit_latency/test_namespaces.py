"""Network namespaces, where there are rights to make them."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from caveau.benchmarks.commit_latency.links import Shim, network
from caveau.benchmarks.commit_latency.namespaces import Namespaces, missing
from caveau.benchmarks.commit_latency.shape import Link

DIAL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).sendall(b'here')"


def test_only_what_goes_to_other_nodes_is_held_back():
    commands = [" ".join(command) for command in Namespaces(3, Link(0.0025, 0.0005, 0.01)).commands()]
    held = [command for command in commands if "netem" in command]
    assert len(held) == 3
    assert all(c.endswith("dev peers root netem limit 100000 delay 2500us 500us loss 1.0000%") for c in held)
    assert not [c for c in Namespaces(3, Link()).commands() if "netem" in c]


def test_loss_without_delay():
    held = [c for c in Namespaces(1, Link(0, 0, 0.001)).commands() if "netem" in c]
    assert held[0][-2:] == ("loss", "0.1000%")
    assert "delay" not in held[0]


def test_who_asks_for_relays_gets_them():
    assert isinstance(network(3, Link(0.001), ("raft",), shim=True), Shim)


async def test_nodes_reach_each_other_and_nothing_is_left():
    if missing(Link()):
        assert isinstance(network(2, Link(), ("raft",), shim=False), Shim)
        return
    before = names()
    net = Namespaces(2, Link())
    try:
        await net.start()
        for place in (net.listen, net.direct):
            host, port = place(1, "raft")
            listen = f"import socket; s = socket.create_server(({host!r}, {port})); print('up', flush=True); " \
                     "print(s.accept()[0].recv(9))"  # fmt: skip
            server = await asyncio.create_subprocess_exec(
                *net.inside(1), sys.executable, "-c", listen, stdout=asyncio.subprocess.PIPE
            )
            assert server.stdout is not None
            assert await server.stdout.readline() == b"up\n"
            dial = [sys.executable, "-c", DIAL, host, str(port)]
            command = [*net.inside(0), *dial] if place == net.listen else dial
            assert (await (await asyncio.create_subprocess_exec(*command)).wait()) == 0
            assert await server.stdout.read() == b"b'here'\n"
            await server.wait()
    finally:
        await net.stop()
    assert names() == before


def names() -> set[str]:
    listed = [["ip", "netns"], ["ip", "-br", "link"]]
    return {line.split()[0] for command in listed for line in
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()}  # fmt: skip
