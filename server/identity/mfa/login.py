"""Between a login and its token: which second factors it needs, and whether they were given.

A login that needs some and brings none is kept in memory for some minutes, under a request id that
``sys/mfa/validate`` takes. One that brings them (``X-Vault-MFA``) is finished at once, in the same way: factors are
verified outside transactions, because others may have to be asked; then one transaction spends the codes and makes
the token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ....framework import Auth, Response
from ....framework.clock import Clock
from ....framework.errors import InvalidRequest, MultipleErrors, PermissionDenied
from ....storage.store import Transaction
from ...layout import Namespace
from ...limiting import admit_lease
from ...logins import issue
from ...mounts import Mount
from ...request import CoreRequest
from ...wrapping import can_wrap, wrap
from ..profile import Profile
from ..store import new_id
from .factors import Credentials, Factors, Refused
from .records import Enforcement

if TYPE_CHECKING:
    from .enforced import Enforced

HEADER = "X-Vault-MFA"
VALID_SECONDS = 300
_KEPT, _KEPT_OF_ONE = 10_000, 20  # logins that wait: then the oldest of the same client is forgotten, or of all
_WARNING = (
    "A login request was issued that is subject to MFA validation. Please make sure to validate the login by sending "
    "another request to mfa/validate endpoint."
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A login whose first factor was right. ``path``: of its request, ``below`` the mount; ``role``: the one it is for,
    where a quota has to know; ``expires``: seconds since the epoch."""

    id: str
    namespace: Namespace
    mount: Mount
    path: str
    below: str
    auth: Auth = field(repr=False)
    entity_id: str
    role: str
    expires: float
    warnings: Sequence[str]

    def is_of(self, other: Pending) -> bool:
        """Whether both are logins of the same client."""
        return (self.entity_id, self.auth.alias_name, self.mount.entry.accessor) == (
            other.entity_id, other.auth.alias_name, other.mount.entry.accessor,
        )  # fmt: skip


