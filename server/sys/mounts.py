"""``sys/mounts``, ``sys/auth`` and ``sys/remount``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from ...framework import Context, Field, NoParams, Params, Response, delete, read, update
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound, UnsupportedOperation
from ...framework.wire import INT, MAP, PAIRS, Wire, parse_bool, parse_duration
from ..mounts import SINGLETONS, Mount, MountConfig, MountEntry, clean_path
from ..node import ALIASES
from ..request import CoreRequest
from .base import SystemRoutes

_OWN_TYPES = frozenset(prefix + name for prefix in ("", "ns_") for name in ("system", "token", "cubbyhole", "identity"))
_PROTECTED = (*SINGLETONS, "auth/", "audit/")
_TOKEN_TYPES = ("default-service", "default-batch", "service", "batch", "")
_VISIBILITIES = ("", "unauth", "hidden")
_MOVES_KEPT = 1000
_LOCKOUT_TYPES = frozenset({"approle", "ldap", "userpass"})
_FIXED = frozenset({
    "default_lease_ttl", "max_lease_ttl", "listing_visibility", "description", "options", "passthrough_request_headers",
    "allowed_response_headers",
})  # fmt: skip
"""Settings that the server's own mounts keep as they are."""


def _ttl(raw: Any) -> int:
    """Seconds; ``system`` means the server's default."""
    if raw == "system" or raw == "":
        return 0
    seconds = parse_duration(raw)
    if seconds < 0:
        raise ValueError("cannot provide negative value")
    return int(seconds)


TTL = Wire("duration (sec)", {"type": "string"}, _ttl, int)


class MountPath(Params):
    path: Annotated[str, Field("Path of the mount.")]


class EnableParams(MountPath):
    type: Annotated[str, Field("Type of engine or auth method, such as kv.")] = ""
    description: Annotated[str, Field("What the mount is for, for people.")] = ""
    config: Annotated[dict[str, Any], Field("Settings as in tune: default_lease_ttl, max_lease_ttl, ...", MAP)] = field(
        default_factory=dict
    )
    options: Annotated[dict[str, str], Field("Options of the engine, such as version of kv.", PAIRS)] = field(
        default_factory=dict
    )
    local: Annotated[bool, Field("Keep the mount out of replication.")] = False
    seal_wrap: Annotated[bool, Field("Ask for an extra layer of encryption by the seal.")] = False
    external_entropy_access: Annotated[bool, Field("Let the engine use the seal's source of entropy.")] = False
    plugin_name: Annotated[str, Field("Older way to name the type, with type set to plugin.")] = ""
    plugin_version: Annotated[str, Field("Version of the plugin to use; empty takes the one installed.")] = ""


class ConfigFields(Params):
    default_lease_ttl: Annotated[int, Field("Lifetime of leases and tokens when none is asked for.", TTL)] = 0
    max_lease_ttl: Annotated[int, Field("Longest lifetime of leases and tokens.", TTL)] = 0
    force_no_cache: Annotated[bool, Field("Read the mount's data past the cache.")] = False
    listing_visibility: Annotated[str, Field("Who sees the mount in the UI list: unauth, hidden or empty.")] = ""
    audit_non_hmac_request_keys: Annotated[list[str], Field("Request fields that audit logs show in clear.")] = field(
        default_factory=list
    )
    audit_non_hmac_response_keys: Annotated[list[str], Field("Response fields that audit logs show in clear.")] = field(
        default_factory=list
    )
    passthrough_request_headers: Annotated[list[str], Field("Request headers that the engine gets to see.")] = field(
        default_factory=list
    )
    allowed_response_headers: Annotated[list[str], Field("Response headers that the engine may set.")] = field(
        default_factory=list
    )
    token_type: Annotated[str, Field("Kind of token that logins through this mount give.")] = ""
    user_lockout_config: Annotated[dict[str, Any], Field("When failed logins lock a user out.", MAP)] = field(
        default_factory=dict
    )
    plugin_name: Annotated[str, Field("Older way to name the type.", deprecated=True)] = ""


