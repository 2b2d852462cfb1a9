"""``token``: make, look at, lengthen and revoke tokens."""

from __future__ import annotations

from typing import Any

from .. import durations, token_store
from ..command import Arity, Command, Group
from ..envelope import Secret
from ..flags import Flag
from ..invocation import CommandError, Invocation

ACCESSOR = Flag("accessor", "bool", "The argument is an accessor, not a token.")


def create(run: Invocation) -> int:
    flags = run.flags
    body: dict[str, Any] = {
        "id": flags.text("id"),
        "policies": flags.texts("policy"),
        "meta": flags.pairs("metadata"),
        "ttl": durations.text(flags.number("ttl")),
        "explicit_max_ttl": durations.text(flags.number("explicit-max-ttl")),
        "period": durations.text(flags.number("period")),
        "no_parent": flags.on("orphan"),
        "no_default_policy": flags.on("no-default-policy"),
        "display_name": flags.text("display-name"),
        "num_uses": flags.number("use-limit"),
        "renewable": flags.on("renewable"),
        "type": flags.text("type"),
        "entity_alias": flags.text("entity-alias"),
    }
    for optional in ("id", "policies", "meta", "no_parent", "no_default_policy"):
        if not body[optional]:
            del body[optional]
    role = flags.text("role")
    with run.failing("Error creating token"):
        secret = run.client.write(f"auth/token/create/{role}" if role else "auth/token/create", body, "POST")
    return run.secret(secret or {}, flags.text("field"))


def lookup(run: Invocation) -> int:
    accessor = run.flags.on("accessor")
    if accessor and not run.args:
        raise CommandError("Not enough arguments with -accessor (expected 1, got 0)", 1)
    with run.failing("Error looking up token"):
        secret: Secret | None
        if accessor:
            secret = run.client.write("auth/token/lookup-accessor", {"accessor": run.args[0].strip()}, "POST")
        elif run.args:
            secret = run.client.write("auth/token/lookup", {"token": run.args[0].strip()}, "POST")
        else:
            secret = run.client.read("auth/token/lookup-self")
    return run.secret(secret or {}, run.flags.text("field"))


def renew(run: Invocation) -> int:
    increment = run.flags.number("increment") // durations.SECOND
    accessor = run.flags.on("accessor")
    if accessor and not run.args:
        raise CommandError("Not enough arguments with -accessor (expected 1, got 0)", 1)
    body: dict[str, Any] = {"increment": increment}
    with run.failing("Error renewing token"):
        if accessor:
            body = {"accessor": run.args[0].strip()} | body
            secret = run.client.write("auth/token/renew-accessor", body, "POST")
        elif run.args:
            secret = run.client.write("auth/token/renew", body | {"token": run.args[0].strip()})
        else:
            secret = run.client.write("auth/token/renew-self", body)
    return run.secret(secret or {})


def revoke(run: Invocation) -> int:
    mode, own, accessor = run.flags.text("mode"), run.flags.on("self"), run.flags.on("accessor")
    _check_revoke(run, mode, own, accessor)
    token = run.args[0].strip() if run.args else ""
    with run.failing("Error revoking token"):
        if own:
            run.client.write("auth/token/revoke-self")
        elif accessor:
            run.client.write("auth/token/revoke-accessor", {"accessor": token}, "POST")
        elif mode == "orphan":
            run.client.write("auth/token/revoke-orphan", {"token": token})
        elif mode == "path":
            run.client.write(f"sys/leases/revoke-prefix/{token}")
        else:
            run.client.write("auth/token/revoke", {"token": token})
    return run.say("Success! Revoked token (if it existed)")


def _check_revoke(run: Invocation, mode: str, own: bool, accessor: bool) -> None:
    given = len(run.args)
    problem = ""
    if not own and given == 0:
        problem = "Not enough arguments (expected 1 or -self, got 0)"
    elif not own and given > 1:
        problem = f"Too many arguments (expected 1 or -self, got {given})"
    elif own and given:
        problem = f"Too many arguments with -self (expected 0, got {given})"
    elif own and accessor:
        problem = "Cannot use -self with -accessor!"
    elif own and mode:
        problem = "Cannot use -self with -mode!"
    elif accessor and mode in ("orphan", "path"):
        problem = f"Cannot use -accessor with -mode={mode}!"
    elif mode not in ("", "orphan", "path"):
        problem = f"Invalid mode: {mode}"
    if problem:
        raise CommandError(problem, 1)


