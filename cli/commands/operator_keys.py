"""What the key-share commands have in common: PGP keys, shares from a person, the endpoints of a rekey."""

from __future__ import annotations

import base64
import sys

from ..invocation import CommandError, Invocation


def pgp_keys(text: str) -> list[str]:
    """The public keys of a comma-separated list of files, in base64 as the API wants them."""
    return [_pgp_key(path) for path in map(str.strip, text.split(",")) if path]


def _pgp_key(path: str) -> str:
    if path.startswith("keybase:"):
        raise CommandError(f"{path}: Keybase is not asked for keys; save the public key to a file and name the file", 1)
    path = path.removeprefix("@")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as e:
        raise CommandError(f"error reading PGP key: open {path}: {(e.strerror or str(e)).lower()}", 1) from e
    if content.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        return _unarmored(content.decode("ascii", errors="replace"), path)
    try:
        base64.b64decode(content.strip(), validate=True)
        return content.strip().decode("ascii")
    except ValueError:
        return base64.b64encode(content).decode("ascii")


def _unarmored(armored: str, path: str) -> str:
    """The base64 body of ASCII armor (RFC 9580 section 6.2), without its headers and checksum."""
    lines = [line.strip() for line in armored.strip().splitlines()]
    body = lines[lines.index("") + 1 :] if "" in lines else lines[1:]
    joined = "".join(line for line in body if line and not line.startswith(("-----", "=")))
    try:
        base64.b64decode(joined, validate=True)
    except ValueError as e:
        raise CommandError(f"error reading PGP key: {path} is damaged: {e}", 1) from e
    return joined


def share_argument(run: Invocation, nonce_line: str, nonce: str, what: str = "Unseal Key") -> tuple[str, str]:
    """A key share and the nonce that goes with it.

    A share on the command line or standard input needs ``-nonce``, so that it cannot count towards
    an operation that somebody else has started; a person at the terminal is shown the nonce.
    """
    given = run.flags.text("nonce").strip()
    if run.args:
        if not given:
            raise CommandError("Missing nonce value: specify it via the -nonce flag", 1)
        share = sys.stdin.read().strip() if run.args[0] == "-" else run.args[0].strip()
        return share, given
    print(nonce_line, flush=True)
    share = run.prompt(
        f"{what} (will be hidden): ",
        lambda reason: (
            "An error occurred attempting to ask for the unseal key. Run the command from a terminal, or "
            f'pass "-" as the argument to read the key from standard input. The raw error was: {reason}'
        ),
    )
    return share, given or nonce
