"""Logging in with an AppRole, renewal of the tokens, and sweeping out secret ids whose time is over."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Annotated

import orjson

from ...framework import Auth, Context, Field, NoParams, Params, Request, Response, View, update
from ...framework.cidr import address_in
from ...framework.errors import InvalidCredentials, InvalidRequest
from ...framework.messages import tidying
from .roles import Role
from .secret_ids import SecretIds
from .settings import RoleSettings

_log = logging.getLogger(__name__)
_WRONG = "invalid role or secret ID"
_SWEEP_SECONDS = 3600
_SWEEP_BATCH = 200


class LoginParams(Params):
    role_id: Annotated[str, Field("Id of the role.")] = ""
    secret_id: Annotated[str, Field("A secret id of the role.", sensitive=True)] = ""


class AppRole(RoleSettings, SecretIds):
    """Machines log in with the id of their role and a secret id."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._next_sweep = self.clock.time() + _SWEEP_SECONDS

    @update("login", auth=False, login="role_id")
    async def login(self, req: Request, p: LoginParams) -> Response:
        """Log in."""
        if not p.role_id:
            raise InvalidRequest("missing role_id")
        storage = req.storage
        role = await self.role_of(storage, p.role_id)
        if role is None:
            raise InvalidCredentials(_WRONG, known=False)
        meta, bound = {"role_name": role.name}, tuple[str, ...]()
        if role.bind_secret_id:
            if not p.secret_id:
                raise InvalidRequest("missing secret_id")
            meta, bound = await self._use(req, role, p.secret_id)
        if role.secret_id_bound_cidrs and not address_in(req.remote_address, role.secret_id_bound_cidrs):
            raise InvalidRequest(f'source address "{req.remote_address}" unauthorized by CIDR restrictions on the role')
        auth = role.settings.auth(
            req.remote_address, meta=meta, alias_name=p.role_id, internal={"role_name": role.name}
        )
        if bound:
            auth.bound_cidrs = list(bound)
        if self.clock.time() >= self._next_sweep:
            self._begin_sweep()
        return Response(auth=auth)

    async def login_role(self, req: Request, p: LoginParams) -> str:
        role = await self.role_of(req.storage, p.role_id)
        return "" if role is None else role.name

    async def _use(self, req: Request, role: Role, text: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """Take one use of a secret id; the metadata of the token and where it is to be bound to."""
        hashed = self.hash(text)
        found = await self.secret_id(req.storage, role, hashed)
        if found is None:
            raise InvalidCredentials(_WRONG, known=True)
        if found.cidr_list and not address_in(req.remote_address, found.cidr_list):
            raise InvalidRequest(
                f'source address "{req.remote_address}" unauthorized through CIDR restrictions on the secret ID'
            )
        if found.num_uses == 1:
            await self.forget(req.storage, role.uid, hashed)
        elif found.num_uses:
            left = replace(found, num_uses=found.num_uses - 1, updated=self.clock.time())
            req.storage.put(f"secret/{role.uid}/{hashed}", orjson.dumps(left))
        return {**found.metadata, "role_name": role.name}, found.token_bound_cidrs

    async def renew_login(self, req: Request, auth: Auth) -> Auth:
        role = await self.role(req.storage, auth.internal["role_name"])
        if role is None:
            raise InvalidRequest("the role of this token has been deleted; it cannot be renewed")
        return role.settings.renewed(auth, whatever_policies=True)

    @update("tidy/secret-id", writes=False)
    async def tidy(self, req: Request, p: NoParams) -> Response:
        """Remove the secret ids whose time is over, in the background."""
        return tidying(self._begin_sweep())

    async def cleanup(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    def _begin_sweep(self) -> bool:
        """Sweep in the background; False when that is under way already."""
        if self._sweeping is not None and not self._sweeping.done():
            return False
        self._next_sweep = self.clock.time() + _SWEEP_SECONDS
        self._sweeping = asyncio.create_task(self._sweep(), name=f"tidy secret ids of {self.context.mount_point}")
        return True

    async def _sweep(self) -> None:
        system = self.context.system
        assert system is not None
        removed = 0
        try:
            for step in (self._sweep_ended, self._sweep_gone):
                while count := await system.transact(step):
                    removed += count
        except Exception:
            _log.exception("secret ids of %s were not all tidied; it is tried again", self.context.mount_point)
        else:
            _log.info("tidied %d secret ids of %s", removed, self.context.mount_point)

    async def _sweep_ended(self, storage: View) -> int:
        """Forget some secret ids whose time is over; how many."""
        limit = f"{int(self.clock.time() * 1000):012x}"
        due = [name for name in await storage.list("end/", limit=_SWEEP_BATCH) if name[:12] <= limit]
        for name in due:
            _, uid, hashed = name.split(".")
            await self.forget(storage, uid, hashed)
            storage.delete(f"end/{name}")
        return len(due)

    async def _sweep_gone(self, storage: View) -> int:
        """Forget some secret ids of deleted roles; 0 when there are none left."""
        for uid in await storage.list("gone/", limit=1):
            left = await storage.list(f"secret/{uid}/", limit=_SWEEP_BATCH)
            for hashed in left:
                await self.forget(storage, uid, hashed)
            if len(left) < _SWEEP_BATCH:
                storage.delete(f"gone/{uid}")
            return len(left) or 1
        return 0
