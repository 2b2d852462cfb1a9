"""``namespace``: servers within the server."""

from __future__ import annotations

from typing import Any

from .. import envelope, global_flags, terminal, values
from ..command import ONE, Arity, Command, Group
from ..envelope import Secret
from ..flags import Flag
from ..invocation import CommandError, Invocation
from .data import path_argument
from .operator_keys import pgp_keys
from .status import show_seal_status

METADATA = Flag("custom-metadata", "key=value", "A note on the namespace; may be repeated.")


def create(run: Invocation) -> int:
    flags = run.flags
    path = path_argument(run.args[0])
    body: dict[str, Any] = {"custom_metadata": flags.pairs("custom-metadata")}
    if seal := _seal(run):
        body["seal"] = seal
    with run.failing("Error creating namespace"):
        secret = run.client.write(f"sys/namespaces/{path}", body, "POST")
    data = dict((secret or {}).get("data") or {})
    shares = data.pop("key_shares", None)
    if shares and run.table and not flags.text("field"):
        _show_shares(shares, flags.number("key-threshold"))
    return _show(run, secret, data if run.table else (secret or {}).get("data") or {})


def _seal(run: Invocation) -> str:
    """The seal stanza that the flags ask for, ``""`` for none."""
    flags = run.flags
    if path := flags.text("seal"):
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except (OSError, UnicodeDecodeError) as e:
            reason = (e.strerror or str(e)).lower() if isinstance(e, OSError) else "not UTF-8 text"
            raise CommandError(f"Error reading seal config file: open {path}: {reason}") from e
    settings = [f"{name} = {flags.number(flag)}" for name, flag in (("shares", "key-shares"),
                ("threshold", "key-threshold")) if flags.given(flag)]  # fmt: skip
    if keys := pgp_keys(flags.text("pgp-keys")):
        settings.append("pgp_keys = [" + ", ".join(f'"{key}"' for key in keys) + "]")
    return 'seal "shamir" {\n' + "".join(f"    {line}\n" for line in settings) + "}" if settings else ""


def _show_shares(shares: list[str], threshold: int) -> None:
    for number, share in enumerate(shares, 1):
        print(f"Unseal Key {number}: {share}")
    print("\n" + terminal.wrap(
        f"Namespace initialized with {len(shares)} key shares and a key threshold of {threshold}. Keep the shares "
        f"apart and safe: after the namespace is sealed, {threshold} of them are needed to unseal it."
    ) + "\n")  # fmt: skip


def patch(run: Invocation) -> int:
    path = path_argument(run.args[0])
    removed = run.flags.texts("remove-custom-metadata")
    metadata: dict[str, Any] = dict(run.flags.pairs("custom-metadata")) | dict.fromkeys(removed)
    if not metadata:
        raise CommandError("Must supply at least one of -custom-metadata or -remove-custom-metadata", 1)
    with run.failing("Error patching namespace"):
        secret = run.client.patch(f"sys/namespaces/{path}", {"custom_metadata": metadata})
    return _show(run, secret, (secret or {}).get("data") or {})


def lookup(run: Invocation) -> int:
    with run.failing("Error looking up namespace"):
        secret = run.client.read(f"sys/namespaces/{path_argument(run.args[0])}")
    if secret is None:
        raise CommandError("Namespace not found")
    return _show(run, secret, secret.get("data") or {})


def delete(run: Invocation) -> int:
    path = path_argument(run.args[0])
    with run.failing("Error deleting namespace"):
        secret = run.client.delete(f"sys/namespaces/{path}")
    if secret and ((secret.get("data") or {}).get("status") or "") == "in-progress":
        return run.say(f"Success! Namespace deletion scheduled: {path}/")
    if secret and secret.get("warnings"):
        terminal.warn("\n".join(secret["warnings"]))
        return 0
    return run.say(f"Success! Namespace deleted (if it existed): {path}/")


def delete_sealed(run: Invocation) -> int:
    path = path_argument(run.args[0])
    with run.failing("Error deleting sealed namespace"):
        run.client.delete(f"sys/namespaces/{path}/delete-sealed", {"force": "true"} if run.flags.on("force") else None)
    return run.say(f"Success! Sealed namespace deleted: {path}/")


def list_(run: Invocation) -> int:
    return _list(run, scan=False)


def scan(run: Invocation) -> int:
    return _list(run, scan=True)


def _list(run: Invocation, scan: bool) -> int:
    with run.failing(f"Error {'scanning' if scan else 'listing'} namespaces"):
        secret = run.client.list("sys/namespaces", scan=scan)
    data = (secret or {}).get("data") or {}
    found = data.get("keys") or []
    if not found:
        if not run.table:
            run.data({})
            return 2
        raise CommandError("No namespaces found")
    if not run.table:
        return run.data(values.ordered(data.get("key_info")) if run.flags.on("detailed") else found)
    if not run.flags.on("detailed"):
        return run.say("\n".join(["Keys", "----", *found]))
    details = data.get("key_info") or {}
    names = sorted({name for info in details.values() for name in info})
    return run.rows(
        [[key, *(values.text((details.get(key) or {}).get(name)) for name in names)] for key in found], ["Keys", *names]
    )


def lock(run: Invocation) -> int:
    suffix = f"/{path_argument(run.args[0])}" if run.args else ""
    with run.failing("Error locking namespace"):
        secret = run.client.write(f"sys/namespaces/api-lock/lock{suffix}")
    data = (secret or {}).get("data") or {}
    if not run.table:
        return run.data(data)
    print(f"Unlock Key: {data.get('unlock_key', '')}\n")
    return run.say(terminal.wrap(
        "Namespace is now locked. Keep the unlock key safe: it opens the namespace again. Without it, that takes the "
        "sudo capability."
    ))  # fmt: skip


