"""``operator generate-root``: a new root token, for whoever holds enough key shares."""

from __future__ import annotations

import base64
import secrets
import string
import sys
from typing import Any

from .. import terminal, values
from ..client import APIError
from ..command import Arity, Command
from ..flags import Flag
from ..invocation import CommandError, Invocation
from .operator_keys import pgp_keys, share_argument

_ORDER = ("nonce", "started", "progress", "required", "complete", "encoded_token", "encoded_root_token",
          "pgp_fingerprint", "otp", "otp_length")  # fmt: skip
_OTP_ALPHABET = string.digits + string.ascii_letters


def generate_root(run: Invocation) -> int:
    flags = run.flags
    if flags.on("generate-otp"):
        return _generate_otp(run)
    if flags.text("decode"):
        return _decode(run)
    if flags.on("cancel"):
        with run.failing("Error canceling root token generation"):
            _call(run, "DELETE", "attempt")
        return run.say("Success! Root token generation canceled (if it was started)")
    if flags.on("init"):
        return _init(run)
    with run.failing("Error getting root generation status"):
        status = _call(run, "GET", "attempt")
    return _show(run, status) if flags.on("status") else _provide(run, status)


def _call(run: Invocation, method: str, part: str, body: Any = None) -> dict[str, Any]:
    """Ask Vault's endpoint, which wants no token; where a server has it off, the one that wants one."""
    kinds = ("generate-recovery-token",) if run.flags.on("recovery-token") else ("generate-root", "generate-root-token")
    for kind in kinds:
        path = f"sys/{kind}/{part}"
        try:
            if method != "DELETE":
                return run.client.answer(method, path, body=body)
            run.client.request(method, path)
            break
        except APIError as e:
            if e.status not in (404, 405) or kind == kinds[-1]:
                raise
    return {}


def _init(run: Invocation) -> int:
    body = {"otp": run.flags.text("otp"), "pgp_key": "".join(pgp_keys(run.flags.text("pgp-key")))}
    with run.failing("Error initializing root generation"):
        status = _call(run, "PUT", "attempt", body)
    if run.table and status.get("otp"):
        terminal.warn(terminal.wrap(
            "A One-Time-Password has been generated for you and is shown in the OTP field. You will need this value to "
            "decode the resulting root token, so keep it safe."
        ))  # fmt: skip
    return _show(run, status)


def _provide(run: Invocation, status: dict[str, Any]) -> int:
    if not status.get("started"):
        raise CommandError('No root generation is in progress. Start one with the "-init" flag.', 1)
    nonce = str(status.get("nonce") or "")
    share, nonce = share_argument(run, f"Operation nonce: {nonce}", nonce)
    with run.failing("Error posting unseal key"):
        return _show(run, _call(run, "PUT", "update", {"key": share, "nonce": nonce}))


def _show(run: Invocation, status: dict[str, Any]) -> int:
    if not run.table:
        return run.data({key: status[key] for key in _ORDER if key in status})
    rows = [
        ("Nonce", status.get("nonce") or ""), ("Started", bool(status.get("started"))),
        ("Progress", f"{status.get('progress', 0)}/{status.get('required', 0)}"),
        ("Complete", bool(status.get("complete"))),
    ]  # fmt: skip
    for title, key in (("PGP Fingerprint", "pgp_fingerprint"), ("OTP", "otp"), ("OTP Length", "otp_length")):
        if status.get(key):
            rows.append((title, status[key]))
    if encoded := status.get("encoded_token") or status.get("encoded_root_token"):
        rows.append(("Encoded Token", encoded))
    return run.say(values.columns([(title, values.text(value)) for title, value in rows]))


def _generate_otp(run: Invocation) -> int:
    with run.failing("Error getting root generation status"):
        length = int(_call(run, "GET", "attempt").get("otp_length") or 0)
    if not length:
        raise CommandError("The server does not say how long the OTP must be")
    otp = "".join(secrets.choice(_OTP_ALPHABET) for _ in range(length))
    return run.field(otp, "otp", "answer") if run.table else run.data({"otp": otp, "otp_length": length})


def _decode(run: Invocation) -> int:
    encoded, otp = run.flags.text("decode"), run.flags.text("otp")
    if encoded == "-":
        encoded = sys.stdin.read().strip()
    if not otp:
        raise CommandError("Missing otp: use -otp to supply it", 1)
    try:
        token = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError as e:
        raise CommandError(f"Error decoding root token: {e}", 1) from e
    key = otp.encode()
    if len(token) != len(key):
        raise CommandError(
            "Error decoding root token: error xoring token: length of byte slices is not equivalent: "
            f"{len(token)} != {len(key)}", 1
        )  # fmt: skip
    plain = bytes(a ^ b for a, b in zip(token, key, strict=True)).decode(errors="replace")
    return run.field(plain, "token", "answer") if run.table else run.data({"token": plain})


GENERATE_ROOT = Command(
    "generate-root", generate_root,
    "Makes a root token, given enough key shares. Start with -init, which shows a one-time password (or use\n"
    "-pgp-key); give one share at a time; then decode what comes out with the password.\n\n"
    "    $ caveau operator generate-root -init\n"
    "    $ caveau operator generate-root\n"
    "    $ caveau operator generate-root -decode=... -otp=...",
    usage="[options] [KEY]", arity=Arity(0, 1), formats=True,
    flags=(
        Flag("cancel", "bool", "Stop, and forget the shares given so far."),
        Flag("decode", "string", "The encoded token to decode; - reads it from standard input."),
        Flag("generate-otp", "bool", "Only make a one-time password, for -init."),
        Flag("init", "bool", "Start."),
        Flag("nonce", "string", "The nonce shown at the start; goes with every share."),
        Flag("otp", "string", "The one-time password, for -init and -decode."),
        Flag("pgp-key", "string", "File with a PGP key to encrypt the token with.", placeholder="keybase:user"),
        Flag("recovery-token", "bool", "Make a token for the recovery mode."),
        Flag("status", "bool", "Show how far it is."),
    ),
)  # fmt: skip