class TuneParams(ConfigFields, MountPath):
    description: Annotated[str, Field("What the mount is for, for people.")] = ""
    options: Annotated[dict[str, str], Field("Options of the engine; merged into those set.", PAIRS)] = field(
        default_factory=dict
    )
    plugin_version: Annotated[str, Field("Version of the plugin to use; empty takes the one installed.")] = ""


class RemountParams(Params):
    from_: Annotated[str, Field("The mount's present path.")] = ""
    to: Annotated[str, Field("Its new path.")] = ""


class MoveId(Params):
    migration_id: Annotated[str, Field("The id that the move was answered with.")]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the two tables differ."""

    table: str
    noun: str


_SECRETS, _AUTH = _Kind("mounts", "secret engine"), _Kind("auth", "auth engine")


class MountRoutes(SystemRoutes):
    """What is mounted where."""

    def __init__(self, context: Context, *rest: Any) -> None:
        super().__init__(context, *rest)
        self._moves: dict[str, dict[str, Any]] = {}

    @read("mounts")
    async def list_mounts(self, req: CoreRequest, p: NoParams) -> Response:
        """List the mounted secrets engines."""
        return Response(data=_table(req, _SECRETS), flat=True)

    @read("auth")
    async def list_auth(self, req: CoreRequest, p: NoParams) -> Response:
        """List the enabled auth methods."""
        return Response(data=_table(req, _AUTH), flat=True)

    @read("mounts/{path:some}")
    async def read_mount(self, req: CoreRequest, p: MountPath) -> Response:
        """Show one mount; an auth method's under ``auth/``."""
        mount = req.node.router.get(p.path.strip("/") + "/")
        if mount is None:
            raise InvalidRequest(f"No secret engine mount at {p.path.strip('/')}/")
        return Response(data=describe(mount), flat=True)

    @read("auth/{path:some}", sudo=True)
    async def read_auth(self, req: CoreRequest, p: MountPath) -> Response:
        """Show one auth method's mount."""
        mount = req.node.router.get(f"auth/{p.path.strip('/')}/")
        if mount is None:
            raise InvalidRequest(f"No auth engine at {p.path.strip('/')}/")
        return Response(data=describe(mount), flat=True)

    @update("mounts/{path:some}")
    async def enable_mount(self, req: CoreRequest, p: EnableParams) -> None:
        """Mount a secrets engine at a path."""
        await self._enable(req, p, _SECRETS)

    @update("auth/{path:some}", sudo=True)
    async def enable_auth(self, req: CoreRequest, p: EnableParams) -> None:
        """Enable an auth method at a path."""
        await self._enable(req, p, _AUTH)

    async def _enable(self, req: CoreRequest, p: EnableParams, kind: _Kind) -> None:
        type_ = p.plugin_name if p.type == "plugin" else p.type
        if not type_:
            if p.type:
                raise InvalidRequest("plugin_name must be provided for plugin backend")
            raise InvalidRequest("backend type must be specified as a string")
        path = clean_path(p.path)
        if kind is _SECRETS and path.startswith(_PROTECTED):
            raise InvalidRequest(f'cannot mount "{path}"')
        if type_ in _OWN_TYPES:
            if kind is _AUTH:
                raise InvalidRequest(f"{type_} credential backend cannot be instantiated")
            raise InvalidRequest(f'mount type of "{type_}" is not mountable')
        type_, extra = ALIASES.get(type_, (type_, {}))
        entry = MountEntry.new(
            path,
            type_,
            kind.table,
            description=p.description,
            options=extra | p.options,
            local=p.local,
            seal_wrap=p.seal_wrap,
            external_entropy_access=p.external_entropy_access,
            plugin_version=p.plugin_version,
            config=MountConfig(token_type="default-service" if kind is _AUTH else None),
        )
        if p.config:
            settings, _ = ConfigFields.load(p.config, {})
            entry = self._configured(entry, settings, tuning=False)
        await req.node.enable(req.root, entry, req.on_commit)

    @delete("mounts/{path:some}")
    async def disable_mount(self, req: CoreRequest, p: MountPath) -> None:
        """Unmount a secrets engine and delete everything it stored."""
        path = clean_path(p.path)
        if path.startswith(_PROTECTED):
            raise InvalidRequest(f'cannot unmount "{path}"')
        await self._disable(req, path)

    @delete("auth/{path:some}", sudo=True)
    async def disable_auth(self, req: CoreRequest, p: MountPath) -> None:
        """Disable an auth method and delete everything it stored."""
        path = clean_path(p.path)
        if path == "token/":
            raise InvalidRequest("token credential backend cannot be disabled")
        await self._disable(req, f"auth/{path}")

    async def _disable(self, req: CoreRequest, point: str) -> None:
        if point.endswith("/tune/"):
            raise UnsupportedOperation(MultipleErrors("unsupported operation").args[0])
        purge = await req.node.disable(req.root, point, req.on_commit)
        if purge is None:
            return
        await req.node.revocations.revoke_prefix(point.rstrip("/"))  # while there is an engine that can
        await req.node.intents.recover_mount(point)
        self.core.quotas.follow(req.root, req.node.namespace.path, point, "", req.on_commit)

        async def finish() -> None:
            await purge()

        req.after_commit.append(finish)

    @read("mounts/{path:some}/tune")
    async def read_mount_tune(self, req: CoreRequest, p: MountPath) -> Response:
        """Show the settings of a mount; an auth method's under ``auth/``."""
        return self._show_tuning(req, p.path.strip("/") + "/")

    @read("auth/{path:some}/tune", sudo=True)
    async def read_auth_tune(self, req: CoreRequest, p: MountPath) -> Response:
        """Show the settings of an auth method's mount."""
        return self._show_tuning(req, f"auth/{p.path.strip('/')}/")

    def _show_tuning(self, req: CoreRequest, point: str) -> Response:
        mount = req.node.router.get(point)
        if mount is None:
            raise InvalidRequest(f'cannot fetch sysview for path "{point}"')
        config, server = mount.entry.config, self.core.config
        default = config.default_lease_ttl or int(server.default_lease_ttl)
        maximum = config.max_lease_ttl or int(server.max_lease_ttl)
        shown = config.wire()
        lockout = shown.pop("user_lockout_config", None)
        shown |= {"default_lease_ttl": default, "max_lease_ttl": maximum, "description": mount.entry.description}
        if mount.entry.options:
            shown["options"] = mount.entry.options
        if lockout is not None:
            shown |= lockout
        return Response(data=shown, flat=True)

    @update("mounts/{path:some}/tune")
    async def tune_mount(self, req: CoreRequest, p: TuneParams) -> Response | None:
        """Change the settings of a mount, an auth method's under ``auth/``; only those given are changed."""
        return await self._tune(req, p, p.path.strip("/") + "/")

    @update("auth/{path:some}/tune", sudo=True)
    async def tune_auth(self, req: CoreRequest, p: TuneParams) -> Response | None:
        """Change the settings of an auth method's mount; only those given are changed."""
        return await self._tune(req, p, f"auth/{p.path.strip('/')}/")

    async def _tune(self, req: CoreRequest, p: TuneParams, point: str) -> Response | None:
        if "token_type" in p.given:
            if not point.startswith("auth/"):
                raise InvalidRequest("'token_type' can only be modified on auth mounts")
            if point == "auth/token/":
                raise InvalidRequest("'token_type' cannot be set for 'token' or 'ns_token' auth mounts")
        if point in SINGLETONS:
            for name in TuneParams.specs:
                if name in p.given and name in _FIXED:
                    raise InvalidRequest(f"cannot tune parameter {name} of {point}")
        mount = req.node.router.get(point)
        if mount is None:
            raise InvalidRequest(f'tune of path "{point}" failed: no mount entry found')
        if "user_lockout_config" in p.given and mount.entry.type not in _LOCKOUT_TYPES:
            raise InvalidRequest(f'tuning of user lockout configuration for auth type "{mount.entry.type}" not allowed')
        if p.plugin_version not in ("", mount.version):
            raise InvalidRequest(
                f"plugin not found in the catalog: {mount.entry.type}, version={p.plugin_version[:64]}"
            )
        old = await req.node.stored_entry(req.root, mount)
        entry = self._configured(old, p, tuning=True)
        if "description" in p.given:
            entry = replace(entry, description=p.description)
        if "plugin_version" in p.given:
            entry = replace(entry, plugin_version=p.plugin_version)
        warnings: list[str] = []
        if p.options:
            warnings = _check_version(old, p.options)
            entry = replace(entry, options={**(old.options or {}), **p.options})
        if entry != old:
            await req.node.replace(req.root, mount, entry, req.on_commit)
        return Response(warnings=warnings) if warnings else None

    def _configured(self, entry: MountEntry, p: ConfigFields, *, tuning: bool) -> MountEntry:
        changes: dict[str, Any] = {}
        for name in ("default_lease_ttl", "max_lease_ttl", "force_no_cache", "listing_visibility", "token_type"):
            if name in p.given:
                changes[name] = getattr(p, name)
        for name in ("audit_non_hmac_request_keys", "audit_non_hmac_response_keys", "passthrough_request_headers",
                     "allowed_response_headers"):  # fmt: skip
            if name in p.given:
                changes[name] = tuple(getattr(p, name)) or None
        if p.listing_visibility not in _VISIBILITIES:
            raise InvalidRequest(f"invalid listing_visibility {p.listing_visibility[:64]}")
        if p.token_type not in _TOKEN_TYPES:
            raise InvalidRequest(f"invalid 'token_type' value {p.token_type[:64]!r}; use one of: service, batch, "
                                 "default-service, default-batch")  # fmt: skip
        if "user_lockout_config" in p.given:
            old = entry.config.user_lockout_config or {}
            changes["user_lockout_config"] = {**old, **_lockout(p.user_lockout_config)}
        if changes.get("listing_visibility") == "":
            changes["listing_visibility"] = None
        tuned = entry.tuned(**changes)
        self._check_ttls(tuned.config, p, tuning=tuning)
        return tuned

    def _check_ttls(self, config: MountConfig, p: ConfigFields, *, tuning: bool) -> None:
        system = int(self.core.config.max_lease_ttl)
        default, maximum = config.default_lease_ttl, config.max_lease_ttl
        if maximum and default > maximum:
            if tuning:
                raise InvalidRequest(
                    f"backend max lease TTL of {maximum} would be less than backend default lease TTL of {default}"
                )
            raise InvalidRequest("given default lease TTL greater than given max lease TTL")
        if not tuning and not maximum and default > system:
            raise InvalidRequest(f"given default lease TTL greater than system max lease TTL of {system}")

    @update("remount", sudo=True)
    async def remount(self, req: CoreRequest, p: RemountParams) -> Response:
        """Move a mount, with all it holds, to another path."""
        if not p.from_ or not p.to:
            raise InvalidRequest("both 'from' and 'to' path must be specified as a string")
        for name, raw in (("from", p.from_), ("to", p.to)):
            if raw != raw.strip():
                raise InvalidRequest(f"'{name}' path cannot contain trailing whitespace")
        source, target = clean_path(p.from_), clean_path(p.to)
        if source.startswith(_PROTECTED[:-2]) or source == "auth/token/":
            raise InvalidRequest(f'cannot remount "{source}"')
        mount = req.node.router.get(source)
        if mount is None:
            raise InvalidRequest(f'no matching mount at "{source}"')
        relative = target.removeprefix("auth/")
        if mount.entry.table == "auth" and relative in ("", target):
            raise InvalidRequest(f'cannot remount auth mount to non-auth mount "{target}"')
        if mount.entry.table == "mounts" and (relative != target or target.startswith(_PROTECTED)):
            raise InvalidRequest(f"cannot remount to destination {target}")
        if (taken := await req.node.in_the_way(req.root, target)) is not None:
            raise InvalidRequest(f'path already in use at "{taken.point}"')
        if (below := await req.node.namespaces.in_the_way(req.root, req.node.namespace, target)) is not None:
            raise InvalidRequest(f'path already in use at "{below.path}"')
        entry = await req.node.stored_entry(req.root, mount)
        await req.node.revocations.revoke_prefix(source.rstrip("/"))  # their ids are paths that will lead nowhere
        await req.node.replace(req.root, mount, replace(entry, path=relative), req.on_commit)
        self.core.quotas.follow(req.root, req.node.namespace.path, source, target, req.on_commit)
        move = str(uuid.uuid4())
        req.on_commit(lambda: self._moved(move, source, target))
        return Response(
            data={"migration_id": move},
            warnings=[
                "Mount move has been queued. Progress will be reported in the server's log, "
                "tagged with the returned migration_id"
            ],
            flat=True,
        )

    def _moved(self, move: str, source: str, target: str) -> None:
        if len(self._moves) >= _MOVES_KEPT:
            del self._moves[next(iter(self._moves))]
        self._moves[move] = {"source_mount": source, "target_mount": target, "status": "success"}

    @read("remount/status/{migration_id:segment}")
    async def remount_status(self, req: CoreRequest, p: MoveId) -> Mapping[str, Any]:
        """Tell how a move of a mount is going."""
        info = self._moves.get(p.migration_id)
        if info is None:
            raise NotFound
        return {"migration_id": p.migration_id, "migration_info": info}


