"""``sys/namespaces``: servers within the server, each with its own mounts, policies, tokens and identities."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Annotated, Any

from ...framework import Field, NoParams, Params, Response, delete, list_, patch, read, scan, update
from ...framework.errors import InvalidRequest, NotFound
from ...framework.wire import MAP
from ..layout import Namespace
from ..request import CoreRequest
from ..tokens import random_id
from .base import SystemRoutes, measured

_RESERVED = frozenset({"root", "sys", "audit", "auth", "cubbyhole", "identity"})
_LONGEST_NAME, _LONGEST_PATH = 128, 1024  # characters
_MOST_METADATA, _LONGEST_METADATA_KEY, _LONGEST_METADATA = 64, 128, 512


class NamespacePath(Params):
    path: Annotated[str, Field("Name of the namespace.")]


class NamespaceParams(NamespacePath):
    custom_metadata: Annotated[
        dict[str, Any], Field("Notes on the namespace, text by name; null removes one in a patch.", MAP)
    ] = field(default_factory=dict)
    seal: Annotated[str, Field("A seal of its own, which this server does not offer.")] = ""
    pgp_keys: Annotated[list[str], Field("Belongs to a seal of its own.")] = field(default_factory=list)


class LockParams(Params):
    path: Annotated[str, Field("Path of the namespace, below that of the request.")] = ""


class UnlockParams(LockParams):
    unlock_key: Annotated[str, Field("The key that locking gave; not needed with sudo.", sensitive=True)] = ""


class NamespaceRoutes(SystemRoutes):
    """Namespaces below that of the request."""

    @list_("namespaces")
    @measured("namespace.list_namespaces")
    async def list_namespaces(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List the namespaces right below this one."""
        return _listed(req, req.node.namespaces.below(req.node.namespace))

    @scan("namespaces")
    @measured("namespace.list_namespaces")
    async def scan_namespaces(self, req: CoreRequest, p: NoParams) -> dict[str, Any]:
        """List all namespaces below this one, at any depth."""
        return _listed(req, req.node.namespaces.below(req.node.namespace, deep=True))

    @read("namespaces/{path:some}")
    @measured("namespace.get_namespace_by_path")
    async def read_namespace(self, req: CoreRequest, p: NamespacePath) -> dict[str, Any]:
        """Show a namespace."""
        found = _child(req, p.path)
        if found is None:
            raise NotFound
        return _described(found)

    @update("namespaces/{path:some}")
    @measured("namespace.modify_namespace")
    async def write_namespace(self, req: CoreRequest, p: NamespaceParams) -> dict[str, Any]:
        """Create a namespace, or set the notes of one that exists."""
        if p.seal or p.pgp_keys:
            raise InvalidRequest("a namespace has no seal of its own here: the server's seal protects it")
        metadata = _metadata(p.custom_metadata)
        namespaces, found = req.node.namespaces, _child(req, p.path)
        if found is None:
            name = _new_name(req, p.path)
            return _described(
                await namespaces.create(req.root, req.node, name, metadata, req.on_commit, str(uuid.uuid4()))
            )
        return _described(await namespaces.change(req.root, found, req.on_commit, custom_metadata=metadata))

    @patch("namespaces/{path:some}")
    @measured("namespace.modify_namespace")
    async def patch_namespace(self, req: CoreRequest, p: NamespaceParams) -> dict[str, Any]:
        """Change the notes of a namespace by a JSON merge patch (RFC 7396)."""
        namespaces, found = req.node.namespaces, _child(req, p.path)
        if p.seal or p.pgp_keys:
            raise InvalidRequest("a namespace has no seal of its own here: the server's seal protects it")
        if found is None:
            raise InvalidRequest("namespace not found")
        changes = p.custom_metadata
        if not all(value is None or isinstance(value, str) for value in changes.values()):
            raise InvalidRequest("metadata patch can only have string or null values")
        merged = {**(await namespaces.stored(req.root, found)).custom_metadata, **changes}
        metadata = _metadata({name: value for name, value in merged.items() if value is not None})
        return _described(await namespaces.change(req.root, found, req.on_commit, custom_metadata=metadata))

    @delete("namespaces/{path:some}")
    @measured("namespace.delete_namespace")
    async def delete_namespace(self, req: CoreRequest, p: NamespacePath) -> Response:
        """Delete a namespace with all that is in it, in the background."""
        found = _child(req, p.path)
        if found is None:
            return Response(warnings=["requested namespace does not exist"])
        if not found.tainted:
            await req.node.namespaces.delete(req.root, found, req.on_commit)
        return Response(data={"status": "in-progress"})

    # Locks

    @update("namespaces/api-lock/lock[/{path:some}]")
    @measured("namespace.lock_namespace")
    async def lock(self, req: CoreRequest, p: LockParams) -> dict[str, Any]:
        """Answer nothing in a namespace and those below it any more, until it is unlocked."""
        namespaces, target = req.node.namespaces, _to_lock(req, p.path)
        if target.unlock_key:
            raise InvalidRequest(f'cannot lock namespace "{target.path}": is already locked')
        key = random_id()
        await namespaces.change(req.root, target, req.on_commit, unlock_key=_hashed(key))
        return {"unlock_key": key}

    @update("namespaces/api-lock/unlock[/{path:some}]")
    @measured("namespace.unlock_namespace")
    async def unlock(self, req: CoreRequest, p: UnlockParams) -> Response | None:
        """Answer in a namespace again: with the key that locking it gave, or with sudo."""
        namespaces, target = req.node.namespaces, _to_lock(req, p.path)
        if not target.unlock_key:
            raise InvalidRequest(f'namespace "{target.path}" is not locked')
        above = namespaces.lock_above(target)
        if above is not None and above.path != target.path:
            raise InvalidRequest(f'cannot unlock "{target.path}" with namespace "{above.path}" being locked')
        by_sudo = not p.unlock_key and req.permissions.allow("update", req.acl_path, data=req.data).sudo
        if not by_sudo:
            if not p.unlock_key:
                raise InvalidRequest("provided empty key")
            if not hmac.compare_digest(_hashed(p.unlock_key), target.unlock_key):
                raise InvalidRequest("incorrect unlock key")
        await namespaces.change(req.root, target, req.on_commit, unlock_key="")
        return Response(warnings=["Namespace unlocked using sudo capabilities"]) if by_sudo else None