def capabilities(run: Invocation) -> int:
    path = run.args[-1].strip()
    with run.failing("Error listing capabilities"):
        if len(run.args) == 2:
            secret = run.client.write("sys/capabilities", {"path": path, "token": run.args[0].strip()}, "POST")
        else:
            body = {"path": path, "token": token_store.current()}
            secret = run.client.write("sys/capabilities-self", body, "POST")
    data = (secret or {}).get("data") or secret or {}
    found = sorted(data.get("capabilities") or data.get(path) or [])
    return run.say(", ".join(found)) if run.table else run.data(found)


TOKEN = Group(
    "token",
    "Works with tokens. To log in, use \"caveau login\".",
    (
        Command(
            "capabilities", capabilities,
            "Shows what a token may do at a path: the one in use, or another.\n\n"
            "    $ caveau token capabilities secret/data/db",
            summary="Show what a token may do at a path", usage="[options] [TOKEN] PATH", arity=Arity(1, 2),
            formats=True,
        ),
        Command(
            "create", create,
            "Makes a token, a child of the one in use. Without -policy it has the same policies.\n\n"
            "    $ caveau token create -policy=app -ttl=1h",
            summary="Make a token", formats=True, field=True,
            flags=(
                Flag("display-name", "string", "Name to tell the token by in logs; no secret."),
                Flag("entity-alias", "string", "Entity alias to use; only with -role, which must allow it."),
                Flag("explicit-max-ttl", "duration", "Longest life, renewals included."),
                Flag("id", "string", "The token itself, where it should not be random; needs sudo."),
                Flag("metadata", "key=value", "Shown in the audit log when the token is used; may be repeated."),
                Flag("no-default-policy", "bool", "Leave the default policy out."),
                Flag("orphan", "bool", "No parent: the token outlives the one in use. Needs root or sudo."),
                Flag("period", "duration", "Every renewal is for this long, without end. Needs sudo."),
                Flag("policy", "strings", "Policy of the token; may be repeated."),
                Flag("renewable", "bool", "Whether it may be renewed. The default is true.", default=True),
                Flag("role", "string", "Token role to make it with; the role may overrule other flags."),
                Flag("ttl", "duration", "Life of the token (\"30s\", \"5m\") before it must be renewed."),
                Flag("type", "string", "\"service\" or \"batch\". The default is service.", default="service"),
                Flag("use-limit", "int", "How many times the token may be used. The default is no limit."),
            ),
        ),
        Command(
            "lookup", lookup,
            "Shows a token's policies and lifetime: the one in use, or another.\n\n    $ caveau token lookup",
            summary="Show a token", usage="[options] [TOKEN | ACCESSOR]", arity=Arity(0, 1), flags=(ACCESSOR,),
            formats=True, field=True,
        ),
        Command(
            "renew", renew,
            "Lengthens a token's life: the one in use, or another.\n\n    $ caveau token renew -increment=1h",
            summary="Lengthen a token's life", usage="[options] [TOKEN]", arity=Arity(0, 1, "1"), formats=True,
            flags=(ACCESSOR, Flag("increment", "duration", "How long it should last from now; the server may give "
                                  "less.", aliases=("i",))),
        ),
        Command(
            "revoke", revoke,
            "Revokes a token and its children.\n\n    $ caveau token revoke -self",
            summary="Revoke a token", usage="[options] [TOKEN | ACCESSOR]", arity=None,
            flags=(
                ACCESSOR,
                Flag("mode", "string", "\"orphan\" leaves the children alive; \"path\" revokes every token that came "
                     "from a path."),
                Flag("self", "bool", "Revoke the token in use."),
            ),
        ),
    ),
)  # fmt: skip