class LoginMfa:
    """The logins of all namespaces that need second factors. ``enforced``: which do."""

    def __init__(self, enforced: Enforced, clock: Clock) -> None:
        self._enforced = enforced
        self._clock = clock
        self._pending: dict[str, Pending] = {}
        self._factors = Factors(clock)

    async def begin(
        self,
        req: CoreRequest,
        response: Response,
        auth: Auth,
        profile: Profile | None,
        role: str,
        needed: Sequence[Enforcement],
    ) -> None:
        """Hold back the token of a login until it has satisfied ``needed``; raises InvalidRequest."""
        pending = Pending(
            new_id(), req.node.namespace, req.mount, req.incoming.path, req.path, auth,
            "" if profile is None else profile.id, role, self._clock.time() + VALID_SECONDS, response.warnings,
        )  # fmt: skip
        if credentials := _of_header(req.incoming.headers):
            response.auth, response.bare = None, True  # nothing to wrap before there is a token

            async def finish() -> None:
                try:
                    await self._finish(req, response, pending, credentials)
                except Refused:
                    raise PermissionDenied from None

            req.after_commit.append(finish)
            return
        constraints: dict[str, Any] = {}
        for enforcement in needed:
            name = enforcement.name
            while name in constraints:  # of a namespace above, with a name that is also here
                name += "'"
            constraints[name] = {"any": [await self._told(req, id_) for id_ in enforcement.mfa_method_ids]}
        response.auth = _wire({"mfa_request_id": pending.id, "mfa_constraints": constraints})
        response.warnings = [*response.warnings, _WARNING]
        req.on_commit(lambda: self._keep(pending))

    async def _told(self, req: CoreRequest, id_: str) -> dict[str, Any]:
        """A method, to whoever is to use it."""
        found = await self._enforced.method(req.root, req.node.namespace, id_)
        if found is None:
            return {"type": "", "id": id_}
        method = found[1]
        told: dict[str, Any] = {"type": method.kind, "id": id_}
        if method.settings.uses_passcode:
            told["uses_passcode"] = True
        if method.name:
            told["name"] = method.name
        return told

    def _keep(self, pending: Pending) -> None:
        now = self._clock.time()
        for id_ in [id_ for id_, other in self._pending.items() if other.expires <= now]:
            del self._pending[id_]
        same = [id_ for id_, other in self._pending.items() if other.is_of(pending)]
        if len(same) >= _KEPT_OF_ONE:
            del self._pending[same[0]]
        elif len(self._pending) >= _KEPT:
            del self._pending[next(iter(self._pending))]
        self._pending[pending.id] = pending

    def validate(self, req: CoreRequest, request_id: str, credentials: Credentials) -> Response:
        """Finish, after the commit of ``req``, a login that waits; raises InvalidRequest when there is none."""
        pending = self._pending.get(request_id)
        if pending is None or pending.expires <= self._clock.time() or pending.namespace.id != req.node.namespace.id:
            raise InvalidRequest("invalid request ID")
        response = Response(warnings=pending.warnings, bare=True)

        async def finish() -> None:
            if self._pending.pop(request_id, None) is None:  # of several at once one has it
                raise InvalidRequest("invalid request ID")
            try:
                await self._finish(req, response, pending, credentials)
            except BaseException as error:
                self._pending[request_id] = pending
                if isinstance(error, Refused):
                    raise PermissionDenied(str(error)) from None
                raise

        req.after_commit.append(finish)
        return response

    async def _finish(self, req: CoreRequest, response: Response, pending: Pending, credentials: Credentials) -> None:
        """Put the token into ``response``, wrapped if that was asked for; raises Refused, PermissionDenied."""
        node, incoming = req.node, req.incoming
        mount = node.router.get(pending.mount.point)
        if mount is None or mount.entry.uuid != pending.mount.entry.uuid:
            raise PermissionDenied
        spent = await self._satisfied(req, pending, credentials)

        async def complete(txn: Transaction) -> Response:
            profile = await self._profile(lambda id_: node.identity.profile_in(txn, id_), pending)
            if profile is not None:
                await self._factors.spend(txn, node.identity.mfa, profile.id, spent)
            call = replace(req, path=pending.below, root=txn, mount=mount, on_commit=txn.on_commit)
            if node.core.quotas.limits_leases:
                await admit_lease(call)
            made = Response(warnings=response.warnings)
            await issue(call, made, pending.auth, profile, pending.role, pending.path)
            if incoming.wrap_ttl and can_wrap(made):
                return await wrap(node, txn, made, incoming.path, incoming.wrap_ttl, incoming.id)
            return made

        made = await node.store.run(complete)
        response.auth, response.warnings, response.wrap_info, response.bare = (
            made.auth, made.warnings, made.wrap_info, False
        )  # fmt: skip

    async def _profile(self, find: Callable[[str], Awaitable[Profile | None]], pending: Pending) -> Profile | None:
        """Of the entity of a login, None where that has none; raises PermissionDenied for one who may not log in."""
        if not pending.entity_id:
            return None
        profile = await find(pending.entity_id)
        if profile is None or profile.entity.disabled:
            raise PermissionDenied
        return profile

    async def _satisfied(self, req: CoreRequest, pending: Pending, credentials: Credentials) -> dict[str, int]:
        """What is to be spent for it (`Factors.spend`); raises Refused unless every enforcement is satisfied."""
        node = req.node
        profile = await self._profile(lambda id_: node.identity.profile(node.store, id_), pending)
        given = self._factors.of(node, profile, credentials, req.remote_address)
        for enforcement in self._enforced.needed(node.namespace, pending.mount, profile):
            wrong, missing = [], []
            for id_ in enforcement.mfa_method_ids:
                found = await self._enforced.method(node.store, node.namespace, id_)
                try:
                    if found is not None and await given.verify(found[1]):
                        break
                    missing.append(f"method ID {id_}, method name {found[1].name if found else ''}")
                except Refused as refused:
                    wrong.append(str(refused))
            else:
                raise Refused(_refusal(enforcement, wrong, missing))
        return given.spent


def _refusal(enforcement: Enforcement, wrong: Sequence[str], missing: Sequence[str]) -> str:
    """Why an enforcement is not satisfied: ``wrong`` factors if there were some, else those that are ``missing``."""
    if wrong:
        ids = " ".join(enforcement.mfa_method_ids)
        what = MultipleErrors(*wrong, f"login MFA validation failed for methodID: [{ids}]").args[0]
    else:
        absent = (f"failed to find MFA credentials associated with an MFA {method}" for method in missing)
        what = "failed to sanitize MFA creds, " + MultipleErrors(*absent).args[0]
    return f"failed to satisfy enforcement {enforcement.name}. error: {what}"


def _of_header(headers: Mapping[str, str]) -> Credentials:
    """What ``X-Vault-MFA`` gives, by id or name of the method: ``METHOD[:VALUE]``; raises InvalidRequest."""
    every = getattr(headers, "getall", None)
    lines: list[str] = every(HEADER, []) if every else [value] if (value := headers.get(HEADER)) else []
    found: dict[str, list[Any]] = {}
    for line in filter(None, lines):
        method, colon, value = line.partition(":")
        if not method or (colon and not value):
            what = "value" if method else "name or ID"
            raise InvalidRequest(
                f'failed to parse X-Vault-MFA header: invalid data in header "X-Vault-MFA"; missing method {what}'
            )
        found.setdefault(method, []).extend([value] if colon else [])
    return found


def _wire(requirement: dict[str, Any]) -> dict[str, Any]:
    """The ``auth`` of an answer that gives no token yet."""
    return {
        "client_token": "",
        "accessor": "",
        "policies": None,
        "metadata": None,
        "lease_duration": 0,
        "renewable": False,
        "entity_id": "",
        "token_type": "default",
        "orphan": False,
        "mfa_requirement": requirement,
        "num_uses": 0,
    }