def describe(mount: Mount) -> dict[str, Any]:
    """A mount as ``sys/mounts`` shows it."""
    entry = mount.entry
    shown = {
        "accessor": entry.accessor,
        "config": entry.config.wire(),
        "description": entry.description,
        "external_entropy_access": entry.external_entropy_access,
        "local": entry.local,
        "options": entry.options,
        "plugin_version": entry.plugin_version,
        "running_plugin_version": mount.version,
        "running_sha256": "",
        "seal_wrap": entry.seal_wrap,
        "type": entry.type,
        "uuid": entry.uuid,
    }
    if entry.type not in _OWN_TYPES:
        shown["deprecation_status"] = "supported"
    return shown


def _table(req: CoreRequest, kind: _Kind) -> dict[str, Any]:
    return {mount.entry.path: describe(mount) for mount in req.node.router.table(kind.table)}


def _check_version(entry: MountEntry, options: Mapping[str, str]) -> list[str]:
    """Whether a mount may change to the version in ``options``; what to warn of. Raises InvalidRequest."""
    wanted = options.get("version")
    current = (entry.options or {}).get("version") or "1"
    if entry.type != "kv" or wanted in (None, current):
        return []
    if wanted == "1":
        raise InvalidRequest(f"cannot downgrade mount from version {current}")
    if wanted != "2":
        raise InvalidRequest(f"invalid version provided: {str(wanted)[:64]}")
    return [
        f"Upgrading mount from version {current} to version {wanted}. This mount will be unavailable for a brief "
        "period and will resume service shortly."
    ]


def _lockout(raw: Mapping[str, Any]) -> dict[str, Any]:
    durations = {"lockout_duration", "lockout_counter_reset_duration"}
    known = {"lockout_threshold", "lockout_disable"} | durations
    if unknown := sorted(raw.keys() - known):
        raise InvalidRequest(f"unknown user_lockout_config setting {unknown[0][:64]!r}; known: {sorted(known)}")
    try:
        given: dict[str, Any] = {name: int(parse_duration(raw[name])) for name in durations & raw.keys()}
        if "lockout_threshold" in raw:
            given["lockout_threshold"] = INT.parse(raw["lockout_threshold"])
        if "lockout_disable" in raw:
            given["lockout_disable"] = parse_bool(raw["lockout_disable"])
        if min(given.values(), default=0) < 0:
            raise ValueError("a setting is negative")
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"invalid user_lockout_config: {error}") from None
    return given
