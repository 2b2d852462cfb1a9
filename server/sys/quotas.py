"""``sys/quotas``: limits to the rate of requests and to the number of leases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from ...framework import Engine, Field, NoParams, Params, delete, list_, read, update
from ...framework.errors import InvalidRequest, NotFound
from ...framework.wire import NUMBER, SECONDS, STRINGS
from ..limiting import leases_of
from ..quotas import CONFIG_KEY, FOLDER, GROUPS, LeaseCount, Quota, QuotaConfig, RateLimit, stored
from ..request import CoreRequest
from .base import SystemRoutes

_MAX_EXEMPT = 1000


class QuotaName(Params):
    name: Annotated[str, Field("Name of the quota.")]


class ScopeParams(QuotaName):
    path: Annotated[str, Field("A namespace, a mount, or a path in one, perhaps with * at its end; empty: all.")] = ""
    role: Annotated[str, Field("Only logins for this role of the auth method at path.")] = ""
    inheritable: Annotated[bool, Field("Whether namespaces below are limited too; they are by an empty path.")] = False


class RateLimitParams(ScopeParams):
    type: Annotated[str, Field("Accepted for older clients; means nothing.")] = ""
    rate: Annotated[float, Field("Requests admitted in an interval.", NUMBER)] = 0.0
    interval: Annotated[int, Field("Length of an interval.", SECONDS)] = 1
    block_interval: Annotated[int, Field("How long a client that asked too often is refused.", SECONDS)] = 0
    group_by: Annotated[str, Field("Whose requests are counted together.", choices=GROUPS)] = "ip"
    secondary_rate: Annotated[
        float, Field("The rate of requests without an entity, where they are grouped by entity.", NUMBER)
    ] = 0.0


class LeaseCountParams(ScopeParams):
    max_leases: Annotated[int, Field("How many leases and tokens there may be.")] = 0


class QuotaConfigParams(Params):
    rate_limit_exempt_paths: Annotated[
        list[str], Field("Paths that no rate limits; * at the end stands for anything.", STRINGS)
    ] = field(default_factory=list)
    enable_rate_limit_audit_logging: Annotated[bool, Field("Whether refused requests are audited.")] = False
    enable_rate_limit_response_headers: Annotated[bool, Field("Whether answers tell of the limit.")] = False


class QuotaRoutes(SystemRoutes):
    """Limits."""

    @read("quotas/config")
    async def read_quota_config(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """Show how rate limits are applied."""
        config = self.core.quotas.config
        return {
            "enable_rate_limit_audit_logging": config.audit_logging,
            "enable_rate_limit_response_headers": config.response_headers,
            "rate_limit_exempt_paths": config.exempt_paths,
        }

    @update("quotas/config")
    async def write_quota_config(self, req: CoreRequest, p: QuotaConfigParams) -> None:
        """Set how rate limits are applied; what is not given is unset."""
        if len(p.rate_limit_exempt_paths) > _MAX_EXEMPT:
            raise InvalidRequest(f"at most {_MAX_EXEMPT} paths can be exempt; end one in * to cover more")
        config = QuotaConfig(
            tuple(p.rate_limit_exempt_paths), p.enable_rate_limit_audit_logging, p.enable_rate_limit_response_headers
        )
        req.root.put(CONFIG_KEY, config.dump())
        req.on_commit(lambda: self.core.quotas.configure(config))

    @list_("quotas/rate-limit")
    async def list_rate_limits(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the rate limits."""
        return await _names(req, RateLimit.kind)

    @read("quotas/rate-limit/{name}")
    async def read_rate_limit(self, req: CoreRequest, p: QuotaName) -> dict[str, Any]:
        """Show a rate limit."""
        quota = self.core.quotas.rates.get(p.name)
        if quota is None:
            raise NotFound("")
        shown = _scope(quota) | {
            "rate": quota.rate,
            "interval": quota.interval,
            "block_interval": quota.block_interval,
        }
        if quota.group_by != "ip":
            shown |= {"group_by": quota.group_by, "secondary_rate": quota.secondary_rate}
        return shown

    @update("quotas/rate-limit/{name}")
    async def write_rate_limit(self, req: CoreRequest, p: RateLimitParams) -> None:
        """Create or replace a rate limit: so many requests of a client in an interval."""
        if p.rate <= 0:
            raise InvalidRequest("'rate' is invalid")
        if p.secondary_rate < 0 or (p.secondary_rate and not p.group_by.startswith("entity")):
            raise InvalidRequest("'secondary_rate' is invalid: it is positive, and for group_by=entity_then_...")
        await self._put_quota(
            req,
            RateLimit(
                **await _resolved(req, p),
                rate=p.rate,
                interval=p.interval or 1,
                block_interval=p.block_interval,
                group_by=p.group_by,
                secondary_rate=p.secondary_rate,
            ),
        )

    @delete("quotas/rate-limit/{name}")
    async def delete_rate_limit(self, req: CoreRequest, p: QuotaName) -> None:
        """Remove a rate limit."""
        self._remove_quota(req, RateLimit.kind, p.name)

    @list_("quotas/lease-count")
    async def list_lease_counts(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the limits to the number of leases."""
        return await _names(req, LeaseCount.kind)

    @read("quotas/lease-count/{name}")
    async def read_lease_count(self, req: CoreRequest, p: QuotaName) -> dict[str, Any]:
        """Show a limit to the number of leases, and how many there are."""
        quota = self.core.quotas.leases.get(p.name)
        if quota is None:
            raise NotFound("")
        if quota.is_watched:
            namespace, _ = req.node.namespaces.find(quota.namespace, "")
            await (await req.node.namespaces.node(namespace)).leases.index.watch(quota)
        return _scope(quota) | {"max_leases": quota.max_leases, "counter": leases_of(quota, req.node.namespaces)}

    @update("quotas/lease-count/{name}")
    async def write_lease_count(self, req: CoreRequest, p: LeaseCountParams) -> None:
        """Create or replace a limit to the number of leases and tokens at a time."""
        if p.max_leases <= 0:
            raise InvalidRequest("'max_leases' is invalid")
        quota = LeaseCount(**await _resolved(req, p), max_leases=p.max_leases)
        await self._put_quota(req, quota)

    @delete("quotas/lease-count/{name}")
    async def delete_lease_count(self, req: CoreRequest, p: QuotaName) -> None:
        """Remove a limit to the number of leases."""
        self._remove_quota(req, LeaseCount.kind, p.name)

    async def _put_quota(self, req: CoreRequest, quota: Quota) -> None:
        for other in await stored(req.root, quota.kind):
            if other.scope == quota.scope and other.name != quota.name:
                raise InvalidRequest(f'quota rule with similar properties exists under the name "{other.name}"')
        req.root.put(quota.key, quota.dump())
        req.on_commit(lambda: self.core.quotas.put(quota))

    def _remove_quota(self, req: CoreRequest, kind: str, name: str) -> None:
        req.root.delete(f"{FOLDER}{kind}/{name}")
        req.on_commit(lambda: self.core.quotas.remove(kind, name))


async def _names(req: CoreRequest, kind: str) -> dict[str, Any]:
    names = await req.root.list(f"{FOLDER}{kind}/")
    if not names:
        raise NotFound("")
    return {"keys": names}


def _scope(quota: Quota) -> dict[str, Any]:
    return {
        "name": quota.name,
        "type": quota.kind,
        "path": quota.path,
        "role": quota.role,
        "inheritable": quota.inheritable,
    }


async def _resolved(req: CoreRequest, p: ScopeParams) -> Mapping[str, Any]:
    """The fields of a quota that say what it applies to; raises InvalidRequest where there is no such thing."""
    namespaces = req.node.namespaces
    namespace, path = namespaces.find("", p.path.removeprefix("/").removesuffix("/") + "/")
    mount = suffix = ""
    found = (await namespaces.node(namespace)).router.match(path) if path not in ("", "/") else None
    if found is not None:
        mount, suffix = found[0].point, found[1].rstrip("/")
    elif path not in ("", "/"):
        raise InvalidRequest(f'invalid mount path "{path[:512]}"')
    if p.role:
        if suffix:
            raise InvalidRequest(
                "Quotas cannot contain both a path suffix and a role. If a role is provided, path must be a valid "
                "auth mount with a concept of roles"
            )
        if found is None or found[0].entry.table != "auth":
            raise InvalidRequest(
                f'Mount path "{mount}" is not a valid auth method and therefore unsuitable for use with '
                "role-based quotas"
            )
        if type(found[0].engine).login_role is Engine.login_role:
            raise InvalidRequest(f'Mount path "{mount}" does not support use with role-based quotas')
    inheritable = p.inheritable if "inheritable" in p.given else not namespace.path and not mount
    return {
        "name": p.name,
        "namespace": namespace.path,
        "mount": mount,
        "suffix": suffix,
        "role": p.role,
        "inheritable": inheritable,
    }
