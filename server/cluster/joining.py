"""How a new node finds a cluster and becomes a member of it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.hazmat.primitives import serialization

from ...framework.errors import CaveauError, InvalidRequest, StoreError
from ...storage.barrier import KEYRING
from ...storage.seals import WrongSealKey
from ...storage.seals.shamir import ShamirSeal
from ..config import join_address
from ..seal.shares import ShareConfig
from ..seal.unseal import WrongShares
from . import proof
from .admission import Answer
from .identity import Credentials, new_key
from .settings import JoinTarget

if TYPE_CHECKING:
    from ..seal import SealCore
    from .cluster import Cluster

    Opening = Callable[[SealCore], Awaitable[object]]

_log = logging.getLogger(__name__)

_AGAIN = 2.0  # seconds between attempts
_REQUEST_SECONDS = 15.0
_LONGEST = 64 << 10  # bytes of an answer


class Invitation:
    """A cluster's challenge, until people give the key shares that open it."""

    def __init__(self, joining: Joining, where: Leader, challenge: bytes, config: ShareConfig, non_voter: bool) -> None:
        self.config = config
        self._joining, self._where, self._challenge, self._non_voter = joining, where, challenge, non_voter

    async def accept(self, secret: bytes) -> None:
        """Become a member, with what the shares gave; the server opens when the state is here. Raises WrongShares."""
        try:
            opened = await ShamirSeal(secret).unwrap(self._challenge)
        except (WrongSealKey, InvalidRequest) as error:
            raise WrongShares(f"unable to retrieve stored keys: {error}") from None
        await self._joining.answer(self._where, opened, self._non_voter)
        self._joining.then(lambda seal: seal.open_with(secret))


