"""``operator raft recover``: a cluster whose majority is lost, formed anew from the nodes that survive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .. import terminal, values
from ..command import Arity, Command
from ..flags import Flag
from ..invocation import CommandError, Invocation

if TYPE_CHECKING:
    from ...storage.raft.repair import Position

_YES = "yes"


class Survivor(NamedTuple):
    folder: Path
    position: Position

    @property
    def ahead(self) -> tuple[int, int]:
        """Of two, the greater has all that was ever acknowledged to both (Raft, section 5.4.1)."""
        return self.position.term, self.position.last


def recover(run: Invocation) -> int:
    from ...framework.errors import CaveauError

    try:
        return _recover(run)
    except CaveauError as error:
        raise CommandError(str(error), 1) from error


def _recover(run: Invocation) -> int:
    from ...storage.raft.engine import Server
    from ...storage.raft.repair import force, inspect

    chosen = Path(run.args[0])
    others = [Path(folder) for folder in run.args[1:]]
    survivors = [Survivor(folder, inspect(folder)) for folder in (chosen, *others)]
    members = survivors[0].position.members
    if not members.servers:
        raise CommandError(f"{chosen}: this node is in no cluster: start it and let it join, or restore a snapshot", 1)
    node = _node(run, chosen, [server.id for server in members.servers])
    own = members.find(node)
    assert own is not None
    _show(survivors, [f"{s.id} at {s.address}" + ("" if s.voter else ", no voter") for s in members.servers])
    best = max(survivors, key=lambda survivor: survivor.ahead)
    if best.ahead > survivors[0].ahead:
        raise CommandError(
            f"Refused: {best.folder} has a newer log (term {best.position.term}, entry {best.position.last}) than "
            f"{chosen}. Whatever it has more would be lost: recover from {best.folder}.", 1,
        )  # fmt: skip
    unseen = len(members.voters) - len(survivors)
    if unseen > 0:
        terminal.warn(terminal.wrap(
            f"{unseen} of {len(members.voters)} voters cannot be compared. If one of them survives, stop, copy its "
            "directory here, and give it too: it may have what this node has not."
        ))  # fmt: skip
    _confirm(run, node, own.address)
    address = run.flags.text("cluster-addr") or own.address
    done = force(chosen, [Server(node, address)])
    run.say(f"Success! {node} is a cluster of its own now, with all up to entry {done.applied}.\n")
    return run.say(terminal.wrap(
        "Start and unseal it, and look whether everything is there. Then empty the directories of all other nodes, "
        "those that survive too, and let them join it: what they have of the old cluster must never come back."
    ))  # fmt: skip


def _node(run: Invocation, folder: Path, known: list[str]) -> str:
    """Which of the members the directory is of."""
    file = folder / "node-id"
    node = run.flags.text("node-id") or (file.read_text().strip() if file.exists() else "")
    if not node and len(known) == 1:
        return known[0]
    if node not in known:
        which = f"{node} is none" if node else "its configuration says which (node_id)"
        raise CommandError(f"Give -node-id, one of the members of the cluster: {', '.join(known)}; {which}.", 1)
    return node


def _show(survivors: list[Survivor], members: list[str]) -> None:
    print("Members of the cluster, as this node knows them:\n  " + "\n  ".join(members) + "\n")
    rows = [
        (str(each.folder), str(each.position.term), str(each.position.last), str(each.position.applied))
        for each in survivors
    ]
    print(values.table(("Directory", "Term", "Last entry", "Applied"), rows) + "\n")


def _confirm(run: Invocation, node: str, address: str) -> None:
    if run.flags.on("yes"):
        return
    print(terminal.wrap(
        f"{node}, at {address}, will be the only member, and all in its log be kept. All other nodes, those that seem "
        "lost too, must be stopped now and never be started again with the data that they have."
    ) + f"\n\nType {_YES!r} to go on: ", end="", flush=True)  # fmt: skip
    if sys.stdin.readline().strip() != _YES:
        raise CommandError("Nothing was changed.", 1)


RECOVER = Command(
    "recover", recover,
    "Makes one node a cluster of its own, when most voters of its cluster are gone for good. All nodes must be\n"
    "stopped. Give its data directory, and those of all other nodes that survive, copied here: if one of these has a\n"
    "newer log, nothing is changed, because what it has more would be lost. Without a majority lost, remove the\n"
    "dead nodes with remove-peer instead.\n\n"
    "    $ caveau operator raft recover /var/lib/caveau /mnt/node-b /mnt/node-c",
    usage="[options] DIRECTORY [DIRECTORY...]", arity=Arity(1, None), http=False,
    flags=(
        Flag("cluster-addr", "string", "Where other nodes will reach it, if that is another host:port now."),
        Flag("node-id", "string", "Its id, where the directory does not tell."),
        Flag("yes", "bool", "Do not ask."),
    ),
)  # fmt: skip
