"""The ``token_*`` settings that every auth method has: what the tokens of its logins are like.

    class UserParams(TokenParams, old=("policies", "ttl")):
        username: Annotated[str, Field("Name of the user.")]

takes ``token_policies`` and, from older clients, ``policies``. What a method keeps of them is a `TokenSettings`:

    settings = old_settings.changed(p, req.data)     # a write; only what was given is changed
    shown = settings.wire()                          # a read
    return settings.auth(req.remote_address, ...)    # a login
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Self

from .cidr import address_in, check_cidrs, shown_cidrs
from .errors import InvalidRequest
from .messages import NOTHING, Auth
from .params import Field, Params
from .wire import SECONDS

_TYPES = ("default", "service", "batch")


class TokenParams(Params):
    """Base of parameter classes that write the ``token_*`` settings; ``old``: those whose name without the
    prefix, which they once had, is still accepted."""

    old_names: ClassVar[tuple[str, ...]] = ()

    token_bound_cidrs: Annotated[list[str], Field("Where one may log in and use the tokens from.")] = field(
        default_factory=list
    )
    token_explicit_max_ttl: Annotated[int, Field("Longest life of a token, whatever is renewed.", SECONDS)] = 0
    token_max_ttl: Annotated[int, Field("Longest life of a token that is renewed.", SECONDS)] = 0
    token_no_default_policy: Annotated[bool, Field("Leave the default policy out.")] = False
    token_num_uses: Annotated[int, Field("How often a token can be used; 0 is without limit.")] = 0
    token_period: Annotated[int, Field("Make tokens periodic: each renewal gives this much.", SECONDS)] = 0
    token_policies: Annotated[list[str], Field("Policies of the tokens.")] = field(default_factory=list)
    token_strictly_bind_ip: Annotated[bool, Field("Bind a token to the address that the login came from.")] = False
    token_ttl: Annotated[int, Field("How long a token lives at first.", SECONDS)] = 0
    token_type: Annotated[str, Field("Kind of token: service, batch, or default, which the mount decides.")] = "default"

    def __init_subclass__(cls, old: tuple[str, ...] = ()) -> None:
        super().__init_subclass__()
        cls.old_names = old or cls.old_names
        for name in cls.old_names:
            spec = cls.specs[f"token_{name}"]
            cls.specs[spec.name] = replace(spec, field=replace(spec.field, aliases=(name,)))
            cls._known[spec.name] = cls._known[name] = cls.specs[spec.name]


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """The settings as stored; lifetimes in seconds. ``old_names``: those given without their prefix."""

    token_bound_cidrs: tuple[str, ...] = ()
    token_explicit_max_ttl: int = 0
    token_max_ttl: int = 0
    token_no_default_policy: bool = False
    token_num_uses: int = 0
    token_period: int = 0
    token_policies: tuple[str, ...] = ()
    token_strictly_bind_ip: bool = False
    token_ttl: int = 0
    token_type: str = "default"
    old_names: tuple[str, ...] = ()

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Self:
        """From the decoded JSON of ``orjson.dumps(settings)``."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        return cls(**values)

    def changed(self, p: TokenParams, data: Mapping[str, Any]) -> Self:
        """With what a request gives (``data``: its body, which tells by what name); raises InvalidRequest."""
        changes: dict[str, Any] = {
            name: tuple(value) if isinstance(value := getattr(p, name), list) else value
            for name in TokenParams.specs.keys() & p.given
        }
        old = set(self.old_names)
        for name in p.old_names:
            full = f"token_{name}"
            if full in data and name not in data:
                old.discard(name)
            elif name in data:
                old.add(name)
                if name == "policies" and full not in data:
                    changes[full] = tuple(sorted({policy.lower() for policy in p.token_policies}))
        new = replace(self, **changes, old_names=tuple(sorted(old)))
        new._check()
        return new

    def _check(self) -> None:
        check_cidrs(self.token_bound_cidrs)
        if self.token_strictly_bind_ip and self.token_bound_cidrs:
            raise InvalidRequest("'token_strictly_bind_ip' conflicts with 'token_bound_cidrs'; set only one")
        if self.token_type not in _TYPES:
            raise InvalidRequest(f"invalid 'token_type' value \"{self.token_type[:64]}\"")
        if self.token_type == "batch":
            for value, what in ((self.token_period, "periodic tokens"),
                                (self.token_num_uses, "tokens with limited use count")):  # fmt: skip
                if value:
                    raise InvalidRequest(
                        f"'token_type' cannot be 'batch' or 'default_batch' when set to generate {what}"
                    )
        if self.token_max_ttl and self.token_ttl > self.token_max_ttl:
            raise InvalidRequest("'token_ttl' cannot be greater than 'token_max_ttl'")
        if self.token_num_uses < 0:
            raise InvalidRequest("'token_num_uses' cannot be negative")

    def wire(self) -> dict[str, Any]:
        """As a read shows them."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        shown["token_bound_cidrs"] = shown_cidrs(self.token_bound_cidrs)
        for name in self.old_names:
            if value := shown[f"token_{name}"]:
                shown[name] = value
        return shown

    def allows(self, address: str) -> bool:
        """Whether one may log in from ``address``."""
        return not self.token_bound_cidrs or address_in(address, self.token_bound_cidrs)

    def auth(
        self,
        address: str,
        *,
        display_name: str = "",
        meta: Mapping[str, str] = NOTHING,
        alias_name: str = "",
        alias_meta: Mapping[str, str] = NOTHING,
        internal: Mapping[str, Any] = NOTHING,
    ) -> Auth:
        """What a login from ``address`` is worth."""
        return Auth(
            list(self.token_policies),
            display_name=display_name,
            meta=meta,
            ttl=self.token_ttl,
            max_ttl=self.token_max_ttl,
            explicit_max_ttl=self.token_explicit_max_ttl,
            period=self.token_period,
            num_uses=self.token_num_uses,
            bound_cidrs=[address] if self.token_strictly_bind_ip else list(self.token_bound_cidrs),
            token_type=self.token_type,
            no_default_policy=self.token_no_default_policy,
            alias_name=alias_name,
            alias_meta=alias_meta,
            internal=internal,
        )

    def renewed(self, auth: Auth, *, whatever_policies: bool = False) -> Auth:
        """A login's worth at its renewal: the lifetimes of now. Raises InvalidRequest when the policies that it
        was given are no longer those of now, unless ``whatever_policies``."""
        given = {name.lower().strip() for name in self.token_policies} - {"default"}
        if not whatever_policies and given != set(auth.policies) - {"default"}:
            raise InvalidRequest("policies have changed, not renewing")
        return dataclasses.replace(
            auth, ttl=self.token_ttl, max_ttl=self.token_max_ttl, period=self.token_period,
            explicit_max_ttl=self.token_explicit_max_ttl,
        )  # fmt: skip


_NAMES = tuple(f.name for f in fields(TokenSettings) if f.name != "old_names")
