"""``operator raft`` and ``operator members``: the nodes of a cluster."""

from __future__ import annotations

from typing import Any

from .. import durations, values
from ..command import Command, Group, Lazy
from ..flags import Flag
from ..invocation import CommandError, Invocation

_PATH = "sys/storage/raft"

# Titles of autopilot's settings in a table, in their order.
_SETTINGS = {
    "Cleanup Dead Servers": "cleanup_dead_servers",
    "Last Contact Threshold": "last_contact_threshold",
    "Dead Server Last Contact Threshold": "dead_server_last_contact_threshold",
    "Server Stabilization Time": "server_stabilization_time",
    "Min Quorum": "min_quorum",
    "Max Trailing Logs": "max_trailing_logs",
}
# Titles of a server's state in a table, and the original's names in machine formats.
_SERVER = {
    "Name": "name", "Address": "address", "Status": "status", "Node Status": "node_status", "Healthy": "healthy",
    "Last Contact": "last_contact", "Last Term": "last_term", "Last Index": "last_index", "Version": "version",
    "Node Type": "node_type",
}  # fmt: skip
_SERVER_MACHINE = {
    "ID": "id", "Name": "name", "Address": "address", "NodeStatus": "node_status", "LastContact": "last_contact",
    "LastTerm": "last_term", "LastIndex": "last_index", "Healthy": "healthy", "StableSince": "stable_since",
    "Status": "status", "Version": "version", "UpgradeVersion": "upgrade_version", "NodeType": "node_type",
}  # fmt: skip
_MEMBER = {
    "Host Name": "hostname", "API Address": "api_address", "Cluster Address": "cluster_address",
    "Active Node": "active_node", "Version": "version", "Upgrade Version": "upgrade_version",
    "Last Echo": "last_echo",
}  # fmt: skip

_MEMBER_MACHINE = ("hostname", "api_address", "cluster_address", "active_node", "last_echo", "version",
                   "upgrade_version")  # fmt: skip


def join(run: Invocation) -> int:
    if len(run.args) > 1:
        raise CommandError(f"Too many arguments (expected 0-1, got {len(run.args)})", 1)
    where, flags = (run.args or [""])[0].strip(), run.flags
    by_name = bool(where) and "://" not in where
    body = {
        "leader_api_addr": "" if by_name else where,
        "leader_ca_cert": _content(flags.text("leader-ca-cert"), "leader-ca-cert"),
        "leader_client_cert": _content(flags.text("leader-client-cert"), "leader-client-cert"),
        "leader_client_key": _content(flags.text("leader-client-key"), "leader-client-key"),
        "retry": flags.on("retry"), "non_voter": flags.on("non-voter"),
    }  # fmt: skip
    if by_name:
        body |= {"auto_join": where, "auto_join_scheme": flags.text("auto-join-scheme"),
                 "auto_join_port": flags.number("auto-join-port")}  # fmt: skip
    if file := flags.text("join-token-file"):
        body["join_token"] = _content(f"@{file}", "join-token-file").strip()
    with run.failing("Error joining the node to the Raft cluster"):
        answer = run.client.answer("POST", f"{_PATH}/join", body=body)
    joined = bool(answer.get("joined"))
    return run.rows([("Joined", values.text(joined))]) if run.table else run.data({"joined": joined})


def _content(text: str, flag: str) -> str:
    """What a flag says: itself, or the content of a file after ``@``."""
    if not text.startswith("@"):
        return text
    try:
        with open(text[1:]) as file:
            return file.read()
    except OSError as error:
        raise CommandError(f"-{flag}: {text[1:]}: {error.strerror}", 1) from None


def join_token(run: Invocation) -> int:
    with run.failing("Error making a join token"):
        secret = run.client.write(
            f"{_PATH}/join-token", {"ttl": durations.text(run.flags.number("ttl"))} if run.flags.given("ttl") else {}
        )
    assert secret is not None
    return run.secret(secret)


