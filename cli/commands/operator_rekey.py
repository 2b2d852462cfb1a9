"""``operator rekey`` and ``operator rotate-keys``: new key shares for old ones.

The first uses Vault's endpoints, the second OpenBao's, which want a token; the conversation is the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import terminal, values
from ..command import Arity, Command
from ..flags import Flag
from ..invocation import CommandError, Invocation
from .operator_keys import pgp_keys, share_argument


class Operation(NamedTuple):
    """The words and endpoints in which the two differ."""

    noun: str  # "rekey" or "rotation"
    start: str  # method of init
    base: dict[str, str]  # by target
    backup: dict[str, str]

    def path(self, run: Invocation) -> str:
        target = run.flags.text("target").lower()
        base = self.base.get(target)
        if base is None:
            raise CommandError(f"Unknown target: {run.flags.text('target')}", 1)
        return base


# What machine formats show of a status, in the original's order, with what stands for a missing value.
_STATUS: dict[str, Any] = {
    "nonce": "", "started": False, "t": 0, "n": 0, "progress": 0, "required": 0, "pgp_fingerprints": None,
    "backup": False, "verification_required": False, "verification_nonce": "",
}  # fmt: skip
_VERIFY: dict[str, Any] = {"nonce": "", "started": False, "t": 0, "n": 0, "progress": 0}

REKEY_API = Operation(
    "rekey", "PUT",
    {"barrier": "sys/rekey", "recovery": "sys/rekey-recovery-key"},
    {"barrier": "sys/rekey/backup", "recovery": "sys/rekey/recovery-key-backup"},
)  # fmt: skip
ROTATE_API = Operation(
    "rotation", "POST",
    {"barrier": "sys/rotate/root", "recovery": "sys/rotate/recovery"},
    {"barrier": "sys/rotate/root/backup", "recovery": "sys/rotate/recovery/backup"},
)  # fmt: skip


def run_operation(run: Invocation, api: Operation) -> int:
    base, verify = api.path(run), run.flags.on("verify")
    flags = run.flags
    if flags.on("backup-delete"):
        return _backup_delete(run, api)
    if flags.on("backup-retrieve"):
        return _backup_retrieve(run, api)
    if flags.on("cancel"):
        return _cancel(run, api, f"{base}/{'verify' if verify else 'init'}")
    if flags.on("init"):
        return _init(run, api, base)
    if flags.on("status"):
        with run.failing(f"Error reading {api.noun} status"):
            status = run.client.answer("GET", f"{base}/{'verify' if verify else 'init'}")
        return _show_status(run, status, verify)
    return _provide(run, api, base, verify)


def _init(run: Invocation, api: Operation, base: str) -> int:
    keys = pgp_keys(run.flags.text("pgp-keys"))
    body = {
        "secret_shares": run.flags.number("key-shares"), "secret_threshold": run.flags.number("key-threshold"),
        "pgp_keys": keys or None, "backup": run.flags.on("backup"), "require_verification": run.flags.on("verify"),
    }  # fmt: skip
    with run.failing(f"Error initializing {api.noun}"):
        run.client.request(api.start, f"{base}/init", body=body)  # some servers say nothing here
        status = run.client.answer("GET", f"{base}/init")
    if run.table:
        print()
    if not keys:
        terminal.warn(terminal.wrap(
            "WARNING! The new keys are shown once; if they are lost then, there is no way back. To guard against that, "
            "cancel and start again with -pgp-keys and -backup: the server then keeps the encrypted keys until they "
            "are deleted with -backup-delete."
        ))  # fmt: skip
    return _show_status(run, status, verify=False)


def _provide(run: Invocation, api: Operation, base: str, verify: bool) -> int:
    part = "verify" if verify else "init"
    with run.failing(f"Error getting {api.noun} status"):
        status = run.client.answer("GET", f"{base}/{part}", preflight=True)
    if not status.get("started"):
        raise CommandError(f'No {api.noun} is in progress. Start one with the "-init" flag.', 1)
    nonce = str(status.get("nonce") or "")
    line = f"{'Rekey verification' if verify else 'Rekey'} operation nonce: {nonce}"
    if api is ROTATE_API:
        line = f"{'rotation verification' if verify else 'rotation'} nonce: {nonce}"
    share, nonce = share_argument(run, line, nonce)
    with run.failing("Error posting unseal key"):
        result = run.client.answer(
            "PUT", f"{base}/{'verify' if verify else 'update'}", body={"key": share, "nonce": nonce}
        )
    if result.get("complete"):
        return _verified(run, result) if verify else _show_keys(run, status, result)
    with run.failing(f"Error getting {api.noun} status"):
        status = run.client.answer("GET", f"{base}/{part}")
    return _show_status(run, status, verify)


def _cancel(run: Invocation, api: Operation, path: str) -> int:
    with run.failing(f"Error canceling {api.noun}"):
        run.client.delete(path)
    return run.say(f"Success! Canceled {'rekeying' if api is REKEY_API else 'rotation'} (if it was started)")


def _backup_delete(run: Invocation, api: Operation) -> int:
    with run.failing(f"Error deleting {api.noun} backed up keys"):
        run.client.delete(api.backup[run.flags.text("target").lower()])
    return run.say("Success! Deleted backed up keys (if they existed)")


def _backup_retrieve(run: Invocation, api: Operation) -> int:
    with run.failing(f"Error retrieving {api.noun} backed up keys"):
        secret = run.client.read(api.backup[run.flags.text("target").lower()])
    if secret is None:
        raise CommandError("No backed up keys found")
    return run.secret(secret)


def _show_status(run: Invocation, status: dict[str, Any], verify: bool) -> int:
    if not run.table:
        return run.data({key: status.get(key, default) for key, default in (_VERIFY if verify else _STATUS).items()})
    rows: list[tuple[str, Any]] = []
    if verify:
        rows += [
            ("Started", bool(status.get("started"))), ("New Shares", status.get("n")),
            ("New Threshold", status.get("t")), ("Verification Nonce", status.get("nonce") or ""),
            ("Verification Progress", f"{status.get('progress', 0)}/{status.get('t', 0)}"),
        ]  # fmt: skip
    else:
        rows += [("Nonce", status.get("nonce") or ""), ("Started", bool(status.get("started")))]
        if status.get("started"):
            rows += [
                ("Progress", f"{status.get('progress', 0)}/{status.get('required', 0)}"),
                ("New Shares", status.get("n")), ("New Threshold", status.get("t")),
                ("Verification Required", bool(status.get("verification_required"))),
            ]  # fmt: skip
            if status.get("verification_nonce"):
                rows.append(("Verification Nonce", status["verification_nonce"]))
        if status.get("pgp_fingerprints"):
            rows += [("PGP Fingerprints", status["pgp_fingerprints"]), ("Backup", bool(status.get("backup")))]
    return run.rows([(title, values.text(value)) for title, value in rows])


def _show_keys(run: Invocation, status: dict[str, Any], result: dict[str, Any]) -> int:
    if not run.table:
        return run.data(result)
    fingerprints = result.get("pgp_fingerprints") or []
    lines = [""]
    for number, key in enumerate(result.get("keys_base64") or [], 1):
        if number <= len(fingerprints):
            lines.append(f"Key {number} fingerprint: {fingerprints[number - 1]}; value: {key}")
        else:
            lines.append(f"Key {number}: {key}")
    lines += ["", f"Operation nonce: {result.get('nonce', '')}", ""]
    shares, threshold = status.get("n"), status.get("t")
    if result.get("verification_required"):
        lines.append(terminal.wrap(
            f"New keys were made: {shares} shares, threshold {threshold}. They are not in use yet. Give {threshold} of "
            "them back with -verify to show that they are at hand; only then do the old ones end. Verification nonce: "
            f"{result.get('verification_nonce', '')}"
        ))  # fmt: skip
    else:
        lines.append(terminal.wrap(
            f"The keys are now {shares} key shares with a key threshold of {threshold}. Keep the shares apart and "
            f"safe: whenever the server starts or is sealed, {threshold} of them are needed. The old ones are void."
        ))  # fmt: skip
    if result.get("backup"):
        lines += ["", terminal.wrap(
            "The server keeps a copy of the encrypted keys until it is deleted with -backup-delete."
        )]  # fmt: skip
    return run.say("\n".join(lines))


def _verified(run: Invocation, result: dict[str, Any]) -> int:
    if not run.table:
        return run.data(result)
    return run.say("\n" + terminal.wrap(
        f"Success! The new keys were verified (operation nonce {result.get('nonce', '')}). They are in use; the old "
        "ones are void."
    ))  # fmt: skip


_FLAGS = (
    Flag("backup", "bool", "Let the server keep a copy of the PGP-encrypted keys."),
    Flag("backup-delete", "bool", "Delete that copy."),
    Flag("backup-retrieve", "bool", "Show that copy."),
    Flag("cancel", "bool", "Stop, and forget the shares given so far."),
    Flag("init", "bool", "Start."),
    Flag("key-shares", "int", "Into how many shares to split the new key. The default is 5.", default=5,
         aliases=("n",)),
    Flag("key-threshold", "int", "How many shares act together. The default is 3.", default=3, aliases=("t",)),
    Flag("nonce", "string", "The nonce shown at the start; goes with every share."),
    Flag("pgp-keys", "string", "Files with PGP keys to encrypt the new shares with, separated by commas.",
         placeholder="keybase:user1, keybase:user2, ..."),
    Flag("status", "bool", "Show how far it is."),
    Flag("target", "string", '"barrier" or "recovery". The default is barrier.', default="barrier"),
    Flag("verify", "bool", "With -init: ask for the new shares back before the old ones end. Otherwise: act on that "
         "verification."),
)  # fmt: skip

REKEY = Command(
    "rekey", lambda run: run_operation(run, REKEY_API),
    "Makes new unseal keys, given enough of the old ones. Start with -init; then give one share at a time.\n"
    "Without KEY the share is asked for and not shown; - reads it from standard input.\n\n"
    "    $ caveau operator rekey -init -key-shares=5 -key-threshold=3\n"
    "    $ caveau operator rekey",
    usage="[options] [KEY]", arity=Arity(0, 1), flags=_FLAGS, formats=True,
)  # fmt: skip

ROTATE_KEYS = Command(
    "rotate-keys", lambda run: run_operation(run, ROTATE_API),
    "Makes new unseal keys as rekey does, through endpoints that want a token.\n\n"
    "    $ caveau operator rotate-keys -init -key-shares=5 -key-threshold=3\n"
    "    $ caveau operator rotate-keys",
    usage="[options] [KEY]", arity=Arity(0, 1), flags=_FLAGS, formats=True,
)  # fmt: skip
