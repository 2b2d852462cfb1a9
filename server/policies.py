"""ACL policies as stored objects, and the compiled ACL of a token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

import orjson

from ..framework.clock import Clock
from ..framework.errors import InvalidRequest
from ..framework.memo import Memo
from ..framework.metrics import Timing
from ..framework.storage import ReadView, View
from ..storage.store import Store, Transaction, Watch, unchanged
from .agenda import Agenda
from .identity import Profile
from .layout import ROOT
from .lease_index import escape, unescape
from .policy import ACL, Policy, builtin, parse_policy

RESERVED = ("response-wrapping", "control-group")
"""Policies that the server gives to tokens of its own; nobody can write or assign them."""

POLICY_KIND = "policy"
"""Of the entries that end policies."""

_ACL_LIMIT, _ACLS_OF_ONE = 10_000, 16  # those without an identity, and those of each


Compiled = tuple[ACL, list[tuple[str, bytes | None]], Watch]
"""An ACL and the stored policies that it was made of."""


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy's text, exactly as written, and its parsed form.

    ``version`` counts its writes, the last of which was at ``modified`` (seconds since the epoch); both are 0 for
    what is built in. ``cas_required``: the next write has to name the version that it replaces.
    """

    text: str
    policy: Policy
    version: int = 0
    modified: float = 0.0
    cas_required: bool = False


class PolicyStore:
    """The ACL policies of one namespace; ``prefix`` is that of its storage keys. ``gets``: how long finding takes."""

    def __init__(self, prefix: str, clock: Clock, gets: Timing, agenda: Agenda) -> None:
        self._namespace = prefix
        self._prefix = f"{prefix}sys/policy/"
        self._clock = clock
        self._gets = gets
        self._agenda = agenda
        self._parsed = Memo(_decode)
        self._compiled: dict[tuple[str, ...], Compiled] = {}
        self._fixed = {
            name: StoredPolicy(text, parse_policy(name, text))
            for name, text in (
                ("root", builtin.ROOT),
                ("response-wrapping", builtin.RESPONSE_WRAPPING),
                ("control-group", builtin.CONTROL_GROUP),
            )
        }
        if prefix != ROOT.prefix:  # whoever may do everything, may do it everywhere
            del self._fixed["root"]

    async def names(self, view: ReadView, prefix: str = "") -> list[str]:
        """Names of the policies that begin with ``prefix``; ``root``, which has no text and is only in the root
        namespace, comes last."""
        names = [unescape(name) for name in await view.list(self._prefix)]
        return [name for name in [*names, *self._fixed.keys() & {"root"}] if name.startswith(prefix)]

    async def get(self, view: ReadView, name: str) -> StoredPolicy | None:
        if name in self._fixed:
            return self._fixed[name]
        began = perf_counter()
        stored = await self._stored(view, name)
        self._gets.observe(perf_counter() - began)
        return None if stored is None or self._is_over(stored.policy) else stored

    async def _stored(self, view: ReadView, name: str) -> StoredPolicy | None:
        raw = await view.get(self._key(name))
        return None if raw is None else self._parsed(name, raw)

    def _is_over(self, policy: Policy) -> bool:
        return policy.expiration is not None and policy.expiration <= self._clock.time()

    def _key(self, name: str) -> str:
        """Where a policy is stored. A name may have slashes, and is no folder for that."""
        if "/" in name or "%" in name:
            name = escape(name)
        return self._prefix + name

    async def put(
        self,
        view: View,
        name: str,
        text: str,
        *,
        cas: int | None = None,
        cas_required: bool = False,
        expiration: float | None = None,
        template_slashes: bool = False,
        template_wildcards: bool = False,
    ) -> Policy:
        """Store a policy; raises InvalidRequest when it cannot be parsed, may not be written, or is not of the
        version ``cas`` (-1: not there)."""
        if name == "root":
            raise InvalidRequest('cannot update "root" policy')
        if name in RESERVED:
            raise InvalidRequest(f'cannot update "{name}" policy')
        settings: dict[str, Any] = {
            "template_slashes": template_slashes,
            "template_wildcards": template_wildcards,
            "expiration": expiration,
        }
        policy = parse_policy(name, text, **settings)
        if self._is_over(policy):
            raise InvalidRequest("refusing to update policy as expiration time has already elapsed")
        old = await self._stored(view, name)
        current = old if old is not None and not self._is_over(old.policy) else None
        _check_version(current, cas, cas_required)
        self._drop_end(view, name, old)
        version = current.version + 1 if current is not None else 1
        about = {"version": version, "modified": self._clock.time(), "cas_required": cas_required, **settings}
        view.put(self._key(name), orjson.dumps({"text": text, **{key: value for key, value in about.items() if value}}))
        if expiration is not None:
            self._agenda.add(view, self._namespace, expiration, POLICY_KIND, escape(name))
        return policy

    async def delete(self, view: View, name: str) -> None:
        if name == "default":
            raise InvalidRequest("cannot delete default policy")
        if name in ("root", *RESERVED):
            raise InvalidRequest(f'cannot delete "{name}" policy')
        self._drop_end(view, name, await self._stored(view, name))
        view.delete(self._key(name))

    def _drop_end(self, view: View, name: str, stored: StoredPolicy | None) -> None:
        if stored is not None and stored.policy.expiration is not None:
            self._agenda.remove(view, self._namespace, stored.policy.expiration, POLICY_KIND, escape(name))

    async def expire(self, txn: Transaction, id_: str) -> None:
        """Delete the policy of an entry that is due, unless it lives on."""
        name = unescape(id_)
        stored = await self._stored(txn, name)
        if stored is not None and self._is_over(stored.policy):
            txn.delete(self._key(name))

    def at_hand(self, own: tuple[str, ...]) -> ACL | None:
        """What ``acl`` gives without a profile, if that is known: without a coroutine."""
        known = self._compiled.get(own)
        return known[0] if known is not None and self._holds(known) else None

    async def acl(self, store: Store, own: tuple[str, ...], profile: Profile | None = None) -> ACL:
        """The ACL of a token with the policies ``own`` and those of its entity's profile.

        Compiled once for as long as they stay the same; what depends on a profile ends with it.
        """
        compiled: dict[tuple[str, ...], Compiled] = self._compiled if profile is None else profile.compiled
        known = compiled.get(own)
        if known is not None and self._holds(known):
            return known[0]
        names = own if profile is None or not profile.policies else tuple(dict.fromkeys(own + profile.policies))
        began = perf_counter()
        stored = [(key, await store.get(key)) for key in map(self._key, names)]
        self._gets.observe(perf_counter() - began)
        if known is not None and stored == known[1] and not self._expired(known[0]):
            acl = known[0]  # the same, and no longer in the cache
        else:
            found = [
                self._fixed.get(name) or (raw and self._parsed(name, raw))
                for name, (_, raw) in zip(names, stored, strict=True)
            ]
            acl = ACL([each.policy for each in found if each], profile, now=self._clock.time())
            if len(compiled) >= (_ACL_LIMIT if profile is None else _ACLS_OF_ONE):
                compiled.clear()
        compiled[own] = acl, stored, store.watch(stored)
        return acl

    def _holds(self, known: Compiled) -> bool:
        return unchanged(known[2]) and not self._expired(known[0])

    def _expired(self, acl: ACL) -> bool:
        return acl.expires_at is not None and acl.expires_at <= self._clock.time()


