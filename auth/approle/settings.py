"""Single settings of a role, each a path of its own: ``role/<name>/token-ttl`` and so on.

They read, write and delete (which restores the default) alike, so they are a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from ...framework import Field, Params, Request, Response, delete, read, update
from ...framework.errors import InvalidRequest, MultipleErrors, NotFound, UnsupportedPath
from ...framework.token_params import TokenParams, TokenSettings
from ...framework.wire import SECONDS
from .roles import OWN, Role, RoleName, Roles, changed, check_id

_OLD_LIST = 'The "bound_cidr_list" field is deprecated and will be removed. Please use "secret_id_bound_cidrs" instead.'


class PoliciesParams(RoleName, TokenParams, old=("policies",)):
    pass


class PeriodParams(RoleName, TokenParams, old=("period",)):
    pass


class TokenSettingParams(RoleName, TokenParams):
    pass


class RoleIdParams(RoleName):
    role_id: Annotated[str, Field("Id of the role.")] = ""


class BindSecretIdParams(RoleName):
    bind_secret_id: Annotated[bool, Field("Whether a login needs a secret id.")] = True


class UsesParams(RoleName):
    secret_id_num_uses: Annotated[int, Field("How often a secret id can be used; 0 is without limit.")] = 0


class TTLParams(RoleName):
    secret_id_ttl: Annotated[int, Field("How long a secret id is good for; 0 is for ever.", SECONDS)] = 0


class BoundCidrsParams(RoleName):
    secret_id_bound_cidrs: Annotated[list[str], Field("Where one may log in from.")] = field(default_factory=list)


class BoundCidrListParams(RoleName):
    secret_id_bound_cidrs: Annotated[
        list[str], Field("Older name of secret_id_bound_cidrs.", aliases=("bound_cidr_list",), deprecated=True)
    ] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """One path. ``name`` is that of the field, ``old`` the one that it once had and is shown under too."""

    path: str
    params: type[RoleName]
    name: str
    old: str = ""
    required: bool = True  # a write has to give it


_SETTINGS = (
    Setting("policies", PoliciesParams, "token_policies", "policies"),
    Setting("period", PeriodParams, "token_period", "period"),
    Setting("token-ttl", TokenSettingParams, "token_ttl"),
    Setting("token-max-ttl", TokenSettingParams, "token_max_ttl"),
    Setting("token-num-uses", TokenSettingParams, "token_num_uses"),
    Setting("token-bound-cidrs", TokenSettingParams, "token_bound_cidrs", required=False),
    Setting("bind-secret-id", BindSecretIdParams, "bind_secret_id"),
    Setting("secret-id-num-uses", UsesParams, "secret_id_num_uses"),
    Setting("secret-id-ttl", TTLParams, "secret_id_ttl"),
    Setting("secret-id-bound-cidrs", BoundCidrsParams, "secret_id_bound_cidrs", required=False),
    Setting("bound-cidr-list", BoundCidrListParams, "secret_id_bound_cidrs", "bound_cidr_list", required=False),
)
_DEFAULTS = {f.name: f.default for cls in (TokenSettings, Role) for f in fields(cls)}


class RoleSettings(Roles):
    """The role id and ``local_secret_ids``; the settings of the table are attached below."""

    @read("role/{role_name}/role-id")
    async def read_role_id(self, req: Request, p: RoleName) -> dict[str, Any]:
        """Show the id of a role."""
        return {"role_id": (await self._found(req, p)).role_id}

    @update("role/{role_name}/role-id")
    async def write_role_id(self, req: Request, p: RoleIdParams) -> None:
        """Give a role another id; the one before is good for nothing from then on."""
        role = await self._to_write(req, p)
        if "role_id" not in p.given:
            raise InvalidRequest("missing role_id")
        check_id(p.role_id, "role_id")
        await self.put(req.storage, replace(role, role_id=p.role_id), role)

    @read("role/{role_name}/local-secret-ids")
    async def read_local_secret_ids(self, req: Request, p: RoleName) -> dict[str, Any]:
        """Show whether the secret ids of a role stay in this cluster."""
        return {"local_secret_ids": (await self._found(req, p)).local_secret_ids}

    async def _found(self, req: Request, p: RoleName) -> Role:
        role = await self.role(req.storage, p.role_name)
        if role is None:
            raise NotFound
        return role

    async def _to_write(self, req: Request, p: RoleName) -> Role:
        role = await self.role(req.storage, p.role_name)
        if role is None:
            raise UnsupportedPath(MultipleErrors("unsupported path").args[0])
        return role


def _handlers(setting: Setting) -> dict[str, Callable[..., Any]]:
    """The functions that read, write and delete a setting, to be methods of RoleSettings."""
    path, shown = f"role/{{role_name}}/{setting.path}", setting.path.replace("-", " ")

    async def show(self: RoleSettings, req: Request, p: RoleName) -> Any:
        wire = (await self._found(req, p)).wire()
        if setting.old == "bound_cidr_list":
            return Response(data={setting.old: wire[setting.name]}, warnings=[_OLD_LIST])
        data = {setting.name: wire[setting.name]}
        return data | ({setting.old: wire[setting.old]} if setting.old in wire else {})

    async def write(self: RoleSettings, req: Request, p: Params) -> None:
        assert isinstance(p, RoleName)
        role = await self._to_write(req, p)
        if setting.name not in p.given:
            if setting.required:
                raise InvalidRequest(f"missing {'period' if setting.old == 'period' else setting.name}")
            return
        await self.put(req.storage, changed(role, p, req.data), role)

    async def restore(self: RoleSettings, req: Request, p: RoleName) -> None:
        role = await self.role(req.storage, p.role_name)
        if role is None:
            return
        default: dict[str, Any] = {setting.name: _DEFAULTS[setting.name]}
        if setting.name in OWN:
            fresh = replace(role, **default)
        else:
            names = tuple(name for name in role.settings.old_names if name != setting.old)
            fresh = replace(role, settings=replace(role.settings, **default, old_names=names))
        await self.put(req.storage, fresh, role)

    show.__doc__ = f"Show the {shown} of a role."
    write.__doc__ = f"Change the {shown} of a role."
    restore.__doc__ = f"Put the {shown} of a role back to the default."
    write.__annotations__["p"] = setting.params
    name = setting.path.replace("-", "_")
    return {
        f"read_{name}": read(path)(show),
        f"write_{name}": update(path)(write),
        f"delete_{name}": delete(path)(restore),
    }


for _setting in _SETTINGS:
    for _name, _handler in _handlers(_setting).items():
        setattr(RoleSettings, _name, _handler)
