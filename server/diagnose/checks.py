"""The checks, in the order in which a server that starts would meet what they look at."""

from __future__ import annotations

import asyncio
import platform
import resource
import shutil
import ssl
from collections.abc import Collection
from pathlib import Path

from ...framework.errors import CaveauError
from ..config import ConfigError, ServerConfig, check, load, without_effect
from ..listeners import Listener
from ..process import make_seal
from ..telemetry.tracing import tracing
from . import certificates, storage
from .report import ERROR, OK, SKIPPED, WARNING, Check

_FILES = 1024  # open files that a small server needs, connections included
_FREE_SHARE, _FREE_BYTES = 0.05, 1 << 30
_SEAL_TEST = b"\x00" * 32


def run(paths: Collection[str], skip: Collection[str] = (), *, thorough: bool = False) -> Check:
    """Every check on the configuration in ``paths``.

    ``skip``: of ``listener``, ``storage``, ``autounseal``. ``thorough``: tell what matters to nobody mostly, too.
    """
    root = Check("Vault Diagnose")
    _system(root.add("Check Operating System"))
    config = _configuration(root.add("Parse Configuration"), paths, thorough)
    if config is None:
        return root
    _telemetry(root.add("Check Telemetry"), config)
    if "storage" in skip:
        root.add("Check Storage", SKIPPED, "as told by -skip")
    else:
        storage.check(root.add("Check Storage"), config)
    _seal(root, config, skip)
    _redirect_address(root, config)
    if "listener" in skip:
        root.add("Start Listeners", SKIPPED, "as told by -skip")
    else:
        _listeners(root.add("Start Listeners"), config)
    return root


def _system(found: Check) -> None:
    found.add(
        "Check Versions",
        message=f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}.",
    )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FILES:
        advice = "Raise it: LimitNOFILE of the systemd unit, or nofile in limits.conf."
        found.add("Check Open File Limits", WARNING, f"Open file limits are set to {most}.", advice)
    else:
        shown = "unlimited" if most == resource.RLIM_INFINITY else most
        found.add("Check Open File Limits", message=f"Open file limits are set to {shown}.")
    disk_usage(found, "Check Disk Usage", Path("/"))


def disk_usage(found: Check, name: str, place: Path) -> None:
    usage = shutil.disk_usage(place)
    if usage.free < _FREE_BYTES or usage.free < usage.total * _FREE_SHARE:
        advice = "A server whose disk is full refuses every write. Make room."
        message = f"{place} has {usage.free >> 20} MB left, {usage.free / usage.total:.0%} of the disk."
        found.add(name, WARNING, message, advice)
    else:
        found.add(name, message=f"{place} usage ok.")


def _configuration(found: Check, paths: Collection[str], thorough: bool) -> ServerConfig | None:
    try:
        config = check(load(paths))
    except ConfigError as error:
        found.status = ERROR
        for problem in error.problems:
            found.add("Check Configuration Syntax", ERROR, problem)
        return None
    for level, text in (*config.notices, *without_effect(config)):
        if level in ("warn", "error"):
            found.add("Check Directive", WARNING, text)
        elif thorough:
            found.add("Check Directive", message=text)
    return config


def _telemetry(found: Check, config: ServerConfig) -> None:
    if not config.telemetry.prometheus_retention_time:
        found.status, found.message = WARNING, "prometheus_retention_time is 0: metrics are served as JSON only."
        found.advice = "Leave it out, unless nobody runs Prometheus here."
    else:
        found.message = "Metrics are served at sys/metrics, as JSON and for Prometheus."
    if config.telemetry.otlp_endpoint:
        try:
            traces = tracing(config)
        except ConfigError as error:
            found.add("Check Traces", ERROR, str(error))
        else:
            assert traces is not None
            traces.close()
            found.add("Check Traces", message=f"Traces are sent to {config.telemetry.otlp_endpoint}.")


def _seal(root: Check, config: ServerConfig, skip: Collection[str]) -> None:
    try:
        seal = make_seal(config)
    except (ConfigError, CaveauError) as error:
        root.add("Create Vault Server Configuration Seals", ERROR, str(error))
        return
    root.add("Create Vault Server Configuration Seals", message=f"The seal is {seal.type}.")
    if "autounseal" in skip:
        root.add("Check Autounseal Encryption", SKIPPED, "as told by -skip")
    elif seal.type == "shamir":
        root.add("Check Autounseal Encryption", SKIPPED, "A server with Shamir's seal is unsealed by people.")
    else:

        async def try_it() -> bool:
            try:
                return await seal.unwrap(await seal.wrap(_SEAL_TEST)) == _SEAL_TEST
            finally:
                await seal.close()

        try:
            same = asyncio.run(try_it())
        except CaveauError as error:
            root.add("Check Autounseal Encryption", ERROR, str(error))
        else:
            status, message = (OK, "") if same else (ERROR, "The seal does not give back what it was given.")
            root.add("Check Autounseal Encryption", status, message)


def _redirect_address(root: Check, config: ServerConfig) -> None:
    if config.api_addr:
        root.add("Determine Redirect Address", message=f"Clients are sent to {config.api_addr}.")
    else:
        message = "api_addr is not set: the server takes the address of its first listener."
        root.add("Determine Redirect Address", WARNING, message, "Set api_addr to the URL that clients use.")


def _listeners(found: Check, config: ServerConfig) -> None:
    for listener in config.listeners:
        where = f"{listener.type} {listener.address}"
        if listener.type == "tcp":
            tls = found.add("Check Listener TLS")
            if listener.tls_disable:
                tls.status, tls.message = WARNING, f"Listener at address {listener.address}: TLS is disabled."
                tls.advice = "Set tls_cert_file and tls_key_file, unless something in front of it speaks TLS."
            else:
                certificates.check(tls, listener)
                if tls.worst == ERROR:
                    continue  # it cannot be tried
        taken = Listener(listener)
        try:
            taken.bind()
        except ConfigError as error:
            advice = "Is the server running? Then use -skip=listener." if "another program" in str(error) else ""
            found.add("Create Listeners", ERROR, str(error), advice)
        else:
            found.add("Create Listeners", message=f"{where} is free.")
        finally:
            taken.close()