class Joining:
    """Of this node, which is a member of no cluster."""

    def __init__(self, cluster: Cluster, seal: SealCore) -> None:
        self._cluster, self._seal = cluster, seal
        self._tasks: set[asyncio.Task[None]] = set()
        self.admitted = False  # the cluster counts this node in, and will tell it so

    @property
    def member(self) -> bool:
        """Whether there is nothing to join any more."""
        return self.admitted or bool(self._cluster.engine.status.configuration.servers)

    def begin(self, *targets: JoinTarget, non_voter: bool) -> None:
        """Try the targets in turn, until one takes this node or it is initialised."""
        self._spawn(self._keep_trying(targets, non_voter))

    async def join(self, target: JoinTarget, *, non_voter: bool) -> None:
        """Join a cluster, or be ready to when key shares are given. Raises CaveauError that tells why not."""
        if self.member or self._seal.invitation is not None:
            return
        problem: CaveauError = StoreError(f"{target.auto_join}: no address is known for this name")
        for where in await _leaders(target):
            try:
                await self._join(where, target, non_voter)
                return
            except CaveauError as error:
                problem = error
        raise problem

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def answer(self, where: Leader, secret: bytes, non_voter: bool, token: str = "") -> None:
        """Show that ``secret`` is known, and use the certificate that this gives. Raises CaveauError."""
        cluster = self._cluster
        key = new_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = proof.encode(key.public_key().public_bytes(serialization.Encoding.DER, form))
        unproven = Answer(cluster.node, cluster.address, non_voter, public, "", token)
        body = {
            "server_id": unproven.server_id,
            "cluster_addr": unproven.cluster_addr,
            "non_voter": non_voter,
            "public_key": public,
            "token": token,
            "answer": proof.prove(secret, "node", *unproven.claims),
        }
        told = await where.call("bootstrap/answer", body)
        certificate, authority = str(told.get("certificate")), str(told.get("authority"))
        proof.check(str(told.get("proof")), secret, "cluster", cluster.node, certificate, authority)
        await cluster.use(Credentials.of(key, certificate.encode(), authority.encode()))
        await cluster.open()
        self.admitted = True
        _log.info("node %s is a member of the cluster at %s; its state is on its way", cluster.node, where.url)

    def then(self, opening: Opening) -> None:
        """When the cluster's state is here, open the server with it."""
        self._spawn(self._open(opening))

    async def _open(self, opening: Opening) -> None:
        moved = self._cluster.moved
        while await self._cluster.store.get(KEYRING) is None:
            moved.clear()
            await moved.wait()
        self._seal.invitation = None
        try:
            await opening(self._seal)
        except CaveauError as error:
            _log.error("the server has joined a cluster and stays sealed: %s", error)

    async def _join(self, where: Leader, target: JoinTarget, non_voter: bool) -> None:
        seal = self._seal
        if target.join_token:
            name, secret = proof.read_token(target.join_token)
            await self.answer(where, secret, non_voter, name)
            self.then(lambda seal: seal.auto_unseal())
            return
        told = await where.call("bootstrap/challenge", {"server_id": self._cluster.node})
        challenge = proof.decode(str(told.get("challenge")), "the challenge")
        config = told.get("seal_config") or {}
        if config.get("type") != seal.mechanism.type:
            raise InvalidRequest(f"the cluster's seal is {config.get('type')}, and this node's {seal.mechanism.type}")
        if seal.by_shares:
            shares = ShareConfig(int(config["secret_shares"]), int(config["secret_threshold"]))
            seal.invitation = Invitation(self, where, challenge, shares, non_voter)
            return
        await self.answer(where, await seal.mechanism.unwrap(challenge), non_voter)
        self.then(lambda seal: seal.auto_unseal())

    async def _keep_trying(self, targets: tuple[JoinTarget, ...], non_voter: bool) -> None:
        said = ""
        while not self.member and self._seal.invitation is None:
            for target in targets:
                try:
                    await self.join(target, non_voter=non_voter)
                    break
                except CaveauError as error:
                    if str(error) != said:
                        said = str(error)
                        _log.warning("this node is not in a cluster yet: %s", said)
            else:
                await asyncio.sleep(_AGAIN)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Leader:
    """The API of a node that may lead. ``name``: what its certificate must say, if that is not in the URL."""

    def __init__(self, url: str, target: JoinTarget, name: str = "") -> None:
        self.url = url.rstrip("/")
        self._target = target
        self._name = target.leader_tls_servername or name

    async def call(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The data of an answer. Raises StoreError that names the node."""
        import aiohttp

        options: dict[str, Any] = {}
        try:
            if self.url.startswith("https:"):
                options = {"ssl": await asyncio.to_thread(_context, self._target)}
                if self._name:
                    options["server_hostname"] = self._name
            timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.post(
                    f"{self.url}/v1/sys/storage/raft/{path}", json=body, allow_redirects=False, **options
                ) as response,
            ):
                raw = await response.content.read(_LONGEST)
                answer = _json(raw)
                if response.status != 200:
                    reasons = answer.get("errors") or [f"status {response.status}"]
                    raise StoreError(f"{self.url}: {'; '.join(map(str, reasons))}")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise StoreError(f"{self.url}: {error or 'it took too long'}") from None
        data = answer.get("data")
        return data if isinstance(data, dict) else {}


def _json(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _context(target: JoinTarget) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=target.leader_ca_cert or None)
    if target.leader_client_cert:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # for its owner only
            file.write(f"{target.leader_client_cert}\n{target.leader_client_key}\n".encode())
            file.flush()
            context.load_cert_chain(file.name)
    return context


async def _leaders(target: JoinTarget) -> list[Leader]:
    """Where to ask: one address, or all that a DNS name has."""
    if target.leader_api_addr:
        return [Leader(target.leader_api_addr, target)]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.auto_join, target.auto_join_port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StoreError(f"auto_join: {target.auto_join}: {error.strerror}") from None
    hosts = dict.fromkeys(str(address[0]) for *_, address in found)
    return [
        Leader(f"{target.auto_join_scheme}://{join_address(host, target.auto_join_port)}", target, target.auto_join)
        for host in hosts
    ]
