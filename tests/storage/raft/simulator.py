"""A cluster in one thread, with a clock, disks and links that do the worst that real ones do, all by one seed.

Found wrong is: an acknowledged write that is lost, states that differ at one index, two leaders in one term, a read
that is older than an acknowledgement, and success for something else than was proposed.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pysyncobj.syncobj
from caveau.framework.errors import StoreError
from caveau.storage.raft import commands, core, membership, messages, replica
from caveau.storage.raft.engine import Configuration, Server
from caveau.storage.raft.recovery import recover
from caveau.storage.raft.replica import Proposal, Replica
from caveau.storage.raft.state import Step
from caveau.storage.raft.timeouts import Timeouts
from caveau.storage.raft.wal import Wal

from .disks import FakeDisk

_steps = replica.steps
KEYS = 20

# How likely a step brings what, by what a run is to be about.
_RARE = {
    "crash": 0.006,
    "restart": 0.02,
    "cut": 0.008,
    "block": 0.006,
    "link": 0.024,
    "power": 0.001,
    "pause": 0.003,
    "change": 0.005,
    "transfer": 0.003,
}
_ABOUT: list[dict[str, float]] = [
    {},
    {"power": 0.008, "restart": 0.2, "link": 0.1},
    {"crash": 0.03, "restart": 0.2, "link": 0.1},
    {"cut": 0.03, "block": 0.03, "link": 0.05, "crash": 0.002},
    {"pause": 0.03, "block": 0.01},
    {"change": 0.06, "cut": 0.02, "link": 0.06},
    {"transfer": 0.05, "block": 0.01, "pause": 0.005},
]


class State:
    """A state machine whose last transactions a power cut takes back."""

    def __init__(self, members: Configuration) -> None:
        self.index, self.term, self.installed, self.members = 1, 0, 0, members
        self.rows: dict[str, bytes] = {}
        self._durable: tuple[Any, ...] = self._all()

    def _all(self) -> tuple[Any, ...]:
        return self.index, self.term, self.installed, self.members, dict(self.rows)

    def cut_power(self) -> None:
        self.index, self.term, self.installed, self.members, rows = self._durable
        self.rows = dict(rows)

    def apply(self, steps: Sequence[Step]) -> None:
        for step in steps:
            for key, value in step.rows.items():
                if value is None:
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = value
            self.index, self.term = step.index, step.term
            self.members = step.members or self.members

    def checkpoint(self) -> int:
        self._durable = self._all()
        return self.index

    def source(self) -> Source:
        return Source(self)

    due = long = False

    def sink(self) -> Sink:
        return Sink(self)

    def install(self, data: bytes, index: int, term: int, members: Configuration) -> None:
        self.rows = dict(messages.msgpack.unpackb(data)["rows"])
        self.index, self.term, self.installed, self.members = index, term, index, members
        self._durable = self._all()


class Source:
    def __init__(self, state: State) -> None:
        self.index, self.term, self.members = state.index, state.term, state.members
        padding = b"." * 3_000_000  # so that it takes several parts
        self._data: bytes = messages.msgpack.packb({"rows": state.rows, "padding": padding})
        self.size = len(self._data)

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]

    def close(self) -> None: ...


class Sink:
    def __init__(self, state: State) -> None:
        self._state = state
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def install(self, index: int, term: int, members: Configuration) -> None:
        self._state.install(bytes(self._data), index, term, members)

    def close(self) -> None: ...


class Node:
    """A process that comes and goes, and the disk that stays."""

    def __init__(self, world: World, name: str, members: Configuration) -> None:
        self.world, self.name = world, name
        self.disk = FakeDisk()
        self.state = State(members)
        self.replica: Replica | None = None
        self.inbox: deque[tuple[str, bytes | bool]] = deque()
        self.tasks: list[tuple[Callable[[], object], Callable[[object], None]]] = []
        self.flushing = False
        self.paused = 0.0
        self.work: list[Callable[[], object]] = []
        self.start()

    def start(self) -> None:
        world = self.world
        self.inbox.clear()
        self.tasks.clear()
        self.flushing = False
        log = recover(Wal(self.disk, 4096, clock=lambda: world.now), self.state)
        self.replica = Replica(
            self.name,
            log,
            self.state,
            self,
            deliver=self.deliver,
            room=lambda node: True,
            background=lambda work, then: self.tasks.append((work, then)),
            clock=lambda: world.now,
            chance=world.rng.random,
            timeouts=Timeouts(),
            tail=12,
        )

    def stop(self, power: bool) -> None:
        if power:
            self.disk.cut_power(self.world.rng)
            self.state.cut_power()
        self.replica = None

    def deliver(self, node: str, message: messages.Message) -> None:
        self.world.send(self.name, node, messages.encode(message))

    def run(self) -> None:
        """A half of a round: what is in between happens to others."""
        node, rng = self.replica, self.world.rng
        assert node is not None
        if self.flushing:
            if rng.random() < self.world.disk:
                return  # it takes its time
            node.log.wal.flush()
            for work in self.work:
                work()
            self.world.running = self
            done = node.settle()
            self.state.apply(done)
            node.finish(done)
            self.flushing = False
            self.world.look(self)
            return
        while self.inbox:
            peer, what = self.inbox.popleft()
            if isinstance(what, bool):
                node.connected(peer, what)
            else:
                node.receive(peer, messages.decode(what))
        if self.tasks and rng.random() < 0.5:
            work, then = self.tasks.pop(0)
            then(work())
        node.advance()
        self.work = node.take_work()
        self.flushing = True

    # Listener

    def leading(self, term: int) -> None:
        self.world.seen["leading"] += 1

    def following(self, term: int, leader: Server | None) -> None: ...

    def applied(self, index: int, keys: Collection[str] | None) -> None:
        if keys is None:
            self.world.seen["snapshots installed"] += 1

    def configured(self, configuration: Configuration) -> None: ...

    def failed(self, reason: str) -> None: ...


class World:
    def __init__(self, seed: int, nodes: int, about: dict[str, float] | None = None, spare: int = 2) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.reorder = self.rng.random() < 0.2
        self.slow = self.rng.choice([0.0, 0.0, 0.005, 0.05, 0.4])
        self.disk = self.rng.choice([0.02, 0.02, 0.5, 0.9])
        self.odds = _RARE | (self.rng.choice(_ABOUT) if about is None else about)
        core._BATCH = self.rng.choice([120, 1 << 20])
        self.wrong: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.applied: dict[int, tuple[int, bytes]] = {}
        self.states: dict[int, frozenset[tuple[str, bytes]]] = {}
        self.acked: dict[int, bytes] = {}
        self.last_acked = 0
        self.leaders: dict[int, str] = {}
        self.count = 0
        self.running: Node | None = None
        self.links: set[frozenset[str]] = set()
        self.blocked: set[tuple[str, str]] = set()
        self.wires: dict[tuple[str, str], deque[tuple[float, bytes]]] = defaultdict(deque)
        pysyncobj.syncobj.monotonicTime = lambda: self.now
        replica.steps = self.record
        names = [f"n{i}" for i in range(nodes + spare)]
        members = Configuration(tuple(Server(name, name) for name in names[:nodes]), 1)
        self.nodes = {name: Node(self, name, members if name in names[:nodes] else Configuration()) for name in names}
        for a in names:
            for b in names:
                self.link(a, b)

    # Links

    def link(self, a: str, b: str) -> None:
        if a == b or frozenset((a, b)) in self.links or not self.nodes[a].replica or not self.nodes[b].replica:
            return
        self.links.add(frozenset((a, b)))
        self.nodes[a].inbox.append((b, True))
        self.nodes[b].inbox.append((a, True))

    def cut(self, a: str, b: str) -> None:
        if frozenset((a, b)) not in self.links:
            return
        self.links.discard(frozenset((a, b)))
        for one, other in ((a, b), (b, a)):
            self.wires.pop((one, other), None)
            self.blocked.discard((one, other))
            self.nodes[one].inbox.append((other, False))

    def send(self, source: str, target: str, data: bytes) -> None:
        if frozenset((source, target)) in self.links:
            delay = self.rng.choice((0.0, 0.0, 0.001, self.slow))
            self.wires[source, target].append((self.now + delay, data))

    def carry(self) -> None:
        for _ in range(self.rng.randrange(1, 8)):
            ready = [k for k, wire in self.wires.items() if wire and k not in self.blocked and wire[0][0] <= self.now]
            if not ready:
                return
            source, target = self.rng.choice(ready)
            wire = self.wires[source, target]
            for _ in range(self.rng.choice((1, 1, 2, 5, 20))):
                if not wire or wire[0][0] > self.now:
                    break
                if self.reorder and len(wire) > 1 and self.rng.random() < 0.3:
                    wire.rotate(-1)
                _, data = wire.popleft()
                self.nodes[target].inbox.append((source, data))

    # What must hold

    def record(self, entries: Sequence[Any]) -> list[Step]:
        for entry in entries:
            if self.applied.setdefault(entry.idx, (entry.term, entry.command)) != (entry.term, entry.command):
                self.wrong["another entry applied at the same index"] += 1
        return _steps(entries)

    def look(self, node: Node) -> None:
        state = frozenset(node.state.rows.items())
        if self.states.setdefault(node.state.index, state) != state:
            self.wrong["states differ"] += 1
        assert node.replica is not None
        if node.replica.core.is_leader and self.leaders.setdefault(node.replica.core.term, node.name) != node.name:
            self.wrong["two leaders in a term"] += 1

    def put(self, node: Node) -> None:
        self.count += 1
        command = commands.batch({f"k{self.rng.randrange(KEYS)}": b"%d" % self.count})

        def done(index: int, error: Exception | None) -> None:
            if error is not None:
                self.seen[type(error).__name__] += 1
            elif self.applied.get(index, (0, b""))[1] != command:
                self.wrong["success for something else"] += 1
            else:
                self.acked[index] = command
                self.last_acked = max(self.last_acked, index)

        assert node.replica is not None
        node.replica.propose(Proposal(command, done))

    def read(self, node: Node) -> None:
        least = self.last_acked
        assert node.replica is not None

        def answer(index: int | None) -> None:
            if index is None:
                self.seen["reads refused"] += 1
            elif index < least:
                self.wrong["stale read"] += 1
            elif node.state.index < index:
                self.wrong["read answered before it was applied"] += 1
            else:
                self.seen["reads"] += 1

        node.replica.ask_index(answer)

    # Faults

    def change(self, leader: Node, kind: str) -> None:
        node = leader.replica
        if node is None:
            return  # it has just crashed
        name = self.rng.choice(list(self.nodes))
        if kind == "change":
            kind = self.rng.choice(("add", "promote", "promote", "demote", "remove"))

        def done(index: int, error: Exception | None) -> None:
            self.seen[f"{kind}: {'done' if error is None else type(error).__name__}"] += 1

        if kind == "transfer":
            node.handover.begin(self.rng.choice((name, None)), lambda error: done(0, error))
            return
        change = {
            "add": lambda: membership.adding(Server(name, name)),
            "promote": lambda: membership.promoting(name, lambda n: node.core.match(n) + 20 > node.log.last),
            "demote": lambda: membership.demoting(name, leader.name),
            "remove": lambda: membership.removing(name, leader.name),
        }[kind]()
        node.propose(Proposal(b"", done, change=change))

    def crash(self, node: Node) -> None:
        if node.replica is None:
            return
        for other in self.nodes:
            self.cut(node.name, other)
        node.stop(self.rng.random() < 0.6)
        self.seen["crashes"] += 1

    def restart(self, node: Node) -> None:
        if node.replica is None:
            node.start()
            for other in self.nodes:
                self.link(node.name, other)

    def fault(self, leaders: list[Node]) -> None:
        for kind, odds in self.odds.items():
            if self.rng.random() < odds:
                self.befall(kind, leaders)

    def befall(self, kind: str, leaders: list[Node]) -> None:
        rng = self.rng
        nodes = list(self.nodes.values())
        a, b = rng.sample(list(self.nodes), 2)
        one = rng.choice(leaders if leaders and rng.random() < 0.6 else nodes)
        if kind == "crash":
            self.crash(one)
        elif kind == "restart":
            self.restart(rng.choice([node for node in nodes if node.replica is None] or nodes))
        elif kind == "cut":
            self.cut(one.name, b)
        elif kind == "block":
            self.blocked.add(rng.choice([(one.name, b), (b, one.name)]))  # nothing arrives, and nobody is told
        elif kind == "link":
            self.link(a, b)
            self.blocked.discard(rng.choice(list(self.blocked) or [(a, b)]))
        elif kind == "power":
            for node in nodes:
                self.crash(node)
        elif kind == "pause":
            one.paused = self.now + rng.choice((0.3, 1.0, 3.0))  # a machine that is suspended
        elif leaders:
            self.change(rng.choice(leaders), kind)

    # Running

    def step(self, faults: bool) -> None:
        rng = self.rng
        self.now += rng.choice((0.001, 0.003, 0.01, 0.03))
        self.carry()
        for node in self.nodes.values():
            if node.replica is not None and node.paused <= self.now and rng.random() < 0.6:
                node.run()
        live = [node for node in self.nodes.values() if node.replica is not None and node.paused <= self.now]
        leaders = [node for node in live if node.replica is not None and node.replica.core.is_leader]
        for _ in range(rng.choice((0, 0, 1, 3))):
            if leaders:
                self.put(rng.choice(leaders))
        if live and rng.random() < 0.2:
            self.read(rng.choice(leaders if leaders and rng.random() < 0.5 else live))
        if faults:
            self.fault(leaders)

    def heal(self) -> None:
        self.blocked.clear()
        for node in self.nodes.values():
            node.paused = 0.0
            self.restart(node)
        for a in self.nodes:
            for b in self.nodes:
                self.link(a, b)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step(faults=True)
        self.heal()
        for _ in range(20_000):
            self.step(faults=False)
            if self.now > 1e9 or self.settled():
                break
        else:
            self.wrong["does not settle after all is healed"] += 1
        if self.wrong:
            return

    def settled(self) -> bool:
        """Whether some time after healing every member has all that was acknowledged when it had a leader again."""
        leaders = [n.replica for n in self.nodes.values() if n.replica is not None and n.replica.core.ready]
        if not leaders:
            return False
        leader = max(leaders, key=lambda r: r.core.term)
        members = [self.nodes[server.id] for server in leader.log.members.servers]
        if not self.count_at_end:
            self.count_at_end = self.last_acked + 5
        return all(node.state.index >= self.count_at_end for node in members)

    count_at_end = 0


def simulate(seed: int, nodes: int, steps: int = 3000, about: dict[str, float] | None = None) -> World:
    """A run; raises AssertionError with what is wrong. ``about``: what there is more of than in others."""
    clock, batch = pysyncobj.syncobj.monotonicTime, core._BATCH
    try:
        world = World(seed, nodes, about)
        world.run(steps)
    finally:
        pysyncobj.syncobj.monotonicTime = clock
        replica.steps, core._BATCH = _steps, batch
    assert not world.wrong, f"seed {seed}: {dict(world.wrong)}"
    return world


__all__ = ["StoreError", "World", "simulate"]
