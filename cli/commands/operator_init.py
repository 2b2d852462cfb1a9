"""``operator init``: make the server's keys, once in its life."""

from __future__ import annotations

from typing import Any

from .. import terminal
from ..client import ClientError
from ..command import Command
from ..flags import Flag
from ..invocation import Invocation
from .operator_keys import pgp_keys

SHARES, THRESHOLD = 5, 3

_ORDER = ("unseal_keys_b64", "unseal_keys_hex", "unseal_shares", "unseal_threshold", "recovery_keys_b64",
          "recovery_keys_hex", "recovery_keys_shares", "recovery_keys_threshold", "root_token")  # fmt: skip


def init(run: Invocation) -> int:
    if run.flags.on("status"):
        return _status(run)
    body = _request(run)
    with run.failing("Error initializing"):
        answer: dict[str, Any] = run.client.answer("PUT", "sys/init", body=body)
    shown = {
        "unseal_keys_b64": answer.get("keys_base64") or [],
        "unseal_keys_hex": answer.get("keys") or [],
        "unseal_shares": body["secret_shares"],
        "unseal_threshold": body["secret_threshold"],
        "recovery_keys_b64": answer.get("recovery_keys_base64"),
        "recovery_keys_hex": answer.get("recovery_keys"),
        "recovery_keys_shares": body["recovery_shares"],
        "recovery_keys_threshold": body["recovery_threshold"],
        "root_token": answer.get("root_token") or "",
    }
    return _show(run, shown) if run.table else run.data({key: shown[key] for key in _ORDER})


def _status(run: Invocation) -> int:
    with run.failing("Error checking init status"):
        initialized = bool(run.client.answer("GET", "sys/init").get("initialized"))
    if run.table:
        run.say(f"Vault is {'' if initialized else 'not '}initialized")
    else:
        run.data({"Initialized": initialized})
    return 0 if initialized else 2


def _request(run: Invocation) -> dict[str, Any]:
    """Shares the command line leaves open: 5 of 3, of the recovery key where the seal opens by itself."""
    flags = run.flags
    recovery = _auto_unseal(run)

    def number(flag: str, default: int, applies: bool) -> int:
        return flags.number(flag) if flags.given(flag) else default if applies else 0

    return {
        "secret_shares": number("key-shares", SHARES, not recovery),
        "secret_threshold": number("key-threshold", THRESHOLD, not recovery),
        "pgp_keys": pgp_keys(flags.text("pgp-keys")) or None,
        "recovery_shares": number("recovery-shares", SHARES, recovery),
        "recovery_threshold": number("recovery-threshold", THRESHOLD, recovery),
        "recovery_pgp_keys": pgp_keys(flags.text("recovery-pgp-keys")) or None,
        "root_token_pgp_key": "".join(pgp_keys(flags.text("root-token-pgp-key"))),
    }


def _auto_unseal(run: Invocation) -> bool:
    try:
        return bool(run.client.answer("GET", "sys/seal-status", preflight=True).get("recovery_seal"))
    except ClientError:
        return False  # the request itself will say what is wrong


def _show(run: Invocation, shown: dict[str, Any]) -> int:
    keys, recovery = shown["unseal_keys_b64"], shown["recovery_keys_b64"] or []
    lines = [f"Unseal Key {number}: {key}" for number, key in enumerate(keys, 1)]
    lines += [f"Recovery Key {number}: {key}" for number, key in enumerate(recovery, 1)]
    lines += ["", f"Initial Root Token: {shown['root_token']}", ""]
    shares, threshold = shown["unseal_shares"], shown["unseal_threshold"]
    if recovery:
        lines += ["Success! Vault is initialized", "", terminal.wrap(
            f"Recovery key initialized with {shown['recovery_keys_shares']} key shares and a key threshold of "
            f"{shown['recovery_keys_threshold']}. Keep the shares apart and safe; they do not unseal the server, they "
            "allow operations such as making a new root token."
        )]  # fmt: skip
    else:
        lines += [terminal.wrap(
            f"Vault initialized with {shares} key shares and a key threshold of {threshold}. Keep the shares apart and "
            f"safe: whenever the server starts or is sealed, {threshold} of them are needed to unseal it."
        ), "", terminal.wrap(
            f"They are shown this once and are stored nowhere. Without {threshold} of them, what the server holds is "
            'lost. "caveau operator rekey" makes new ones, given enough of the old.'
        )]  # fmt: skip
    return run.say("\n".join(lines))


INIT = Command(
    "init", init,
    "Initializes a server: makes its keys, splits the unseal key into shares, makes the first root token.\n"
    "It can be done once.\n\n    $ caveau operator init -key-shares=3 -key-threshold=2",
    formats=True,
    flags=(
        Flag("key-shares", "int", "Into how many shares to split the unseal key. The default is 5.", aliases=("n",)),
        Flag("key-threshold", "int", "How many shares unseal the server. The default is 3.", aliases=("t",)),
        Flag("pgp-keys", "string", "Files with PGP keys to encrypt the shares with, one each, separated by commas.",
             placeholder="keybase:user1, keybase:user2, ..."),
        Flag("recovery-pgp-keys", "string", "The same for the shares of the recovery key.",
             placeholder="keybase:user1, keybase:user2, ..."),
        Flag("recovery-shares", "int", "Shares of the recovery key, where the seal opens by itself. The default is 5."),
        Flag("recovery-threshold", "int", "How many of them act together. The default is 3."),
        Flag("root-token-pgp-key", "string", "File with a PGP key to encrypt the root token with.",
             placeholder="keybase:user"),
        Flag("status", "bool", "Only say whether it is initialized: exit code 0 if so, 2 if not."),
    ),
)  # fmt: skip
