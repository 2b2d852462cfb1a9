"""Listener addresses as Go writes them: ``127.0.0.1:8200``, ``[::]:8200``, ``:8200``, ``vault.internal``."""

from __future__ import annotations

import re

DEFAULT_PORT = 8200
_FORM = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<host>[^\[\]:]*))(?::(?P<port>\d{1,5}))?")


def split_address(text: str) -> tuple[str, int]:
    """Host (``""`` = every address, IPv4 and IPv6) and port, 8200 if none is given. Raises ValueError."""
    if "{{" in text:
        raise ValueError("address templates are not supported: write the address itself")
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text[:64]!r} is no address: write HOST:PORT, and an IPv6 address as [ADDRESS]:PORT")
    port = int(form["port"] or DEFAULT_PORT)
    if port > 65535:
        raise ValueError(f"port {port} is out of range")
    return form["six"] or form["host"] or "", port


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
