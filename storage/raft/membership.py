"""Which changes of the members are right. Pure: from the members that are, to those that shall be.

One change at a time, and of one node: then every majority before shares a node with every majority after (section
4.1 of the Raft dissertation). A node comes as a non-voter, so that the cluster waits for nobody who is not there yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .engine import Configuration, MembershipRefused, Server

Change = Callable[[Configuration], tuple[Server, ...]]


def adding(server: Server) -> Change:
    """As a non-voter; of a member, only the address changes."""
    if not server.id or not server.address:
        raise MembershipRefused("a node needs an id and an address")

    def change(members: Configuration) -> tuple[Server, ...]:
        for other in members.servers:
            if other.id != server.id and other.address == server.address:
                raise MembershipRefused(f"{server.address} is the address of node {other.id}")
        known = members.find(server.id)
        if known is None:
            return (*members.servers, replace(server, voter=False))
        return _with(members, replace(known, address=server.address))

    return change


def promoting(node: str, caught_up: Callable[[str], bool]) -> Change:
    def change(members: Configuration) -> tuple[Server, ...]:
        server = _known(members, node)
        if server.voter:
            raise MembershipRefused(f"node {node} is a voter")
        if not caught_up(node):
            raise MembershipRefused(f"node {node} does not have the whole log yet: try again later")
        return _with(members, replace(server, voter=True))

    return change


def demoting(node: str, leader: str) -> Change:
    def change(members: Configuration) -> tuple[Server, ...]:
        server = _known(members, node)
        if not server.voter:
            raise MembershipRefused(f"node {node} is not a voter")
        _not_the_leader(node, leader)
        return _with(members, replace(server, voter=False))

    return change


def removing(node: str, leader: str) -> Change:
    def change(members: Configuration) -> tuple[Server, ...]:
        _known(members, node)
        _not_the_leader(node, leader)
        return tuple(server for server in members.servers if server.id != node)

    return change


def _known(members: Configuration, node: str) -> Server:
    server = members.find(node)
    if server is None:
        raise MembershipRefused(f"node {node} is not a member of the cluster")
    return server


def _not_the_leader(node: str, leader: str) -> None:
    if node == leader:
        raise MembershipRefused(f"node {node} leads: let another node lead first")


def _with(members: Configuration, changed: Server) -> tuple[Server, ...]:
    return tuple(changed if server.id == changed.id else server for server in members.servers)