def _child(req: CoreRequest, raw: str) -> Namespace | None:
    """The namespace of this name in that of the request; raises InvalidRequest for what cannot be one's name."""
    name = raw.strip("/")
    if "/" in name:
        raise InvalidRequest("namespace name cannot contain /")
    if name in _RESERVED:
        raise InvalidRequest(f'"{name}/" is a reserved path and cannot be used as a namespace name')
    return req.node.namespaces.at(f"{req.node.namespace.path}{name}/")


def _new_name(req: CoreRequest, raw: str) -> str:
    name = raw.strip("/")
    shown = name[:_LONGEST_NAME]
    if any(character.isspace() for character in name):
        raise InvalidRequest(f'"{shown}" contains space characters that cannot be used in a namespace name')
    for wildcard in "+*":
        if wildcard in name:
            raise InvalidRequest(
                f"\"{shown}\" contains wildcard characters that cannot be used in a namespace name: '{wildcard}'"
            )
    if not name or len(name) > _LONGEST_NAME or len(req.node.namespace.path) + len(name) >= _LONGEST_PATH:
        raise InvalidRequest(
            f"a namespace name has 1 to {_LONGEST_NAME} characters, and its path at most {_LONGEST_PATH}"
        )
    return name


def _metadata(raw: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in raw.values()):
        raise InvalidRequest("custom_metadata values must be strings")
    if len(raw) > _MOST_METADATA:
        raise InvalidRequest(f"custom_metadata has at most {_MOST_METADATA} entries")
    for name, value in raw.items():
        if not name or len(name) > _LONGEST_METADATA_KEY or len(value) > _LONGEST_METADATA:
            raise InvalidRequest(
                f"custom_metadata has names of 1 to {_LONGEST_METADATA_KEY} characters and values of at most "
                f"{_LONGEST_METADATA}"
            )
    return dict(raw)


def _to_lock(req: CoreRequest, raw: str) -> Namespace:
    """The namespace that is to be locked or unlocked: that of the request, or one below it at any depth."""
    path = raw.strip("/")
    target = req.node.namespaces.at(f"{req.node.namespace.path}{path}/" if path else req.node.namespace.path)
    if target is None or target.tainted:
        raise InvalidRequest("requested namespace does not exist")
    if not target.path:
        raise InvalidRequest("root namespace cannot be locked/unlocked")
    return target


def _hashed(key: str) -> str:
    """Of 142 random bits, so one round suffices."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _described(namespace: Namespace) -> dict[str, Any]:
    return {
        "custom_metadata": namespace.custom_metadata,
        "id": namespace.id,
        "locked": bool(namespace.unlock_key),
        "path": namespace.path,
        "tainted": namespace.tainted,
        "uuid": namespace.uuid,
    }


def _listed(req: CoreRequest, found: Iterable[Namespace]) -> dict[str, Any]:
    info = {each.path.removeprefix(req.node.namespace.path): _described(each) for each in found}
    if not info:
        raise NotFound
    return {"keys": list(info), "key_info": info}