def list_peers(run: Invocation) -> int:
    with run.failing("Error reading the raft cluster configuration"):
        secret = run.client.read_strict(f"{_PATH}/configuration")
    if secret is None:
        raise CommandError("No raft cluster configuration found")
    if not run.table:
        return run.secret(secret)
    servers = ((secret.get("data") or {}).get("config") or {}).get("servers") or []
    rows = [
        (str(each.get("node_id", "")), str(each.get("address", "")),
         "leader" if each.get("leader") else "follower", values.text(bool(each.get("voter"))))
        for each in servers
    ]  # fmt: skip
    return run.rows(rows, ("Node", "Address", "State", "Voter"))


def _change(path: str, doing: str, done: str) -> Any:
    def handler(run: Invocation) -> int:
        if len(run.args) != 1:
            raise CommandError(f"Incorrect arguments (expected 1, got {len(run.args)})", 1)
        with run.failing(f"Error {doing}"):
            run.client.write(f"{_PATH}/{path}", {"server_id": run.args[0].strip()})
        return run.say(done)

    return handler


def get_config(run: Invocation) -> int:
    with run.failing("Error reading autopilot configuration"):
        secret = run.client.read_strict(f"{_PATH}/autopilot/configuration")
    data = (secret or {}).get("data") or {}
    if not run.table:
        return run.data({name: data.get(name) for name in sorted(_SETTINGS.values())})
    return run.rows([(title, values.text(data.get(name))) for title, name in _SETTINGS.items()])


def set_config(run: Invocation) -> int:
    flags, body = run.flags, dict[str, Any]()
    for flag in _SETTING_FLAGS:
        if flags.given(flag.name):
            value = flags.on(flag.name) if flag.type == "*bool" else flags.number(flag.name)
            body[flag.name.replace("-", "_")] = durations.text(int(value)) if flag.type == "duration" else value
    with run.failing(""):
        run.client.write(f"{_PATH}/autopilot/configuration", body)
    return 0


def state(run: Invocation) -> int:
    with run.failing("Error checking autopilot state"):
        secret = run.client.read_strict(f"{_PATH}/autopilot/state")
    data = (secret or {}).get("data") or {}
    if not data:
        raise CommandError("No autopilot state found: the node that was asked does not lead")
    servers = {name: data["servers"][name] for name in sorted(data.get("servers") or {})}
    if not run.table:
        return run.data({
            "Healthy": data.get("healthy"), "FailureTolerance": data.get("failure_tolerance"),
            "Servers": {name: _machine(each) for name, each in servers.items()},
            "Leader": data.get("leader"), "Voters": data.get("voters"), "NonVoters": data.get("non_voters"),
            "Upgrade": None, "OptimisticFailureTolerance": 0,
        })  # fmt: skip
    lines = [
        f"{title + ':':33}{values.text(data.get(name))}"
        for title, name in (("Healthy", "healthy"), ("Failure Tolerance", "failure_tolerance"), ("Leader", "leader"))
    ]
    lines += ["Voters:", *(f"   {each}" for each in data.get("voters") or [])]
    if data.get("non_voters"):
        lines += ["Non Voters:", *(f"   {each}" for each in data["non_voters"])]
    lines.append("Servers:")
    for name, each in servers.items():
        lines.append(f"   {name}")
        lines += [f"      {title + ':':19}{values.text(each.get(key))}" for title, key in _SERVER.items()]
    return run.say("\n".join(lines) + "\n")


def _machine(server: dict[str, Any]) -> dict[str, Any]:
    return {title: server.get(name, "") for title, name in _SERVER_MACHINE.items()}


def members(run: Invocation) -> int:
    with run.failing("Error reading the cluster's members"):
        nodes = run.client.answer("GET", "sys/ha-status").get("nodes") or []
    if not run.table:
        return run.data({"Nodes": [{name: node.get(name) for name in _MEMBER_MACHINE} for node in nodes]})
    rows = [tuple(values.text(node.get(name)) for name in _MEMBER.values()) for node in nodes]
    rows = [(*row[:-1], "n/a" if not node.get("last_echo") else row[-1]) for row, node in zip(rows, nodes, strict=True)]
    return run.rows(rows, tuple(_MEMBER))


