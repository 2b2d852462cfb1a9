"""New nodes, as the leader sees them: who shows that it has the seal's key, or a join token, becomes a member.

A challenge is answered once and within minutes; so is a join token, within the time that it was made for. What is
answered with is a certificate for the key that the node made itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ...framework.errors import InvalidRequest
from ...storage.raft.engine import NotLeader, Server
from ...storage.seals.shamir import ShamirSeal
from ..config import split_address
from ..seal.unseal import SHAMIR_KEY
from . import proof
from .settings import NODE

if TYPE_CHECKING:
    from ..seal import SealCore
    from .cluster import Cluster

TOKENS = "core/raft/join-token/"
NODES = "core/raft/node/"
"""What the cluster knows of members beside their address: JSON, by id."""
_CHALLENGE_SECONDS = 600.0
_CHALLENGES = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node sends to become a member. ``public_key``: of its certificate, DER (RFC 5280 section 4.1), base64;
    ``token``: the name of a join token, if it has one."""

    server_id: str
    cluster_addr: str
    non_voter: bool
    public_key: str
    answer: str
    token: str = ""

    @property
    def claims(self) -> tuple[str | bool, ...]:
        return self.server_id, self.cluster_addr, self.non_voter, self.public_key


class Admission:
    def __init__(self, cluster: Cluster, seal: SealCore) -> None:
        self._cluster, self._seal = cluster, seal
        self._challenges: dict[str, tuple[float, bytes]] = {}  # by node: when it ends

    async def challenge(self, node: str) -> dict[str, Any]:
        """A challenge for a node, and what it needs to know to ask people for the keys."""
        self._lead()
        if not NODE.fullmatch(node):
            raise InvalidRequest("server_id must be provided: up to 64 letters, digits, dots, dashes and underscores")
        now = self._cluster.clock.time()
        for old in [each for each, (ends, _) in self._challenges.items() if ends <= now]:
            del self._challenges[old]
        if len(self._challenges) >= _CHALLENGES and node not in self._challenges:
            raise InvalidRequest("too many nodes have asked to join and not answered: try again in some minutes")
        secret = os.urandom(proof.SECRET)
        wrapped = await (await self._wrapping()).wrap(secret)
        self._challenges[node] = now + _CHALLENGE_SECONDS, secret
        config = await self._seal.required_config()
        return {
            "challenge": proof.encode(wrapped),
            "seal_config": {
                "type": self._seal.mechanism.type,
                "secret_shares": config.shares,
                "secret_threshold": config.threshold,
                "pgp_keys": None,
                "nonce": "",
                "backup": False,
            },
        }

    async def make_token(self, seconds: float) -> str:
        """A token with which one node may join, within so many seconds."""
        self._lead()
        name, secret = os.urandom(proof.TOKEN_ID), os.urandom(proof.SECRET)
        ends = self._cluster.clock.time() + seconds
        stored = orjson.dumps({"secret": proof.encode(secret), "ends": ends})
        await self._cluster.write({TOKENS + name.hex(): stored})
        return proof.make_token(name, secret)

    async def admit(self, answer: Answer) -> dict[str, Any]:
        """Make a node a member, and issue its certificate. Raises InvalidRequest."""
        self._lead()
        cluster = self._cluster
        secret, changes = await self._secret(answer)
        proof.check(answer.answer, secret, "node", *answer.claims)
        key = _public_key(answer.public_key)
        address = _address(answer.cluster_addr)
        known = cluster.engine.status.configuration.find(answer.server_id)
        if known is not None and known.voter:
            raise InvalidRequest(
                f"node {answer.server_id} is a voter of this cluster, and has promised things that a new node does not"
                " know of: remove it first, or take another node_id"
            )
        changes[NODES + answer.server_id] = orjson.dumps({"non_voter": answer.non_voter})
        await cluster.write(changes)
        await cluster.engine.add(Server(answer.server_id, address, voter=False))
        certificate, authority = await cluster.issue(answer.server_id, key)
        told = certificate.decode(), authority.decode()
        return {
            "certificate": told[0],
            "authority": told[1],
            "proof": proof.prove(secret, "cluster", answer.server_id, *told),
        }

    async def _secret(self, answer: Answer) -> tuple[bytes, dict[str, bytes | None]]:
        """What the answer has to show, and what is to be stored so that it cannot be used again."""
        now = self._cluster.clock.time()
        if not answer.token:
            ends, secret = self._challenges.pop(answer.server_id, (0.0, b""))
            if ends <= now:
                raise InvalidRequest(f"no expected answer for the server id provided: {answer.server_id[:64]}")
            return secret, {}
        key = TOKENS + answer.token
        raw = await self._cluster.read(key) if re.fullmatch("[0-9a-f]{18}", answer.token) else None
        stored: Mapping[str, Any] = {"ends": 0.0} if raw is None else orjson.loads(raw)
        if stored["ends"] <= now:
            raise InvalidRequest("the join token is unknown, used, or too old: make a new one")
        return proof.decode(stored["secret"], "the join token"), {key: None}

    async def _wrapping(self) -> Any:
        """The seal whose key a new node must have."""
        if not self._seal.by_shares:
            return self._seal.mechanism
        key = await self._cluster.read(SHAMIR_KEY)
        assert key is not None
        return ShamirSeal(key)

    def _lead(self) -> None:
        if not self._cluster.engine.leading:
            raise NotLeader(self._cluster.engine.leader)


def _public_key(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(proof.decode(text, "public_key"))
    except ValueError:
        raise InvalidRequest("public_key is no key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidRequest("public_key is not of the curve P-256")
    return key


def _address(text: str) -> str:
    try:
        host, _ = split_address(text)
    except ValueError as error:
        raise InvalidRequest(f"cluster_addr: {error}") from None
    if not host:
        raise InvalidRequest("cluster_addr: an address at which other nodes reach this one")
    return text
