"""``sys/policies/acl``, the older ``sys/policy``, and ``sys/policies/password``."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, list_, read, update
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound
from ..request import CoreRequest
from .base import SystemRoutes

_MAX_NAME = 512


class PolicyName(Params):
    name: Annotated[str, Field("Name of the policy.")]


class PolicyParams(PolicyName):
    policy: Annotated[str, Field("The rules, in HCL or JSON; may be base64.")] = ""


class OldPolicyParams(PolicyParams):
    rules: Annotated[str, Field("Older name of policy.", deprecated=True)] = ""


class PolicyRoutes(SystemRoutes):
    """Policies: what tokens may do, and what passwords look like."""

    @list_("policies/acl")
    async def list_policies(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the ACL policies."""
        return {"keys": await req.node.policies.names(req.root)}

    @list_("policies/acl/{name:some}")
    async def list_policies_under(self, req: CoreRequest, p: PolicyName) -> dict[str, Any]:
        """List the ACL policies whose names begin with NAME and a slash."""
        names = await self._names_under(req, p.name)
        if not names:
            raise NotFound
        return {"keys": names}

    @read("policy[/]")
    @list_("policy")
    async def list_old_policies(self, req: CoreRequest, p: NoParams) -> Response:
        """List the ACL policies, in the older form."""
        names = await req.node.policies.names(req.root)
        return Response(data={"keys": names, "policies": names}, flat=True)

    @list_("policy/{name:some}")
    async def list_old_policies_under(self, req: CoreRequest, p: PolicyName) -> Response:
        """List the ACL policies whose names begin with NAME and a slash, in the older form."""
        names = await self._names_under(req, p.name)
        return Response(data={"keys": names, "policies": names}, flat=True)

    async def _names_under(self, req: CoreRequest, folder: str) -> list[str]:
        return await req.node.policies.names(req.root, _name(folder) + "/")

    @read("policies/acl/{name:some}")
    async def read_policy(self, req: CoreRequest, p: PolicyName) -> dict[str, Any]:
        """Show an ACL policy."""
        name = _name(p.name)
        return {"name": name, "policy": await self._text(req, name)}

    @read("policy/{name:some}")
    async def read_old_policy(self, req: CoreRequest, p: PolicyName) -> Response:
        """Show an ACL policy, in the older form."""
        name = _name(p.name)
        return Response(data={"name": name, "rules": await self._text(req, name)}, flat=True)

    async def _text(self, req: CoreRequest, name: str) -> str:
        stored = await req.node.policies.get(req.root, name)
        if stored is None:
            raise NotFound
        return stored.text

    @update("policies/acl/{name:some}")
    async def write_policy(self, req: CoreRequest, p: PolicyParams) -> Response | None:
        """Create or replace an ACL policy."""
        return self._write(req, p.name, _maybe_base64(p.policy), [])

    @update("policy/{name:some}")
    async def write_old_policy(self, req: CoreRequest, p: OldPolicyParams) -> Response | None:
        """Create or replace an ACL policy, in the older form."""
        warnings = ["'rules' is deprecated, please use 'policy' instead"] if p.rules and not p.policy else []
        return self._write(req, p.name, p.policy or p.rules, warnings)

    def _write(self, req: CoreRequest, raw_name: str, text: str, warnings: list[str]) -> Response | None:
        name = _name(raw_name.strip())
        if not text:
            raise InvalidRequest("'policy' parameter not supplied or empty")
        if len(name) > _MAX_NAME:
            raise InvalidRequest(f"the name of a policy has at most {_MAX_NAME} characters")
        policy = req.node.policies.put(req.root, name, text)
        warnings = [*warnings, *policy.warnings]
        return Response(warnings=warnings) if warnings else None

    @delete("policies/acl/{name:some}")
    @delete("policy/{name:some}")
    async def delete_policy(self, req: CoreRequest, p: PolicyName) -> None:
        """Delete an ACL policy; tokens that have it lose what it granted at once."""
        req.node.policies.delete(req.root, _name(p.name))

    # Password policies

    @list_("policies/password")
    async def list_password_policies(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the password policies."""
        names = await req.node.passwords.names(req.root)
        if not names:
            raise NotFound
        return {"keys": names}

    @read("policies/password/{name}")
    async def read_password_policy(self, req: CoreRequest, p: PolicyName) -> dict[str, Any]:
        """Show a password policy."""
        return {"policy": await req.node.passwords.text(req.root, p.name)}

    @update("policies/password/{name}")
    async def write_password_policy(self, req: CoreRequest, p: PolicyParams) -> None:
        """Create or replace a password policy."""
        if not p.policy:
            raise MultipleErrors("missing policy")
        req.node.passwords.put(req.root, p.name, _maybe_base64(p.policy))

    @delete("policies/password/{name}")
    async def delete_password_policy(self, req: CoreRequest, p: PolicyName) -> None:
        """Delete a password policy."""
        req.node.passwords.delete(req.root, p.name)

    @read("policies/password/{name}/generate")
    async def generate_password(self, req: CoreRequest, p: PolicyName) -> dict[str, Any]:
        """Generate a password by a policy."""
        return {"password": await req.node.passwords.generate(req.root, p.name)}


def _name(raw: str) -> str:
    return raw.rstrip("/").lower()


def _maybe_base64(text: str) -> str:
    """The text, decoded where it is base64: clients send policies either way."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text