_SETTING_FLAGS = (
    Flag("cleanup-dead-servers", "*bool", "Whether nodes that are gone for long are removed."),
    Flag("dead-server-last-contact-threshold", "duration", "How long that is."),
    Flag("last-contact-threshold", "duration", "Silent for so long, a node is not healthy."),
    Flag("max-trailing-logs", "uint", "Entries of the log that a healthy node may lack."),
    Flag("min-quorum", "uint", "Voters that there are always to be."),
    Flag("server-stabilization-time", "duration", "A node is healthy for so long before it votes."),
)

AUTOPILOT = Group(
    "autopilot",
    "Shows and sets by what rules a cluster looks after its nodes.",
    (
        Command("get-config", get_config,
                "Shows the rules by which the cluster looks after its nodes.\n\n"
                "    $ caveau operator raft autopilot get-config",
                summary="Show autopilot's settings", usage="", formats=True),
        Command("set-config", set_config,
                "Changes the rules by which the cluster looks after its nodes.\n\n"
                "    $ caveau operator raft autopilot set-config -server-stabilization-time=30s",
                summary="Change autopilot's settings", flags=_SETTING_FLAGS, formats=True),
        Command("state", state,
                "Shows how every node is, as the leader sees it.\n\n    $ caveau operator raft autopilot state",
                summary="Show how the nodes are", usage="", formats=True),
    ),
    summary="Look after the nodes",
)  # fmt: skip

RAFT = Group(
    "raft",
    "Operates the cluster of a server whose storage is raft.",
    (
        AUTOPILOT,
        Command("demote", _change("demote", "demoting server", "Server demoted successfully!"),
                "Has a voter follow only, from now on.\n\n    $ caveau operator raft demote node3",
                summary="Have a node not vote any more", usage="<server_id>", arity=None, formats=True),
        Command("join", join,
                "Makes a new server a node of a cluster. The address is that of any node's API, or a DNS name that\n"
                "has all of theirs.\n\n    $ caveau operator raft join https://10.0.0.1:8200",
                summary="Join a cluster", usage="[options] <leader-api-addr|auto-join-configuration>", arity=None,
                flags=(
                    Flag("auto-join-port", "uint", "The port of the nodes that a DNS name has. The default is 8200."),
                    Flag("auto-join-scheme", "string", "How these are reached: https, the default, or http."),
                    Flag("join-token-file", "string", "A file that has a token that the cluster made for this."),
                    Flag("leader-ca-cert", "string", "The CA of the other node's certificate, PEM, or @FILE."),
                    Flag("leader-client-cert", "string", "A client certificate to show it, PEM, or @FILE."),
                    Flag("leader-client-key", "string", "The key of that, PEM, or @FILE."),
                    Flag("non-voter", "bool", "Follow the others, and never vote."),
                    Flag("retry", "bool", "Go on trying until it succeeds."),
                ), formats=True),
        Command("join-token", join_token,
                "Makes a token with which one new node may join without the unseal keys.\n\n"
                "    $ caveau operator raft join-token -ttl=15m",
                summary="Make a token to join with",
                flags=(Flag("ttl", "duration", "How long it is good. The default is an hour."),),
                formats=True),
        Command("list-peers", list_peers,
                "Lists the nodes of the cluster.\n\n    $ caveau operator raft list-peers",
                summary="List the nodes", usage="", formats=True),
        Command("promote", _change("promote", "promoting server", "Server promoted successfully!"),
                "Has a node that only follows vote.\n\n    $ caveau operator raft promote node3",
                summary="Have a node vote", usage="<server_id>", arity=None, formats=True),
        Lazy("recover", "Form a cluster anew of what survives", ".commands.operator_recover:RECOVER"),
        Command("remove-peer", _change("remove-peer", "removing the peer from raft cluster",
                                       "Peer removed successfully!"),
                "Removes a node from the cluster.\n\n    $ caveau operator raft remove-peer node3",
                summary="Remove a node", usage="<server_id>", arity=None, formats=True),
        Lazy("snapshot", "Save, restore and look into snapshots", ".commands.operator_snapshot:SNAPSHOT"),
    ),
    summary="Operate a cluster",
)  # fmt: skip

MEMBERS = Command(
    "members", members,
    "Lists the nodes of the cluster that answer, and which of them leads.\n\n    $ caveau operator members",
    summary="List the nodes of the cluster", usage="", formats=True,
)  # fmt: skip
