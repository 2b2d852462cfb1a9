"""``read``, ``write``, ``patch``, ``delete``, ``list``, ``scan`` and ``unwrap``: any path, no questions."""

from __future__ import annotations

import sys
from typing import Any

from .. import global_flags, pairs, second_factor, values
from ..client import APIError
from ..command import ONE, Arity, Command
from ..envelope import Secret
from ..flags import Flag
from ..invocation import CommandError, Invocation

AFTER = Flag("after", "string", "Start after this key; the key itself need not exist.")
LIMIT = Flag("limit", "int", "List at most this many keys. The default is all.")
FORCE = Flag("force", "bool", "Go ahead with no key=value pairs. Short: -f.", aliases=("f",))


def path_argument(text: str) -> str:
    return text.strip().strip("/")


def data_argument(arguments: list[str]) -> dict[str, Any]:
    try:
        return pairs.parse(arguments)
    except pairs.PairError as e:
        raise CommandError(f"Failed to parse K=V data: {e}", 1) from e


def query_argument(arguments: list[str], what: str = "K=V data") -> dict[str, list[str]]:
    try:
        return pairs.strings(arguments)
    except pairs.PairError as e:
        raise CommandError(f"Failed to parse {what}: {e}", 1) from e


def read(run: Invocation) -> int:
    path = path_argument(run.args[0])
    query = query_argument(run.args[1:])
    if run.format == "raw":
        with run.failing(f"Error reading: {path}"):
            body = run.client.request("GET", path, query=query).body
        sys.stdout.write(body.decode(errors="replace") + "\n")
        return 0
    with run.failing(f"Error reading {path}"):
        secret = run.client.read(path, query)
    if secret is None:
        raise CommandError(f"No value found at {path}")
    return run.secret(secret, run.flags.text("field"))


def write(run: Invocation) -> int:
    return _write(run, "PUT")


def patch(run: Invocation) -> int:
    return _write(run, "PATCH")


def _write(run: Invocation, method: str) -> int:
    path, arguments = path_argument(run.args[0]), run.args[1:]
    if not arguments and not run.flags.on("force"):
        raise CommandError("Must supply data or use -force", 1)
    data = data_argument(arguments)
    with run.failing(f"Error writing data to {path}"):
        secret = run.client.write(path, data) if method == "PUT" else run.client.patch(path, data)
        if secret is not None and second_factor.is_wanted(secret):
            secret = second_factor.validate(run, secret) or secret
    if secret is None:
        return run.success(f"Data written to: {path}")
    return run.secret(secret, run.flags.text("field"))


def delete(run: Invocation) -> int:
    path = path_argument(run.args[0])
    query = query_argument(run.args[1:], "string list data")
    with run.failing(f"Error deleting {path}"):
        secret = run.client.delete(path, query)
    if secret is None:
        return run.success(f"Data deleted (if it existed) at: {path}")
    return run.secret(secret, run.flags.text("field"))


def list_(run: Invocation) -> int:
    return listing(run, path_argument(run.args[0]), scan=False)


def scan(run: Invocation) -> int:
    return listing(run, path_argument(run.args[0]), scan=True)


def listing(run: Invocation, path: str, scan: bool) -> int:
    """List the keys under ``path``; with ``-detailed`` a column for each thing known about them."""
    query = {name: run.flags.text(name) or run.flags.number(name) for name in ("after", "limit")
             if run.flags.given(name)}  # fmt: skip
    if query:
        query = {"after": query.get("after", ""), "limit": query.get("limit", -1)}
    with run.failing(f"Error {'scanning' if scan else 'listing'} {path}"):
        secret = run.client.list(path, query, scan)
    return keys(run, secret, path)


def keys(run: Invocation, secret: Secret | None, path: str) -> int:
    """Print what a LIST answered."""
    data = (secret or {}).get("data") or {}
    if secret and secret.get("wrap_info"):
        return run.secret(secret)
    if run.format in ("json", "yaml") and run.flags.on("detailed") and secret:
        return run.secret(secret)
    found = data.get("keys")
    if not found:
        if not run.table:
            run.data({})
            return 2
        run.warnings(secret)
        raise CommandError(f"No value found at {path}")
    if not run.table:
        return run.data(found)
    run.warnings(secret)
    details = data.get("key_info") if run.flags.on("detailed") else None
    if not details:
        return run.say("\n".join(["Keys", "----", *found]))
    names = sorted({name for info in details.values() for name in info})
    body = [[key, *(values.text(details.get(key, {}).get(name)) for name in names)] for key in found]
    return run.rows(body, ["Keys", *names])


def unwrap(run: Invocation) -> int:
    client = run.client
    token = run.args[0].strip() if run.args else ""
    body: dict[str, str] | None = {"token": token} if token else None
    if token and not client.settings.token:
        client, body = client.with_(token=token), None
    with run.failing("Error unwrapping"):
        try:
            secret = client.write("sys/wrapping/unwrap", body)
        except APIError as e:
            if e.status != 404:
                raise
            secret = e.secret
    if secret is None:
        raise CommandError("Could not find wrapped response")
    return run.secret(secret, run.flags.text("field"))


READ = Command(
    "read", read,
    "Reads a path: a secret, fresh credentials, configuration. K=V pairs become query parameters.\n\n"
    "    $ caveau read database/creds/readonly",
    usage="[options] PATH [K=V...]", arity=Arity(1, None), formats=True, field=True, raw=True,
)  # fmt: skip

WRITE = Command(
    "write", write,
    "Writes data to a path. A value that starts with @ is read from that file, - is standard input;\n"
    "@file or - alone is a JSON object.\n\n"
    "    $ caveau write auth/userpass/users/ann password=-\n"
    "    $ caveau write -f transit/keys/orders",
    usage="[options] PATH [DATA K=V...]", arity=Arity(1, None), flags=(FORCE,), formats=True, field=True,
)  # fmt: skip

PATCH = Command(
    "patch", patch,
    "Changes parts of the data at a path (JSON merge patch, RFC 7396). Data is given as for write.\n\n"
    "    $ caveau patch pki/roles/web ttl=24h",
    usage="[options] PATH [DATA K=V...]", arity=Arity(1, None), flags=(FORCE,), formats=True, field=True,
)  # fmt: skip

DELETE = Command(
    "delete", delete,
    "Deletes what is at a path. It is no error where nothing is there.\n\n"
    "    $ caveau delete auth/userpass/users/ann",
    usage="[options] PATH", arity=Arity(1, None, "at least 1"), formats=True, field=True,
)  # fmt: skip

LIST = Command(
    "list", list_,
    "Lists the keys under a path; a key that ends with / holds more.\n\n    $ caveau list auth/userpass/users",
    usage="[options] PATH", arity=ONE, flags=(global_flags.DETAILED, AFTER, LIMIT), formats=True,
)  # fmt: skip

SCAN = Command(
    "scan", scan,
    "Lists the keys under a path and under everything below it.\n\n    $ caveau scan secret/metadata",
    usage="[options] PATH", arity=ONE, flags=(global_flags.DETAILED, AFTER, LIMIT), formats=True,
)  # fmt: skip

UNWRAP = Command(
    "unwrap", unwrap,
    "Shows what a wrapping token holds, once. Without TOKEN, the token in use is the wrapping token.\n\n"
    "    $ caveau unwrap hvs.CAESIJ...",
    usage="[options] [TOKEN]", arity=Arity(0, 1), formats=True, field=True,
)  # fmt: skip
