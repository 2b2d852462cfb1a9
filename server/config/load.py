"""Reading ``-config`` files and directories, merging them as Vault does, and the environment on top."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...framework.wire import parse_bool
from .address import join_address, split_address
from .decode import Document, decode
from .errors import ConfigError
from .model import ListenerConfig, SealConfig, ServerConfig, StorageConfig, UserLockoutConfig, directives


def variable(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """``BAO_<name>``, else ``VAULT_<name>``, else ``""``."""
    return environ.get(f"BAO_{name}") or environ.get(f"VAULT_{name}") or ""


def load(paths: Iterable[str], environ: Mapping[str, str] = os.environ) -> ServerConfig:
    """The configuration in ``paths``, each a file or a directory of ``*.hcl`` and ``*.json`` files.

    Raises ConfigError with every problem found. See ``check`` for what it still needs.
    """
    paths = tuple(paths)
    checks = _environment_flag("ENABLE_FILE_PERMISSIONS_CHECK", environ)
    documents: list[Document] = []
    problems: list[str] = []
    for file in _files(paths, checks):
        try:
            documents.append(decode(_read(file, checks), str(file)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return _with_environment(_merged(documents, paths), environ)


def _files(paths: tuple[str, ...], checks: bool) -> Iterable[Path]:
    """Every file once, in the order given; a directory's in the order of their names."""
    seen: set[Path] = set()
    for path in map(Path, paths):
        files = [path]
        if path.is_dir():
            if checks:
                _check_permissions(path)
            files = sorted(each for each in path.iterdir() if each.suffix in (".hcl", ".json") and _visible(each))
            if not files:
                raise ConfigError(f"{path}: the directory holds no .hcl or .json file")
        for file in files:
            if (real := file.resolve()) not in seen:
                seen.add(real)
                yield file


def _visible(file: Path) -> bool:
    return file.is_file() and not file.name.startswith((".", "#"))  # editors' own files


def _read(file: Path, checks: bool) -> str:
    try:
        if checks:
            _check_permissions(file)
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; -config takes a file or a directory") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _check_permissions(path: Path) -> None:
    """VAULT_ENABLE_FILE_PERMISSIONS_CHECK: only root and this user may change the configuration."""
    info = path.stat()
    if info.st_uid not in (0, os.getuid()):
        raise ConfigError(f"{path}: belongs to user {info.st_uid}; let it belong to root or to the server's user")
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{path}: group or others may write to it; run: chmod go-w {path}")


def _merged(documents: list[Document], sources: tuple[str, ...]) -> ServerConfig:
    """Lists are joined, a later block replaces an earlier one, values merge by their kind."""
    kinds = {each.name: kind for each, kind in directives(ServerConfig).values()}
    values: dict[str, Any] = {}
    lockouts: dict[str, dict[str, Any]] = {}
    for document in documents:
        for name, value in document.values.items():
            values[name] = kinds[name].merge(values[name], value) if name in values else value
        for name in ("storage", "ha_storage", "telemetry"):
            if (block := getattr(document, name)) is not None:
                values[name] = block
        for method, given in document.user_lockouts:
            lockouts.setdefault(method, {}).update(given)
    config = ServerConfig(
        sources=sources,
        notices=tuple(notice for document in documents for notice in document.notices),
        listeners=tuple(each for document in documents for each in document.listeners),
        seals=tuple(each for document in documents for each in document.seals),
        audits=tuple(each for document in documents for each in document.audits),
        user_lockouts=MappingProxyType(
            {method: UserLockoutConfig(**lockouts.get("all", {}) | given) for method, given in lockouts.items()}
        ),
        **values,
    )
    config = replace(
        config, **_zero_is_default(config, ("default_lease_ttl", "max_lease_ttl", "default_max_request_duration"))
    )
    default_ttl = config.default_lease_ttl
    if not values.get("default_lease_ttl"):
        default_ttl = min(default_ttl, config.max_lease_ttl)
    listeners = tuple(_completed(each, config.default_max_request_duration) for each in config.listeners)
    return replace(config, listeners=listeners, default_lease_ttl=default_ttl)


def _zero_is_default(config: ServerConfig | ListenerConfig, names: Iterable[str]) -> dict[str, Any]:
    """As in Vault, a limit of 0 is one that was not given."""
    return {name: getattr(type(config)(), name) for name in names if getattr(config, name) == 0}


_LIMITS = tuple(
    name
    for name in directives(ListenerConfig)
    if name.startswith("max_") and name not in ("max_connections", "max_request_duration")
)


def _completed(listener: ListenerConfig, seconds: float) -> ListenerConfig:
    return replace(
        listener,
        address=listener.address or ("127.0.0.1:8200" if listener.type == "tcp" else ""),
        max_request_duration=listener.max_request_duration or seconds,
        **_zero_is_default(listener, _LIMITS),
    )


