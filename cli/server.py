"""``caveau server``: from flags, environment and files to a running server."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command import Command
from .flags import Flag, Flags
from .invocation import CommandError, Invocation

if TYPE_CHECKING:
    from ..server.config import ServerConfig

_DEV_ADDRESS = "127.0.0.1:8200"

# Flags that set a directive of the configuration.
_LOG_FLAGS = {
    "log-level": "log_level",
    "log-format": "log_format",
    "log-file": "log_file",
    "log-rotate-bytes": "log_rotate_bytes",
    "log-rotate-duration": "log_rotate_duration",
    "log-rotate-max-files": "log_rotate_max_files",
}

# Vault's and OpenBao's flags that make no sense here, with what to do instead.
_REFUSED = {
    "recovery": ("bool", "there is no recovery mode: restore a snapshot of the store instead"),
    "dev-ha": ("bool", "a dev server is one server: configure storage \"raft\" for a cluster"),
    "dev-three-node": ("bool", "a dev server is one server: configure storage \"raft\" for a cluster"),
    "dev-four-cluster": ("bool", "a dev server is one server: configure storage \"raft\" for a cluster"),
    "dev-consul": ("bool", "Consul is not one of the stores"),
    "dev-auto-seal": ("bool", "add a seal block with -config instead"),
    "dev-leased-kv": ("bool", "KV gives no leases"),
    "dev-kv-v1": ("bool", "run: caveau secrets enable -version=1 -path=NAME kv"),
    "dev-latency": ("string", "answers are not slowed down"),
    "dev-latency-jitter": ("string", "answers are not slowed down"),
    "dev-plugin-dir": ("string", "plug-ins are Python packages: install them"),
    "dev-plugin-init": ("bool", "plug-ins are Python packages: install them"),
}  # fmt: skip

_FLAGS = (
    Flag("config", "strings", "A configuration file, or a directory of *.hcl and *.json files. May be repeated."),
    Flag("exit-on-core-shutdown", "bool", "Accepted, as for Vault: the process always ends with its core."),
    Flag("log-level", "string", "trace, debug, info, warn or error.", env="LOG_LEVEL"),
    Flag("log-format", "string", "standard or json.", env="LOG_FORMAT"),
    Flag("log-file", "string", "A file, or a directory ending in /, that gets the log as well as standard error."),
    Flag("log-rotate-bytes", "int", "Begin a new log file after this many bytes. The default is no limit."),
    Flag("log-rotate-duration", "string", "Begin a new log file after this time. The default is 24h."),
    Flag("log-rotate-max-files", "int", "How many old log files to keep; 0 keeps all, -1 none."),
    Flag("dev", "bool", "Run a server for development: in memory, unsealed, with a root token."),
    Flag("dev-root-token-id", "string", "The root token of a dev server.", env="DEV_ROOT_TOKEN_ID"),
    Flag("dev-listen-address", "string", f"Where a dev server listens. The default is {_DEV_ADDRESS}.",
         env="DEV_LISTEN_ADDRESS"),
    Flag("dev-no-store-token", "bool", "Do not keep the root token for later commands."),
    Flag("dev-tls", "bool", "Run a dev server with TLS, under a CA made for it."),
    Flag("dev-tls-cert-dir", "string", "Where to write vault-ca.pem, vault-cert.pem and vault-key.pem. "
         "The default is a temporary directory."),
    Flag("dev-tls-san", "strings", "A further name or address for the certificate. May be repeated."),
    Flag("dev-persist", "string", "Run a dev server that keeps its data, root token and unseal key in this directory.",
         placeholder="directory"),
    Flag("dev-cluster-json", "string", "Write the server's address, CA and root token to this file."),
    Flag("dev-skip-init", "bool", "Leave the dev server uninitialised."),
    Flag("dev-transactional", "bool", "Accepted: every store is transactional."),
    *(Flag(name, type_, f"Not offered: {reason}.") for name, (type_, reason) in _REFUSED.items()),
)  # fmt: skip


def server(run: Invocation) -> int:
    from ..server.config import ConfigError, check, load, variable

    flags = run.flags
    for name, (_, reason) in _REFUSED.items():
        if flags.given(name):
            raise CommandError(f"-{name}: {reason}", 1)
    dev = flags.on("dev") or flags.on("dev-tls") or bool(flags.text("dev-persist"))
    if not dev and (stray := [flag.name for flag in _FLAGS if flag.name.startswith("dev-") and flags.given(flag.name)]):
        raise CommandError(f"-{stray[0]} needs -dev", 1)
    paths = flags.texts("config")
    if not paths and not dev and (path := variable("CONFIG_PATH")):
        paths = [path]
    if not paths and not dev:
        raise CommandError("Must specify at least one config path using -config, or -dev for a dev server", 1)
    try:
        config = _with_log_flags(load(paths), flags)
        if dev:
            return _dev(config, flags)
        from ..server.process import run as serve

        return serve(check(config))
    except ConfigError as error:
        raise CommandError(str(error), 1) from None


def _with_log_flags(config: ServerConfig, flags: Flags) -> ServerConfig:
    from ..server.config import ConfigError, parse_directive

    values: dict[str, Any] = {}
    for name, directive in _LOG_FLAGS.items():
        if flags.given(name):
            try:
                values[directive] = parse_directive(directive, flags.text(name) or flags.number(name))
            except ValueError as error:
                raise ConfigError(f"-{name}: {error}") from None
    return replace(config, **values)


def _dev(config: ServerConfig, flags: Flags) -> int:
    from ..server.config import check
    from ..server.dev import CA_FILE, DevOptions, dev_config, write_certificates
    from ..server.process import run as serve

    address = flags.text("dev-listen-address") or _DEV_ADDRESS
    persist = Path(flags.text("dev-persist")) if flags.text("dev-persist") else None
    with _certificate_folder(flags) as tls:
        config = check(dev_config(config, address, persist=persist, tls=tls))
        if persist:
            _make_private(persist)
        if tls:
            write_certificates(tls, address, tuple(flags.texts("dev-tls-san")))
        options = DevOptions(
            root_token_id=flags.text("dev-root-token-id"),
            store_token=None if flags.on("dev-no-store-token") else _store_token,
            persist=persist,
            ca_file=tls / CA_FILE if tls else None,
            cluster_json=Path(flags.text("dev-cluster-json")) if flags.text("dev-cluster-json") else None,
            initialize=not flags.on("dev-skip-init"),
        )
        return serve(config, dev=options)


@contextlib.contextmanager
def _certificate_folder(flags: Flags) -> Iterator[Path | None]:
    """The folder of a dev server's certificates: as told, or one that goes when the server ends."""
    if not flags.on("dev-tls"):
        yield None
    elif folder := flags.text("dev-tls-cert-dir"):
        yield Path(folder)
    else:
        made = tempfile.mkdtemp(prefix="caveau-tls-")
        try:
            yield Path(made)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _make_private(folder: Path) -> None:
    from ..server.config import ConfigError

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}") from None


def _store_token(token: str) -> None:
    from . import terminal, token_store

    try:
        token_store.store(token)
    except token_store.TokenStoreError as error:
        terminal.warn(f"The root token is not kept for later commands: {error}")


COMMAND = Command(
    "server", server,
    "Runs a server, sealed until it is told its unseal keys or has a seal that opens by itself.\n\n"
    "    $ caveau server -config=/etc/caveau/server.hcl\n\n"
    "For development, a server that is ready at once and forgets everything:\n\n"
    "    $ caveau server -dev -dev-root-token-id=root",
    summary="Run a server", flags=_FLAGS, http=False,
)  # fmt: skip