def _decode(name: str, raw: bytes) -> StoredPolicy:
    settings = orjson.loads(raw)
    text = settings.pop("text")
    about = {key: settings.pop(key) for key in ("version", "modified", "cas_required") if key in settings}
    return StoredPolicy(text, parse_policy(name, text, **settings), **about)


def _check_version(stored: StoredPolicy | None, cas: int | None, cas_required: bool) -> None:
    if cas is None:
        if cas_required or (stored is not None and stored.cas_required):
            raise InvalidRequest("check-and-set parameter required for this call")
    elif cas == -1:
        if stored is not None:
            raise InvalidRequest("check-and-set parameter set to -1 on existing entry")
    elif cas != (version := 0 if stored is None else stored.version):
        raise InvalidRequest(f"check-and-set parameter {cas} did not match the current version {version}")


def normalise(names: Iterable[str], *, default: bool) -> tuple[str, ...]:
    """Policy names as tokens carry them: lower case, trimmed, sorted, each once, ``default`` added
    when asked for; ``root`` stands alone."""
    return _normalised(tuple(names), default)


@lru_cache(1024)  # those of a role are the same at every login
def _normalised(names: tuple[str, ...], default: bool) -> tuple[str, ...]:
    wanted = {name for raw in names if (name := raw.strip().lower())}
    if "root" in wanted:
        return ("root",)
    if default:
        wanted.add("default")
    return tuple(sorted(wanted))
