"""``sys/storage/raft``: the members of the cluster, how new ones come, and how they are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from ...framework import Field, NoParams, Params, Response, read, update
from ...framework.clock import rfc3339
from ...framework.errors import CaveauError, InvalidRequest, StoreError, UnsupportedPath
from ...framework.wire import BOOL, INT, SECONDS, format_duration
from ..request import CoreRequest
from .base import SystemRoutes

if TYPE_CHECKING:
    from ..cluster import Cluster
    from ..cluster.autopilot import Health

_TOKEN_SECONDS = 3600
_JOIN_FIELDS = ("leader_api_addr", "leader_ca_cert", "leader_client_cert", "leader_client_key", "auto_join",
                "auto_join_scheme", "auto_join_port", "join_token")  # fmt: skip


class JoinParams(Params):
    leader_api_addr: Annotated[str, Field("Where the API of a member is, https://HOST:PORT.")] = ""
    leader_ca_cert: Annotated[str, Field("The CA of its certificate, PEM; the system's where left out.")] = ""
    leader_client_cert: Annotated[str, Field("A client certificate to show it, PEM.")] = ""
    leader_client_key: Annotated[str, Field("The key of the client certificate, PEM.", sensitive=True)] = ""
    auto_join: Annotated[str, Field("A DNS name that has the addresses of the members, instead of one address.")] = ""
    auto_join_scheme: Annotated[str, Field("How the members found by DNS are reached: https or http.")] = ""
    auto_join_port: Annotated[int, Field("The port of their API.", INT)] = 0
    join_token: Annotated[str, Field("A token that the cluster made for this.", sensitive=True)] = ""
    retry: Annotated[bool, Field("Try again until it succeeds.", BOOL)] = False
    non_voter: Annotated[bool, Field("Follow the others, and never vote.", BOOL)] = False


class ChallengeParams(Params):
    server_id: Annotated[str, Field("Id of the node that is to join.")] = ""


class AnswerParams(Params):
    server_id: Annotated[str, Field("Id of the node that is to join.")] = ""
    cluster_addr: Annotated[str, Field("HOST:PORT at which other nodes reach it.")] = ""
    non_voter: Annotated[bool, Field("Whether it never votes.", BOOL)] = False
    public_key: Annotated[str, Field("The key of its certificate, DER, base64.")] = ""
    token: Annotated[str, Field("Name of the join token whose secret it knows; left out: the challenge.")] = ""
    answer: Annotated[str, Field("Proof that it knows the secret, base64.")] = ""


class TokenParams(Params):
    ttl: Annotated[int, Field("How long the token is good.", SECONDS)] = _TOKEN_SECONDS


class PeerParams(Params):
    server_id: Annotated[str, Field("Id of the node.")] = ""


class RemoveParams(PeerParams):
    dr_operation_token: Annotated[str, Field("Accepted for Vault's clients; means nothing.", deprecated=True)] = ""


class AutopilotParams(Params):
    cleanup_dead_servers: Annotated[bool, Field("Remove nodes that are gone for long.", BOOL)] = False
    dead_server_last_contact_threshold: Annotated[int, Field("How long that is.", SECONDS)] = 0
    last_contact_threshold: Annotated[int, Field("Silent for so long, a node is not healthy.", SECONDS)] = 0
    max_trailing_logs: Annotated[int, Field("Entries of the log that a healthy node may lack.", INT)] = 0
    min_quorum: Annotated[int, Field("Voters that there are always to be.", INT)] = 0
    server_stabilization_time: Annotated[int, Field("A node is healthy for so long before it votes.", SECONDS)] = 0
    disable_upgrade_migration: Annotated[
        bool, Field("Accepted for Vault's clients; means nothing.", BOOL, deprecated=True)
    ] = False


class CommitsParams(Params):
    limit: Annotated[int, Field("Show the last so many; 0 shows all that there are.", INT)] = 0


class RaftRoutes(SystemRoutes):
    """The cluster that this node is a member of, where the store is Raft's."""

    @property
    def raft(self) -> Cluster:
        if self.core.raft is None:
            raise UnsupportedPath
        return self.core.raft

    # Joining

    @update("storage/raft/join", auth=False, sealed=True, writes=False)
    async def join(self, req: CoreRequest, p: JoinParams) -> Response:
        """Make this node, which is new, a member of a cluster."""
        from ..cluster.settings import JoinTarget

        raft = self.raft
        if raft.joining.member:
            return Response(data={"joined": True}, bare=True)
        target = JoinTarget.of({name: getattr(p, name) or "" for name in _JOIN_FIELDS})
        try:
            await raft.joining.join(target, non_voter=p.non_voter)
        except InvalidRequest:
            raise
        except CaveauError as error:
            if not p.retry:
                raise StoreError(f"failed to join raft cluster: {error}") from None
            raft.joining.begin(target, non_voter=p.non_voter)
            return Response(data={"joined": False}, bare=True)
        return Response(data={"joined": True}, bare=True)

    @update("storage/raft/bootstrap/challenge", auth=False, writes=False)
    async def challenge(self, req: CoreRequest, p: ChallengeParams) -> dict[str, Any]:
        """Give a node that wants to join a challenge, which only the unseal keys open."""
        return await self.raft.admission.challenge(p.server_id)

    @update("storage/raft/bootstrap/answer", auth=False, writes=False)
    async def answer(self, req: CoreRequest, p: AnswerParams) -> dict[str, Any]:
        """Make a node that has answered its challenge, or has a join token, a member."""
        from ..cluster.admission import Answer

        return await self.raft.admission.admit(
            Answer(p.server_id, p.cluster_addr, p.non_voter, p.public_key, p.answer, p.token)
        )

    @update("storage/raft/join-token", sudo=True, writes=False)
    async def make_join_token(self, req: CoreRequest, p: TokenParams) -> dict[str, Any]:
        """Make a token with which one new node may join without the unseal keys."""
        if not 0 < p.ttl <= 7 * 86400:
            raise InvalidRequest("ttl: up to seven days")
        token = await self.raft.admission.make_token(p.ttl)
        return {"join_token": token, "ttl": p.ttl}

    # Members

    @read("storage/raft/configuration")
    async def read_members(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the members of the cluster."""
        status = self.raft.engine.status
        leader = status.leader.id if status.leader else ""
        servers = [
            {
                "node_id": server.id,
                "address": server.address,
                "leader": server.id == leader,
                "protocol_version": "3",
                "voter": server.voter,
            }
            for server in status.configuration.servers
        ]
        return {"config": {"index": status.configuration.index, "servers": servers}}

    @update("storage/raft/remove-peer", sudo=True, writes=False)
    async def remove_peer(self, req: CoreRequest, p: RemoveParams) -> None:
        """Remove a node from the cluster; nothing happens if it is none of its members."""
        if self.raft.engine.status.configuration.find(_named(p)) is not None:
            await self.raft.remove(p.server_id)

    @update("storage/raft/promote", sudo=True, writes=False)
    async def promote(self, req: CoreRequest, p: PeerParams) -> None:
        """Have a non-voter vote."""
        await self.raft.promote(_named(p))

    @update("storage/raft/demote", sudo=True, writes=False)
    async def demote(self, req: CoreRequest, p: PeerParams) -> None:
        """Have a voter follow only, from now on."""
        await self.raft.demote(_named(p))

    # Autopilot

    @read("storage/raft/autopilot/configuration")
    async def read_autopilot(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Show by what rules the cluster looks after its members."""
        settings = asdict(await self.raft.autopilot.settings())
        return {
            name: format_duration(int(value)) if isinstance(value, float) else value for name, value in settings.items()
        }

    @update("storage/raft/autopilot/configuration", writes=False)
    async def write_autopilot(self, req: CoreRequest, p: AutopilotParams) -> None:
        """Change by what rules the cluster looks after its members."""
        changes = {name: getattr(p, name) for name in p.given if name != "disable_upgrade_migration"}
        await self.raft.autopilot.configure(
            {name: float(value) if name in _DURATIONS else value for name, value in changes.items()}
        )

    @read("storage/raft/autopilot/state")
    async def autopilot_state(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Tell how every member is; only the leader knows."""
        raft = self.raft
        if not raft.engine.leading:
            return {}
        settings = await raft.autopilot.settings()
        members = raft.autopilot.look(settings)
        term = raft.engine.status.term
        servers = {}
        for each in members:
            told = await raft.ask(each.server, again=False) if each.connected else None
            servers[each.server.id] = _state(each, raft.node, term, told.version if told else "")
        voters = [each for each in members if each.server.voter]
        others = [each.server.id for each in members if not each.server.voter]
        well = sum(each.healthy for each in voters)
        return {
            "healthy": all(each.healthy for each in members),
            "failure_tolerance": max(well - (len(voters) // 2 + 1), 0),
            "leader": raft.node,
            "voters": [each.server.id for each in voters],
            "servers": servers,
            **({"non_voters": others} if others else {}),
        }

    # Commits

    @read("storage/raft/commits")
    async def read_commits(self, req: CoreRequest, p: CommitsParams) -> dict[str, Any]:
        """Tell where the time of the last commits went, which this node led; durations in seconds."""
        if p.limit < 0:
            raise InvalidRequest("limit is not below zero")
        commits = self.raft.engine.commits
        return {"commits": [asdict(each) for each in commits[-p.limit :]]}


_DURATIONS = ("dead_server_last_contact_threshold", "last_contact_threshold", "server_stabilization_time")


def _named(p: PeerParams) -> str:
    if not p.server_id:
        raise InvalidRequest("server_id must be provided")
    return p.server_id


def _state(each: Health, leader: str, term: int, version: str) -> dict[str, Any]:
    server = each.server
    kind = "voter" if server.voter else "non-voter"
    return {
        "id": server.id,
        "name": server.id,
        "address": server.address,
        "node_status": "alive" if each.connected else "left",
        "last_contact": _short(each.silent),
        "last_term": term,
        "last_index": each.last,
        "healthy": each.healthy,
        "stable_since": rfc3339(each.stable),
        "status": "leader" if server.id == leader else kind,
        "version": version,
        "node_type": kind,
    }


def _short(seconds: float) -> str:
    """As Go writes a duration that may be short."""
    if seconds >= 1:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s" if seconds < 60 else format_duration(int(seconds))
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms" if seconds else "0s"
