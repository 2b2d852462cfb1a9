"""What is stored of login MFA, as frozen values. Times are seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import orjson

from ....framework.totp import Totp


@dataclass(frozen=True, slots=True)
class TotpSettings:
    """Codes of an authenticator app (RFC 6238). ``key_size``: bytes; ``qr_size``: pixels, 0 for no QR code."""

    kind: ClassVar[str] = "totp"
    uses_passcode: ClassVar[bool] = True

    issuer: str
    period: int = 30
    key_size: int = 20
    qr_size: int = 200
    algorithm: str = "SHA1"
    digits: int = 6
    skew: int = 1
    max_validation_attempts: int = 5

    def shown(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DuoSettings:
    kind: ClassVar[str] = "duo"

    secret_key: str = field(repr=False)
    integration_key: str
    api_hostname: str
    push_info: str = ""
    use_passcode: bool = False
    username_format: str = ""

    @property
    def uses_passcode(self) -> bool:
        return self.use_passcode

    def shown(self) -> dict[str, Any]:
        return {"api_hostname": self.api_hostname, "mount_accessor": "", "pushinfo": self.push_info,
                "use_passcode": self.use_passcode, "username_format": self.username_format}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OktaSettings:
    """``production``: the older way to name the address; None where ``base_url`` does."""

    kind: ClassVar[str] = "okta"
    uses_passcode: ClassVar[bool] = False

    org_name: str
    api_token: str = field(repr=False)
    base_url: str = "okta.com"
    production: bool | None = None
    primary_email: bool = False
    username_format: str = ""

    def shown(self) -> dict[str, Any]:
        where: dict[str, Any] = {"base_url": self.base_url} if self.production is None else {
            "production": self.production
        }  # fmt: skip
        return {**where, "mount_accessor": "", "org_name": self.org_name, "username_format": self.username_format}


@dataclass(frozen=True, slots=True)
class PingIdSettings:
    """The settings file of a PingID organisation. ``use_base64_key`` signs requests and answers."""

    kind: ClassVar[str] = "pingid"
    uses_passcode: ClassVar[bool] = False

    use_base64_key: str = field(default="", repr=False)
    use_signature: bool = False
    token: str = field(default="", repr=False)
    idp_url: str = ""
    org_alias: str = ""
    admin_url: str = ""
    authenticator_url: str = ""
    username_format: str = ""

    def shown(self) -> dict[str, Any]:
        return {"use_signature": self.use_signature, "idp_url": self.idp_url, "org_alias": self.org_alias,
                "admin_url": self.admin_url, "authenticator_url": self.authenticator_url}  # fmt: skip


Settings = TotpSettings | DuoSettings | OktaSettings | PingIdSettings
KINDS: dict[str, type[Settings]] = {cls.kind: cls for cls in (TotpSettings, DuoSettings, OktaSettings, PingIdSettings)}


@dataclass(frozen=True, slots=True)
class Method:
    """A way to give a second factor. ``name`` may be empty; it is unique in a namespace otherwise."""

    id: str
    name: str
    settings: Settings

    @property
    def kind(self) -> str:
        return self.settings.kind

    def dump(self) -> bytes:
        return orjson.dumps({"id": self.id, "name": self.name, "kind": self.kind, "settings": self.settings})

    @classmethod
    def load(cls, _: str, raw: bytes) -> Method:
        values = orjson.loads(raw)
        return cls(values["id"], values["name"], KINDS[values["kind"]](**values["settings"]))


TARGETS = ("auth_method_accessors", "auth_method_types", "identity_group_ids", "identity_entity_ids")
_LISTS = ("mfa_method_ids", *TARGETS)


@dataclass(frozen=True, slots=True)
class Enforcement:
    """Which logins need a second factor, by any one of these methods: those that one of the other lists is about."""

    id: str
    name: str
    mfa_method_ids: tuple[str, ...] = ()
    auth_method_accessors: tuple[str, ...] = ()
    auth_method_types: tuple[str, ...] = ()
    identity_group_ids: tuple[str, ...] = ()
    identity_entity_ids: tuple[str, ...] = ()

    def dump(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def load(cls, _: str, raw: bytes) -> Enforcement:
        values = orjson.loads(raw)
        for name in _LISTS:
            values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Secret:
    """The key of an entity for one TOTP method. ``used``: the period of the last code that was accepted."""

    totp: Totp = field(repr=False)
    used: int = -1

    def dump(self) -> bytes:
        return orjson.dumps(self)

    def spent(self, counter: int) -> Secret:
        return Secret(self.totp, counter)

    @classmethod
    def load(cls, raw: bytes) -> Secret:
        values = orjson.loads(raw)
        return cls(Totp(**values["totp"]), values["used"])
