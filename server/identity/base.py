"""What the routes of ``identity/`` share: how values are checked, and how they look in answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ...framework import Engine, Field
from ...framework.clock import rfc3339
from ...framework.errors import InvalidRequest, MultipleErrors
from ...framework.wire import PAIRS
from ..mounts import Mount
from ..policies import normalise
from ..request import CoreRequest
from .records import Alias

_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 64, 128, 512
_KEY = re.compile(r"[\x20-\x7e]*")
METADATA = Field("Text pairs of your own, up to 64; shown in answers and audit logs.", PAIRS)


class IdentityRoutes(Engine):
    """Base of the files of this folder; each adds the routes of one resource."""


class Mounts:
    """The mounts by accessor, looked up once for all aliases of an answer."""

    def __init__(self, req: CoreRequest) -> None:
        self._mounts: dict[str, Mount] = {mount.entry.accessor: mount for mount in req.node.router}

    def describe(self, alias: Alias) -> dict[str, str]:
        """What an alias's mount is; a mount that is gone has neither path nor type."""
        mount = self._mounts.get(alias.mount_accessor)
        return {
            "mount_accessor": alias.mount_accessor,
            "mount_path": "" if mount is None else mount.point,
            "mount_type": "" if mount is None else mount.entry.type,
        }

    def require(self, accessor: str) -> None:
        """Raise InvalidRequest unless a mount has that accessor."""
        if accessor not in self._mounts:
            raise InvalidRequest(f'invalid mount accessor "{accessor[:128]}"')

    def alias(self, alias: Alias, owner: str) -> dict[str, Any]:
        """The alias of an entity as answers show it; ``owner`` is the entity's id."""
        return {
            **self.describe(alias),
            "canonical_id": owner,
            "creation_time": rfc3339(alias.creation_time),
            "custom_metadata": alias.custom_metadata,
            "id": alias.id,
            "last_update_time": rfc3339(alias.last_update_time),
            "local": False,
            "merged_from_canonical_ids": alias.merged_from or None,
            "metadata": alias.metadata or None,
            "name": alias.name,
        }

    def listed(self, alias: Alias, owner: str) -> dict[str, Any]:
        """The alias as lists of aliases show it."""
        shown = self.alias(alias, owner)
        for name in ("creation_time", "id", "last_update_time", "merged_from_canonical_ids"):
            del shown[name]
        return shown | {"custom_metadata": alias.custom_metadata or None}


def check_metadata(pairs: Mapping[str, str], what: str) -> Mapping[str, str]:
    """Raise InvalidRequest unless ``pairs`` keep the limits of Vault."""
    if len(pairs) > _MAX_PAIRS:
        raise MultipleErrors(f"invalid {what}: metadata cannot contain more than {_MAX_PAIRS} key/value pairs")
    for key, value in pairs.items():
        if not key:
            problem = "key cannot be blank"
        elif not _KEY.fullmatch(key):
            problem = "key contains invalid characters"
        elif len(key) > _MAX_KEY:
            problem = f"key is too long (limit: {_MAX_KEY} characters)"
        elif len(value) > _MAX_VALUE:
            problem = f"value is too long (limit: {_MAX_VALUE} characters)"
        else:
            continue
        raise MultipleErrors(f'invalid {what}: failed to load metadata pair "{key[:_MAX_KEY]}": {problem}')
    return pairs


def check_policies(names: list[str]) -> tuple[str, ...]:
    """Names of policies as they are kept; raises InvalidRequest for root, which nobody gets this way."""
    policies = normalise(names, default=False)
    if "root" in policies:
        raise InvalidRequest("policies cannot contain root")
    return tuple(filter(None, policies))


async def exclusive(*ways: tuple[bool, Callable[[], Any]]) -> Any:
    """What the one way of looking something up finds that is asked for; raises InvalidRequest for none or two."""
    asked = [find for given, find in ways if given]
    if not asked:
        raise InvalidRequest("query parameter not supplied")
    if len(asked) > 1:
        raise InvalidRequest("query parameter conflict; please supply distinct set of query parameters")
    return await asked[0]()
