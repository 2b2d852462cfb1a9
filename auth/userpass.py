"""The ``userpass`` auth method: names and passwords that are kept here."""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any

import bcrypt
import orjson

from ..framework import Auth, Engine, Field, Params, Request, Response, delete, list_, read, update
from ..framework.errors import InvalidCredentials, InvalidRequest, MultipleErrors, NotFound, PermissionDenied
from ..framework.memo import Memo
from ..framework.params import PageParams
from ..framework.storage import ReadView
from ..framework.token_params import TokenParams, TokenSettings
from ..framework.wire import LOWER_NAME

_COST = 10
_MOST_COST = 16  # some seconds; every step up doubles them
_HASH = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_LONGEST_PASSWORD = 72  # bytes
_NOBODY = b"$2b$10$EBl2SLv.Kv875K0mEdZU2eq5vUAxM0TbEPzZje9SaGt5erXCeVqaG"  # of no known password
_WRONG = "invalid username or password"


class Username(Params):
    username: Annotated[str, Field("Name of the user; case does not matter.", LOWER_NAME)]


class Password(Username):
    password: Annotated[str, Field("Password of the user.", sensitive=True)] = ""


class NewPassword(Password):
    password_hash: Annotated[
        str, Field("bcrypt hash of the password, from where the user was before.", sensitive=True)
    ] = ""


class UserParams(NewPassword, TokenParams, old=("bound_cidrs", "max_ttl", "policies", "ttl")):
    pass


class PolicyParams(Username, TokenParams, old=("policies",)):
    pass


@dataclass(frozen=True, slots=True)
class User:
    """A user as stored: a bcrypt hash and what the tokens are like."""

    hash: str
    settings: TokenSettings


def _decode(key: str, raw: bytes) -> User:
    stored = orjson.loads(raw)
    return User(stored["hash"], TokenSettings.load(stored["settings"]))


class Userpass(Engine):
    """Log in with a username and a password."""

    _decoded = Memo(_decode, 1000)

    @list_("users")
    async def list_users(self, req: Request, p: PageParams) -> dict[str, Any]:
        """List the users."""
        names = await req.storage.list("user/", p.after, max(p.limit, 0))
        if not names:
            raise NotFound
        return {"keys": names}

    @read("users/{username}")
    async def read_user(self, req: Request, p: Username) -> dict[str, Any]:
        """Show a user; never the password."""
        user = await self._user(req.storage, p.username)
        if user is None:
            raise NotFound
        return user.settings.wire()

    @update("users/{username}", exists="user_exists")
    async def write_user(self, req: Request, p: UserParams) -> None:
        """Create or change a user; only what is given is changed."""
        user = await self._user(req.storage, p.username)
        if user is None or {"password", "password_hash"} & p.given:
            fresh = await _hash(p)
            user = replace(user, hash=fresh) if user else User(fresh, TokenSettings())
        self._put(req, p, replace(user, settings=user.settings.changed(p, req.data)))

    async def user_exists(self, req: Request, p: UserParams) -> bool:
        return await self._user(req.storage, p.username) is not None

    @delete("users/{username}")
    async def delete_user(self, req: Request, p: Username) -> None:
        """Delete a user; tokens of earlier logins live on, and cannot be renewed."""
        req.storage.delete(f"user/{p.username}")

    @update("users/{username}/password")
    async def write_password(self, req: Request, p: NewPassword) -> None:
        """Change the password of a user."""
        user = await self._known(req.storage, p.username)
        self._put(req, p, replace(user, hash=await _hash(p)))

    @update("users/{username}/policies")
    async def write_policies(self, req: Request, p: PolicyParams) -> None:
        """Change the policies of a user."""
        user = await self._known(req.storage, p.username)
        self._put(req, p, replace(user, settings=user.settings.changed(p, req.data)))

    @update("login/{username}", auth=False, login="username")
    async def login(self, req: Request, p: Password) -> Response:
        """Log in."""
        if not p.password:
            raise InvalidRequest("missing password")
        user = await self._user(req.storage, p.username)
        if not await _matches(p.password, user.hash.encode() if user else _NOBODY) or user is None:
            raise InvalidCredentials(_WRONG, known=user is not None)
        if not user.settings.allows(req.remote_address):
            raise PermissionDenied
        return Response(
            auth=user.settings.auth(
                req.remote_address,
                display_name=p.username,
                meta={"username": p.username},
                alias_name=p.username,
                internal={"username": p.username},
            )
        )

    async def renew_login(self, req: Request, auth: Auth) -> Auth:
        user = await self._user(req.storage, auth.internal["username"])
        if user is None:
            raise InvalidRequest("the user of this token has been deleted; it cannot be renewed")
        return user.settings.renewed(auth)

    async def _user(self, storage: ReadView, name: str) -> User | None:
        raw = await storage.get(f"user/{name}")
        return None if raw is None else self._decoded(f"{self.context.uuid}/{name}", raw)

    async def _known(self, storage: ReadView, name: str) -> User:
        user = await self._user(storage, name)
        if user is None:
            raise MultipleErrors("username does not exist")
        return user

    def _put(self, req: Request, p: Username, user: User) -> None:
        req.storage.put(f"user/{p.username}", orjson.dumps(user))


@cache
def _workers() -> ThreadPoolExecutor:
    """As many hashes at once as there are processors: more would only be slower, and take from other work."""
    return ThreadPoolExecutor(os.cpu_count() or 1, "bcrypt")


async def _hash(p: NewPassword) -> str:
    """The hash of the password that is given, or the hash that is; raises InvalidRequest."""
    if p.password and p.password_hash:
        raise InvalidRequest("only one of password or password_hash may be provided")
    if p.password_hash:
        found = _HASH.fullmatch(p.password_hash)
        if found is None or not 4 <= int(found[1]) <= 31:
            raise InvalidRequest("password_hash is not a valid bcrypt hash")
        if int(found[1]) > _MOST_COST:
            raise InvalidRequest(f"password_hash has a cost over {_MOST_COST}: every login would take minutes")
        return p.password_hash
    if not p.password:
        raise InvalidRequest("must provide either password or password_hash")
    secret = _bytes(p.password)
    if len(secret) > _LONGEST_PASSWORD:
        raise InvalidRequest(f"the password has more than {_LONGEST_PASSWORD} bytes, and bcrypt takes no more")
    hashed = await asyncio.get_running_loop().run_in_executor(
        _workers(), lambda: bcrypt.hashpw(secret, bcrypt.gensalt(_COST))
    )
    return hashed.decode()


async def _matches(password: str, hashed: bytes) -> bool:
    """Whether a hash is of a password. bcrypt sees its first 72 bytes only, wherever the hash comes from."""
    secret = _bytes(password)[:_LONGEST_PASSWORD]
    return await asyncio.get_running_loop().run_in_executor(_workers(), bcrypt.checkpw, secret, hashed)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
