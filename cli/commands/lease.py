"""``lease``: what the server handed out, and may take back."""

from __future__ import annotations

from .. import durations, terminal
from ..command import ONE, Arity, Command, Group
from ..flags import Flag
from ..invocation import CommandError, Invocation


def lookup(run: Invocation) -> int:
    lease = _id(run)
    with run.failing(f"error looking up lease id {lease}"):
        secret = run.client.write("sys/leases/lookup", {"lease_id": lease})
    return run.secret(secret or {})


def renew(run: Invocation) -> int:
    lease = _id(run)
    increment = run.flags.number("increment") // durations.SECOND
    with run.failing(f"Error renewing {lease}"):
        secret = run.client.write("sys/leases/renew", {"increment": increment, "lease_id": lease})
    return run.secret(secret or {})


def revoke(run: Invocation) -> int:
    lease = run.args[0].strip()
    force, prefix, sync = (run.flags.on(name) for name in ("force", "prefix", "sync"))
    if force and not prefix:
        raise CommandError("Specifying -force requires also specifying -prefix", 1)
    if force:
        terminal.warn(terminal.wrap(
            "Warning! Force-removing leases can cause Caveau to become out of sync with secret engines!"
        ))  # fmt: skip
        with run.failing(f"Error force revoking leases with prefix {lease}"):
            run.client.write(f"sys/leases/revoke-force/{lease}")
        return run.say(f"Success! Force revoked any leases with prefix: {lease}")
    what = f"Error revoking leases with prefix {lease}" if prefix else f"Error revoking lease {lease}"
    with run.failing(what):
        run.client.write(f"sys/leases/revoke{'-prefix' if prefix else ''}/{lease}", {"sync": sync})
    if not sync:
        return run.say("All revocation operations queued successfully!")
    if prefix:
        return run.say(f"Success! Revoked any leases with prefix: {lease}")
    return run.say(f"Success! Revoked lease: {lease}")


def _id(run: Invocation) -> str:
    if not run.args:
        raise CommandError("Missing ID!", 1)
    if len(run.args) > 1:
        raise CommandError(f"Too many arguments (expected 1, got {len(run.args)})", 1)
    return run.args[0].strip()


LEASE = Group(
    "lease",
    "Works with leases: the credentials and tokens that the server will take back in time.",
    (
        Command(
            "lookup", lookup,
            "Shows how long a lease lasts.\n\n    $ caveau lease lookup database/creds/readonly/2f6a614c",
            summary="Show a lease", usage="ID", arity=Arity(0, None), formats=True,
        ),
        Command(
            "renew", renew,
            "Lengthens a lease, if it can be.\n\n"
            "    $ caveau lease renew -increment=1h database/creds/readonly/2f6a614c",
            summary="Lengthen a lease", usage="[options] ID", arity=Arity(0, None), formats=True,
            flags=(Flag("increment", "duration", 'How long it should last from now ("30s", "5m"); the server may '
                        "give less.", aliases=("i",)),),
        ),
        Command(
            "revoke", revoke,
            "Takes back what a lease gave, or all leases under a prefix.\n\n"
            "    $ caveau lease revoke -prefix database/creds",
            summary="Take back leases", usage="[options] ID", arity=ONE,
            flags=(
                Flag("force", "bool", "Forget the leases even where taking back fails; needs -prefix.", aliases=("f",)),
                Flag("prefix", "bool", "ID is a prefix of leases."),
                Flag("sync", "bool", "Wait until it is done."),
            ),
        ),
    ),
)  # fmt: skip
