"""``operator raft snapshot``: the whole of a server in one file, and what is in such a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .. import values
from ..command import ONE, Arity, Command, Group
from ..flags import Flag
from ..invocation import CommandError, Invocation

if TYPE_CHECKING:
    from ...server.snapshots.opened import Opened

_PATH = "sys/storage/raft/snapshot"
_KEYS = (
    Flag("config", "strings", "Configuration of the server, where its seal opens by itself. May be repeated."),
    Flag("keys-file", "string", "A file with the unseal keys, one a line; - is standard input."),
)

T = TypeVar("T")


def save(run: Invocation) -> int:
    from ...storage.snapshots import unpack

    target = Path(run.args[0])
    part = target.with_name(f".{target.name}.part")
    try:
        with _local(target), run.failing("Error taking the snapshot"):
            with run.client.lines(_PATH, {}) as pieces, os.fdopen(_create(part), "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                unpack(part, Path(folder))
            part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return 0


def restore(run: Invocation) -> int:
    source = Path(run.args[0])
    with _local(source), source.open("rb") as content, run.failing("Error installing the snapshot"):
        run.client.upload(f"{_PATH}-force" if run.flags.on("force") else _PATH, content)
    return 0


def inspect(run: Invocation) -> int:
    shares = _shares(run)

    async def look() -> tuple[dict[str, Any], dict[str, Any]]:
        from ...server.snapshots.opened import opened

        async with opened(Path(run.args[0])) as snapshot:
            await _unseal(run, snapshot, shares)
            return dict(snapshot.meta), await asyncio.to_thread(snapshot.areas)

    meta, areas = _done(run, look)
    entries, size = sum(each.entries for each in areas.values()), sum(each.size for each in areas.values())
    if not run.table:
        shown = {name: {"entries": each.entries, "size": each.size} for name, each in areas.items()}
        return run.data({**meta, "entries": entries, "size": size, "areas": shown})
    run.rows([(name.replace("_", " ").capitalize(), values.text(value)) for name, value in sorted(meta.items())])
    rows = [(name, str(each.entries), str(each.size)) for name, each in areas.items()]
    return run.say("\n" + values.table(("Area", "Entries", "Bytes"), [*rows, ("Total", str(entries), str(size))]))


def diff(run: Invocation) -> int:
    shares = _shares(run)

    async def compare() -> dict[str, Any]:
        from ...server.snapshots.opened import difference, opened

        older, newer = map(Path, run.args)
        async with opened(older) as before, opened(newer) as after:
            await _unseal(run, before, shares)
            await _unseal(run, after, shares)
            return await asyncio.to_thread(difference, before, after)

    changes = _done(run, compare)
    if not run.table:
        return run.data({
            name: {"added": each.added, "removed": each.removed, "changed": each.changed}
            for name, each in changes.items()
        })  # fmt: skip
    if not changes:
        return run.say("The snapshots hold the same entries.")
    rows = [(name, str(each.added), str(each.removed), str(each.changed)) for name, each in changes.items()]
    return run.rows(rows, ("Area", "Added", "Removed", "Changed"))


def recover(run: Invocation) -> int:
    """Show a secret of a snapshot, or write it back."""
    file, path = run.args
    namespace = run.flags.text("namespace").strip("/")
    shares = _shares(run)

    async def read() -> tuple[str, str, dict[str, Any]]:
        from ...server.snapshots.opened import opened

        async with opened(Path(file)) as snapshot:
            await _unseal(run, snapshot, shares, required=True)
            return await snapshot.read(f"{namespace}/" if namespace else "", path)

    version, where, data = _done(run, read)
    if not run.flags.on("write"):
        return run.secret({"data": data}, run.flags.text("field"))
    with run.failing(f"Error writing data to {where}"):
        run.client.write(where, {"data": data} if version == "2" else data)
    return run.success(f"Data of the snapshot written to: {where}")


def _shares(run: Invocation) -> list[str]:
    source = run.flags.text("keys-file")
    if not source:
        return []
    with _local(Path(source)):
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
        return [line.strip() for line in text.splitlines() if line.strip()]


async def _unseal(run: Invocation, snapshot: Opened, shares: list[str], *, required: bool = False) -> None:
    """Open a snapshot with the keys that are given, if there are any; those that are ``required`` are asked for."""
    from ...server.config import load
    from ...server.process import make_seal
    from ...storage.seals.shamir import ShamirSeal

    if configuration := run.flags.texts("config"):
        seal = await asyncio.to_thread(lambda: make_seal(load(configuration)))
        await snapshot.unseal(seal, shares)
        return
    while required and len(shares) < await snapshot.threshold():
        number = f"{len(shares) + 1} of {await snapshot.threshold()}"
        question = f"Unseal Key {number} (will be hidden): "
        shares.append(run.prompt(question, lambda reason: f"Give the unseal keys with -keys-file: {reason}"))
    if shares:
        await snapshot.unseal(ShamirSeal(), shares)


def _done(run: Invocation, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    from ...framework.errors import CaveauError
    from ...server.config import ConfigError

    with _local(Path(run.args[0])):
        try:
            return asyncio.run(work())
        except (CaveauError, ConfigError) as error:
            raise CommandError(f"{run.args[0]}: {error}", 1) from error


@contextlib.contextmanager
def _local(path: Path) -> Any:
    """Turn what goes wrong with a file into a message."""
    from ...framework.errors import CaveauError

    try:
        yield
    except CaveauError as error:
        raise CommandError(f"{path}: {error}", 1) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"{error.filename or path}: {error.strerror}", 1) from error


def _create(path: Path) -> int:
    from ...storage.snapshots.scratch import create

    path.unlink(missing_ok=True)
    return create(path)


_SNAPSHOT = "<snapshot_file>"
SNAPSHOT = Group(
    "snapshot",
    "Saves all that a server has stored into one file, restores it, and looks into such files. What is in one is\n"
    "encrypted: it takes the unseal keys of the server to read it.",
    (
        Command("diff", diff,
                "Shows how many entries were added, removed and written again from one snapshot to a newer one. With\n"
                "unseal keys, mounts are called by their paths.\n\n"
                "    $ caveau operator raft snapshot diff monday.snap tuesday.snap",
                summary="Compare two snapshots", usage="[options] <older_file> <newer_file>", arity=Arity(2, 2),
                flags=_KEYS, http=False, formats=True),
        Command("inspect", inspect,
                "Checks a snapshot whole and shows what is in it: how many entries of which size. With unseal keys,\n"
                "mounts are called by their paths.\n\n"
                "    $ caveau operator raft snapshot inspect vault.snap",
                summary="Show what is in a snapshot", usage=f"[options] {_SNAPSHOT}", arity=ONE, flags=_KEYS,
                http=False, formats=True),
        Command("recover", recover,
                "Shows one key-value secret as it was when a snapshot was taken, or writes it back to the server. The\n"
                "unseal keys of that time are read from a file, or asked for.\n\n"
                "    $ caveau operator raft snapshot recover vault.snap secret/app\n"
                "    $ caveau operator raft snapshot recover -write vault.snap secret/app",
                summary="Get one secret back out of a snapshot", usage=f"[options] {_SNAPSHOT} PATH",
                arity=Arity(2, 2), formats=True, field=True,
                flags=(*_KEYS, Flag("write", "bool", "Write it to the server instead of showing it."))),
        Command("restore", restore,
                "Makes all that a server has stored what a snapshot holds. It is checked whole before anything is\n"
                "touched.\n\n    $ caveau operator raft snapshot restore vault.snap",
                summary="Restore a server from a snapshot", usage=_SNAPSHOT, arity=ONE, formats=True,
                flags=(Flag("force", "bool", "The snapshot is of another cluster: its unseal keys are the server's "
                            "from then on."),)),
        Command("save", save,
                "Saves all that a server has stored into a file, which is checked once it is there.\n\n"
                "    $ caveau operator raft snapshot save vault.snap",
                summary="Save a snapshot", usage=_SNAPSHOT, arity=ONE, formats=True),
    ),
)  # fmt: skip
