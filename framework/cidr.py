"""Blocks of addresses (CIDR, RFC 4632) that logins and tokens are bound to."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from .errors import InvalidRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4096)
def network(text: str) -> Network:
    """A CIDR block, or a lone address as a block of one; raises ValueError."""
    return ipaddress.ip_network(text, strict=False)


def address_in(address: str, cidrs: Sequence[str]) -> bool:
    """Whether ``address`` lies in any of the blocks; an unreadable address lies in none."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip in network(cidr) for cidr in cidrs)


def check_cidrs(cidrs: Sequence[str]) -> tuple[str, ...]:
    """The blocks as they are to be stored; raises InvalidRequest for one that is none."""
    for cidr in cidrs:
        try:
            network(cidr)
        except ValueError:
            raise InvalidRequest(
                f'error parsing address "{cidr[:64]}": it is neither an IPv4 or IPv6 address nor a CIDR block'
            ) from None
    return tuple(cidrs)


def shown_cidrs(cidrs: Sequence[str]) -> list[str]:
    """As Go prints them: a block of one address is that address."""
    blocks = {cidr: network(cidr) for cidr in cidrs}
    return [
        cidr.partition("/")[0] if block.prefixlen == block.max_prefixlen else cidr for cidr, block in blocks.items()
    ]