def unlock(run: Invocation) -> int:
    suffix = f"/{path_argument(run.args[0])}" if run.args else ""
    with run.failing("Error unlocking namespace"):
        secret = run.client.write(
            f"sys/namespaces/api-lock/unlock{suffix}", {"unlock_key": run.flags.text("unlock-key")}
        )
    if secret and secret.get("warnings"):
        terminal.warn("\n".join(secret["warnings"]))
        return 0
    return run.success("Namespace unlocked")


def seal(run: Invocation) -> int:
    path = path_argument(run.args[0])
    with run.failing("Error sealing"):
        run.client.write(f"sys/namespaces/{path}/seal")
    return run.say(f'Success! Namespace "{path}" is sealed.')


def seal_status(run: Invocation) -> int:
    with run.failing("Error reading seal status"):
        answer = run.client.answer("GET", f"sys/namespaces/{path_argument(run.args[0])}/seal-status")
    return show_seal_status(run, answer, {}, run.flags.text("field"))


def unseal(run: Invocation) -> int:
    from .operator_unseal import key_argument

    path = path_argument(run.args[0])
    reset = run.flags.on("reset")
    body = {"key": "" if reset else key_argument(run, run.args[1:]), "reset": reset}
    with run.failing("Error unsealing"):
        answer = run.client.answer("PUT", f"sys/namespaces/{path}/unseal", body=body)
    return show_seal_status(run, answer, {})


def _show(run: Invocation, secret: Secret | None, data: dict[str, Any]) -> int:
    if field := run.flags.text("field"):
        return run.field(data.get(field), field, "map")
    if not run.table:
        return run.data(values.ordered(data))
    run.warnings(secret)
    return run.rows(envelope.data_rows(data))


NAMESPACE = Group(
    "namespace",
    "Works with namespaces: parts of the server with their own mounts, policies and tokens.",
    (
        Command(
            "create", create,
            "Makes a namespace.\n\n    $ caveau namespace create -custom-metadata=team=red red",
            summary="Make a namespace", usage="[options] PATH", arity=ONE, formats=True, field=True,
            flags=(
                METADATA,
                Flag("key-shares", "int", "Give it its own seal, with this many unseal keys."),
                Flag("key-threshold", "int", "How many of its keys unseal it."),
                Flag("pgp-keys", "string", "Files with PGP keys to encrypt its unseal keys with, separated by commas.",
                     placeholder="keybase:user1, keybase:user2, ..."),
                Flag("seal", "string", "HCL file with one seal stanza, for its own seal."),
            ),
        ),
        Command("delete", delete, "Deletes a namespace with all that is in it.\n\n    $ caveau namespace delete red",
                summary="Delete a namespace", usage="[options] PATH", arity=ONE),
        Command("delete-sealed", delete_sealed,
                "Deletes a namespace that is sealed, without revoking what it handed out.\n\n"
                "    $ caveau namespace delete-sealed red",
                summary="Delete a sealed namespace", usage="[options] PATH", arity=ONE,
                flags=(Flag("force", "bool", "Go on where something fails."),)),
        Command("list", list_, "Lists namespaces.\n\n    $ caveau namespace list", summary="List namespaces",
                flags=(global_flags.DETAILED,), formats=True),
        Command("lock", lock, "Locks the API of a namespace.\n\n    $ caveau namespace lock red",
                summary="Lock the API of a namespace", usage="PATH", arity=Arity(0, 1), formats=True),
        Command("lookup", lookup, "Shows a namespace.\n\n    $ caveau namespace lookup red",
                summary="Show a namespace", usage="[options] PATH", arity=ONE, formats=True),
        Command("patch", patch, "Changes the notes on a namespace.\n\n"
                "    $ caveau namespace patch -remove-custom-metadata=team red",
                summary="Change the notes on a namespace", usage="[options] PATH", arity=ONE, formats=True, field=True,
                flags=(METADATA, Flag("remove-custom-metadata", "strings", "Note to remove; may be repeated."))),
        Command("scan", scan, "Lists namespaces and those in them.\n\n    $ caveau namespace scan",
                summary="List namespaces recursively", flags=(global_flags.DETAILED,), formats=True),
        Command("seal", seal, "Seals a namespace that has its own seal.\n\n    $ caveau namespace seal red",
                summary="Seal a namespace", usage="[options] PATH", arity=ONE),
        Command("seal-status", seal_status, "Shows whether a namespace is sealed.\n\n"
                "    $ caveau namespace seal-status red",
                summary="Show whether a namespace is sealed", usage="[options] PATH", arity=ONE, formats=True,
                field=True),
        Command("unlock", unlock, "Unlocks the API of a namespace.\n\n"
                "    $ caveau namespace unlock -unlock-key=... red",
                summary="Unlock the API of a namespace", usage="[options] PATH", arity=Arity(0, 1), formats=True),
        Command("unseal", unseal, "Gives a key share to a sealed namespace.\n\n    $ caveau namespace unseal red",
                summary="Unseal a namespace", usage="[options] PATH [KEY]", arity=Arity(1, 2), formats=True,
                flags=(Flag("reset", "bool", "Forget the keys given so far."),)),
    ),
)  # fmt: skip