# These win over the files.
_VARIABLES = {
    "API_ADDR": "api_addr",
    "CLUSTER_ADDR": "cluster_addr",
    "LOG_LEVEL": "log_level",
    "LOG_FORMAT": "log_format",
    "LOG_REQUESTS_LEVEL": "log_requests_level",
    "UI": "ui",
}
_STORE_VARIABLES = {
    "postgresql": {"PG_CONNECTION_URL": "connection_url"},
    "raft": {
        "RAFT_NODE_ID": "node_id",
        "RAFT_PATH": "path",
        "RAFT_RETRY_JOIN_AS_NON_VOTER": "retry_join_as_non_voter",
    },
}


def _environment_flag(name: str, environ: Mapping[str, str]) -> bool:
    try:
        return parse_bool(variable(name, environ))
    except ValueError as error:
        raise ConfigError(f"environment variable {_given(name, environ)}: {error}") from None


def _given(name: str, environ: Mapping[str, str]) -> str:
    return f"BAO_{name}" if environ.get(f"BAO_{name}") else f"VAULT_{name}"


def _with_environment(config: ServerConfig, environ: Mapping[str, str]) -> ServerConfig:
    table = directives(ServerConfig)
    values: dict[str, Any] = {}
    for name, target in _VARIABLES.items():
        if text := variable(name, environ):
            try:
                values[target] = table[target][1].parse(text)
            except ValueError as error:
                raise ConfigError(f"environment variable {_given(name, environ)}: {error}") from None
    if not config.seals and (seal := variable("SEAL_TYPE", environ)) and seal != "shamir":
        values["seals"] = (SealConfig(type=seal, origin=_given("SEAL_TYPE", environ)),)
    for name in ("storage", "ha_storage"):
        store: StorageConfig | None = getattr(config, name)
        extra = {
            option: text
            for key, option in _STORE_VARIABLES.get(store.type if store else "", {}).items()
            if (text := variable(key, environ))
        }
        if store and extra:
            values[name] = replace(store, options=MappingProxyType({**store.options, **extra}))
    return replace(config, **values)


def parse_directive(name: str, raw: str | int) -> Any:
    """What ``name = raw`` means at the top of a file, for a command-line flag. Raises ValueError."""
    _, kind = directives(ServerConfig)[name]
    return kind.parse(raw)


def check(config: ServerConfig) -> ServerConfig:
    """``config``, complete and free of contradictions. Raises ConfigError with every problem found."""
    problems = []
    where = ", ".join(config.sources) or "configuration"
    if config.storage is None:
        problems.append(f'{where}: no storage: add a storage block, such as storage "sqlite" {{ path = "caveau.db" }}')
    if not config.listeners:
        problems.append(f'{where}: no listener: add a block such as listener "tcp" {{ address = "127.0.0.1:8200" }}')
    if config.default_lease_ttl > config.max_lease_ttl:
        problems.append(f"{where}: default_lease_ttl is larger than max_lease_ttl")
    active = [seal for seal in config.seals if not seal.disabled]
    if len(active) > 1:
        problems.append(f'{active[1].origin}: only one seal can be active: set disabled = "true" in the one to leave')
    if len(config.seals) > 1 and not active:
        problems.append(f"{config.seals[0].origin}: every seal is disabled: leave one active")
    problems += _audit_problems(config)
    for name in ("api_addr", "cluster_addr"):
        if "{{" in getattr(config, name):
            problems.append(f"{where}: {name}: address templates are not supported: write the address itself")
    for listener in config.listeners:
        problems += [f"{listener.origin}: {text}" for text in _listener_problems(listener)]
    if problems:
        raise ConfigError(*problems)
    return config


def _audit_problems(config: ServerConfig) -> Iterable[str]:
    seen: dict[str, str] = {}
    for audit in config.audits:
        path = audit.path.strip("/")
        if not path:
            yield f"{audit.origin}: the path of an audit device is empty"
        elif path in seen:
            yield f"{audit.origin}: an audit device at {path} is declared already, at {seen[path]}"
        seen[path] = audit.origin


def _listener_problems(listener: ListenerConfig) -> Iterable[str]:
    if listener.type == "unix":
        if not listener.address:
            yield "a unix listener needs an address, the path of its socket"
        return
    for name in ("address", "cluster_address"):
        try:
            split_address(getattr(listener, name))
        except ValueError as error:
            yield f"{name}: {error}"
    if listener.x_forwarded_for_client_cert_header and not listener.x_forwarded_for_authorized_addrs:
        yield "x_forwarded_for_client_cert_header needs x_forwarded_for_authorized_addrs: who may send it?"
    if listener.tls_disable:
        return
    missing = [name for name in ("tls_cert_file", "tls_key_file") if not getattr(listener, name)]
    if missing:
        yield f"{' and '.join(missing)} must be set, or tls_disable = true to speak plain HTTP"
    if listener.tls_disable_client_certs and listener.tls_require_and_verify_client_cert:
        yield "tls_disable_client_certs and tls_require_and_verify_client_cert contradict each other"
    if listener.tls_min_version > listener.tls_max_version:
        yield f"tls_min_version {listener.tls_min_version} is above tls_max_version {listener.tls_max_version}"


def cluster_address(listener: ListenerConfig) -> str:
    """Where the listener's node takes connections of other nodes: by default one port higher."""
    if listener.cluster_address:
        return listener.cluster_address
    host, port = split_address(listener.address)
    return join_address(host, port + 1)
