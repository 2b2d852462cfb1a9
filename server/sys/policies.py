"""``sys/policies/acl``, the older ``sys/policy``, and ``sys/policies/password``."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, list_, patch, read, update
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound
from ...framework.wire import INT, MOMENT, SECONDS
from ..policies import StoredPolicy
from ..request import CoreRequest
from .base import SystemRoutes, measured

_MAX_NAME = 512
_NO_TEXT = "'policy' parameter not supplied or empty"


class PolicyName(Params):
    name: Annotated[str, Field("Name of the policy.")]


class PasswordPolicyParams(PolicyName):
    policy: Annotated[str, Field("The rules, in HCL or JSON; may be base64.")] = ""


class PolicyParams(PasswordPolicyParams):
    cas: Annotated[int | None, Field("Version that is replaced; -1: there is none.", INT)] = None
    cas_required: Annotated[bool, Field("This write and the next have to name the version that they replace.")] = False
    expiration: Annotated[float | None, Field("When the policy ends and is deleted.", MOMENT)] = None
    ttl: Annotated[int, Field("After which time the policy ends, in place of expiration.", SECONDS)] = 0
    allow_slashes_in_identity_templates: Annotated[bool, Field("Values in templated paths may have slashes.")] = False
    allow_wildcards_in_identity_templates: Annotated[bool, Field("Values in templated paths may have + and *.")] = False


class OldPolicyParams(PolicyParams):
    rules: Annotated[str, Field("Older name of policy.", deprecated=True)] = ""


class PolicyRoutes(SystemRoutes):
    """Policies: what tokens may do, and what passwords look like."""

    @list_("policies/acl")
    @measured("policy.list_policies")
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

    @list_("policies/detailed/acl")
    async def list_detailed_policies(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the ACL policies with what reading each of them shows."""
        return await _detailed(req, "")

    @list_("policies/detailed/acl/{name:some}")
    async def list_detailed_policies_under(self, req: CoreRequest, p: PolicyName) -> dict[str, Any]:
        """List the ACL policies whose names begin with NAME and a slash, with what reading each of them shows."""
        return await _detailed(req, _name(p.name) + "/")

    @read("policy[/]")
    @list_("policy")
    @measured("policy.list_policies")
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
        return _shown(name, await _stored(req, name))

    @read("policy/{name:some}")
    async def read_old_policy(self, req: CoreRequest, p: PolicyName) -> Response:
        """Show an ACL policy, in the older form."""
        name = _name(p.name)
        return Response(data={"name": name, "rules": (await _stored(req, name)).text}, flat=True)

    @update("policies/acl/{name:some}")
    @measured("policy.set_policy")
    async def write_policy(self, req: CoreRequest, p: PolicyParams) -> Response | None:
        """Create or replace an ACL policy."""
        return await self._write(req, p, _maybe_base64(p.policy), [])

    @update("policy/{name:some}")
    @measured("policy.set_policy")
    async def write_old_policy(self, req: CoreRequest, p: OldPolicyParams) -> Response | None:
        """Create or replace an ACL policy, in the older form."""
        warnings = ["'rules' is deprecated, please use 'policy' instead"] if p.rules and not p.policy else []
        return await self._write(req, p, p.policy or p.rules, warnings)

    @patch("policies/acl/{name:some}")
    @measured("policy.set_policy")
    async def patch_policy(self, req: CoreRequest, p: PolicyParams) -> Response:
        """Change an ACL policy: what is left out stays."""
        name = _name(p.name.strip())
        if "policy" in p.given and not p.policy:
            raise InvalidRequest(_NO_TEXT)
        stored = await req.node.policies.get(req.root, name)
        if stored is None:
            raise InvalidRequest("policy not found")
        was = stored.policy
        policy = await req.node.policies.put(
            req.root,
            name,
            _maybe_base64(p.policy) or stored.text,
            cas=p.cas,
            cas_required=_kept(p, "cas_required", stored.cas_required),
            expiration=_expiration(req, p, was.expiration),
            template_slashes=_kept(p, "allow_slashes_in_identity_templates", was.template_slashes),
            template_wildcards=_kept(p, "allow_wildcards_in_identity_templates", was.template_wildcards),
        )
        return Response(status=200, warnings=policy.warnings)

    async def _write(self, req: CoreRequest, p: PolicyParams, text: str, warnings: list[str]) -> Response | None:
        name = _name(p.name.strip())
        if not text:
            raise InvalidRequest(_NO_TEXT)
        if len(name) > _MAX_NAME:
            raise InvalidRequest(f"the name of a policy has at most {_MAX_NAME} characters")
        policy = await req.node.policies.put(
            req.root,
            name,
            text,
            cas=p.cas,
            cas_required=p.cas_required,
            expiration=_expiration(req, p, None),
            template_slashes=p.allow_slashes_in_identity_templates,
            template_wildcards=p.allow_wildcards_in_identity_templates,
        )
        warnings = [*warnings, *policy.warnings]
        return Response(warnings=warnings) if warnings else None

    @delete("policies/acl/{name:some}")
    @delete("policy/{name:some}")
    @measured("policy.delete_policy")
    async def delete_policy(self, req: CoreRequest, p: PolicyName) -> None:
        """Delete an ACL policy; tokens that have it lose what it granted at once."""
        await req.node.policies.delete(req.root, _name(p.name))

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
    async def write_password_policy(self, req: CoreRequest, p: PasswordPolicyParams) -> None:
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


async def _stored(req: CoreRequest, name: str) -> StoredPolicy:
    stored = await req.node.policies.get(req.root, name)
    if stored is None:
        raise NotFound
    return stored


async def _detailed(req: CoreRequest, prefix: str) -> dict[str, Any]:
    names = await req.node.policies.names(req.root, prefix)
    found = {name: await req.node.policies.get(req.root, name) for name in names}
    info = {name: _shown(name, stored) for name, stored in found.items() if stored is not None}
    if not info:
        raise NotFound
    return {"keys": list(info), "key_info": info}


def _shown(name: str, stored: StoredPolicy) -> dict[str, Any]:
    policy = stored.policy
    shown = {
        "name": name,
        "policy": stored.text,
        "version": stored.version,
        "cas_required": stored.cas_required,
        "allow_slashes_in_identity_templates": policy.template_slashes,
        "allow_wildcards_in_identity_templates": policy.template_wildcards,
    }
    if stored.modified:
        shown["modified"] = rfc3339(stored.modified)
    if policy.expiration is not None:
        shown["expiration"] = rfc3339(policy.expiration)
    return shown


def _expiration(req: CoreRequest, p: PolicyParams, otherwise: float | None) -> float | None:
    """When the policy of a request ends; ``otherwise`` where it does not say."""
    if "ttl" not in p.given:
        return otherwise if p.expiration is None else p.expiration
    if p.expiration is not None:
        raise InvalidRequest("cannot supply both 'expiration' and 'ttl' for policies")
    return req.node.clock.time() + p.ttl


def _kept(p: PolicyParams, name: str, otherwise: bool) -> bool:
    return bool(getattr(p, name)) if name in p.given else otherwise


def _name(raw: str) -> str:
    return raw.rstrip("/").lower()


def _maybe_base64(text: str) -> str:
    """The text, decoded where it is base64: clients send policies either way."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text
