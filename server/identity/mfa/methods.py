"""``identity/mfa/method``: the ways to give a second factor. Secrets of a method are never shown."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Annotated, Any

from ....framework import Field, NoParams, Params, Response, delete, list_, read, update
from ....framework.errors import InvalidRequest, NotFound
from ....framework.totp import ALGORITHMS, DIGITS
from ....framework.wire import SECONDS
from ...layout import Namespace
from ...request import CoreRequest
from ..base import IdentityRoutes
from ..entities import listing
from ..store import new_id
from . import pingid
from .records import DuoSettings, Method, OktaSettings, PingIdSettings, Settings, TotpSettings
from .store import MfaStore

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_LARGEST_KEY, _LARGEST_CODE = 128, 2000  # bytes; pixels


class MethodId(Params):
    method_id: Annotated[str, Field("Id of the method.")] = ""


class MethodParams(MethodId):
    method_name: Annotated[str, Field("A name of your own; the method of a name is changed when no id is given.")] = ""


class UserMethodParams(MethodParams):
    username_format: Annotated[str, Field(
        "Template of the user's name there, such as {{identity.entity.name}}@example.com; the name of the entity "
        "when empty.",
    )] = ""  # fmt: skip


class TotpParams(MethodParams):
    issuer: Annotated[str, Field("Who issues the codes, as apps show it.")] = ""
    period: Annotated[int, Field("How long a code is valid.", SECONDS)] = 30
    key_size: Annotated[int, Field("Size of keys in bytes.")] = 20
    qr_size: Annotated[int, Field("Width of QR codes in pixels; 0 for none.")] = 200
    algorithm: Annotated[str, Field("SHA1, SHA256 or SHA512.")] = "SHA1"
    digits: Annotated[int, Field("Digits of a code: 6 or 8.")] = 6
    skew: Annotated[int, Field("How many periods before and after are accepted too: 0 or 1.")] = 1
    max_validation_attempts: Annotated[int, Field("How many wrong codes in a row a user may give in a period.")] = 5


class DuoParams(UserMethodParams):
    secret_key: Annotated[str, Field("Secret key.", sensitive=True)] = ""
    integration_key: Annotated[str, Field("Integration key.")] = ""
    api_hostname: Annotated[str, Field("Host of the API.")] = ""
    push_info: Annotated[str, Field("What to show with a push, in the form of a URL's query.")] = ""
    use_passcode: Annotated[bool, Field("Whether users give a passcode instead of confirming a push.")] = False


class OktaParams(UserMethodParams):
    org_name: Annotated[str, Field("Name of the organisation: first part of its host.")] = ""
    api_token: Annotated[str, Field("API token.", sensitive=True)] = ""
    base_url: Annotated[str, Field("The rest of its host: okta.com, oktapreview.com or okta-emea.com.")] = ""
    production: Annotated[bool, Field("Older than base_url: okta.com, or oktapreview.com.", deprecated=True)] = True
    primary_email: Annotated[bool, Field("Whether names of users are their primary e-mail addresses.")] = False


class PingIdParams(UserMethodParams):
    settings_file_base64: Annotated[str, Field("The settings file of PingID, in base64.", sensitive=True)] = ""


class MethodRoutes(IdentityRoutes):
    # What all kinds share

    @read("mfa/method[/{method_id}]")
    async def read_mfa_method(self, req: CoreRequest, p: MethodId) -> dict[str, Any]:
        """Read a method of any type."""
        return await _read(req, p, "")

    @list_("mfa/method")
    async def list_mfa_methods(self, req: CoreRequest, p: NoParams) -> Response:
        """List methods of all types, those of the namespaces above too."""
        return await _list(req, "")

    # TOTP

    @read("mfa/method/totp[/{method_id}]")
    async def read_totp_method(self, req: CoreRequest, p: MethodId) -> dict[str, Any]:
        """Read a TOTP method."""
        return await _read(req, p, "totp")

    @update("mfa/method/totp[/{method_id}]")
    async def write_totp_method(self, req: CoreRequest, p: TotpParams) -> dict[str, Any] | None:
        """Create a TOTP method, or replace the one of the given id or name.

        Users that have a key keep it as it is.
        """
        return await _save(req, p, _totp(p))

    @delete("mfa/method/totp[/{method_id}]")
    async def delete_totp_method(self, req: CoreRequest, p: MethodId) -> None:
        """Delete a TOTP method that no enforcement uses, and the keys of its users."""
        await _delete(req, p, "totp")

    @list_("mfa/method/totp")
    async def list_totp_methods(self, req: CoreRequest, p: NoParams) -> Response:
        """List TOTP methods."""
        return await _list(req, "totp")

    # Duo

    @read("mfa/method/duo[/{method_id}]")
    async def read_duo_method(self, req: CoreRequest, p: MethodId) -> dict[str, Any]:
        """Read a Duo method."""
        return await _read(req, p, "duo")

    @update("mfa/method/duo[/{method_id}]")
    async def write_duo_method(self, req: CoreRequest, p: DuoParams) -> dict[str, Any] | None:
        """Create a Duo method, or replace the one of the given id or name."""
        for name in ("secret_key", "integration_key", "api_hostname"):
            if not getattr(p, name):
                raise InvalidRequest(f"{name} is empty")
        if not _HOST.fullmatch(p.api_hostname):
            raise InvalidRequest("api_hostname must be the name of a host")
        return await _save(req, p, DuoSettings(**_given(p, DuoSettings)))

    @delete("mfa/method/duo[/{method_id}]")
    async def delete_duo_method(self, req: CoreRequest, p: MethodId) -> None:
        """Delete a Duo method that no enforcement uses."""
        await _delete(req, p, "duo")

    @list_("mfa/method/duo")
    async def list_duo_methods(self, req: CoreRequest, p: NoParams) -> Response:
        """List Duo methods."""
        return await _list(req, "duo")

    # Okta

    @read("mfa/method/okta[/{method_id}]")
    async def read_okta_method(self, req: CoreRequest, p: MethodId) -> dict[str, Any]:
        """Read an Okta method."""
        return await _read(req, p, "okta")

    @update("mfa/method/okta[/{method_id}]")
    async def write_okta_method(self, req: CoreRequest, p: OktaParams) -> dict[str, Any] | None:
        """Create an Okta method, or replace the one of the given id or name."""
        for name in ("org_name", "api_token"):
            if not getattr(p, name):
                raise InvalidRequest(f"{name} must be set")
        values = _given(p, OktaSettings)
        if "production" not in p.given or p.base_url:
            values["production"] = None
        values["base_url"] = p.base_url or ("okta.com" if values["production"] in (None, True) else "oktapreview.com")
        if not _HOST.fullmatch(f"{p.org_name}.{values['base_url']}"):
            raise InvalidRequest("error parsing given base_url: with org_name before it, it must be the name of a host")
        return await _save(req, p, OktaSettings(**values))

    @delete("mfa/method/okta[/{method_id}]")
    async def delete_okta_method(self, req: CoreRequest, p: MethodId) -> None:
        """Delete an Okta method that no enforcement uses."""
        await _delete(req, p, "okta")

    @list_("mfa/method/okta")
    async def list_okta_methods(self, req: CoreRequest, p: NoParams) -> Response:
        """List Okta methods."""
        return await _list(req, "okta")

    # PingID

    @read("mfa/method/pingid[/{method_id}]")
    async def read_pingid_method(self, req: CoreRequest, p: MethodId) -> dict[str, Any]:
        """Read a PingID method."""
        return await _read(req, p, "pingid")

    @update("mfa/method/pingid[/{method_id}]")
    async def write_pingid_method(self, req: CoreRequest, p: PingIdParams) -> dict[str, Any] | None:
        """Create a PingID method, or replace the one of the given id or name."""
        values = pingid.parse_settings(p.settings_file_base64)
        return await _save(req, p, PingIdSettings(**values, username_format=p.username_format))

    @delete("mfa/method/pingid[/{method_id}]")
    async def delete_pingid_method(self, req: CoreRequest, p: MethodId) -> None:
        """Delete a PingID method that no enforcement uses."""
        await _delete(req, p, "pingid")

    @list_("mfa/method/pingid")
    async def list_pingid_methods(self, req: CoreRequest, p: NoParams) -> Response:
        """List PingID methods."""
        return await _list(req, "pingid")


def _given(p: MethodParams, settings: type[Settings]) -> dict[str, Any]:
    return {f.name: getattr(p, f.name) for f in fields(settings)}


def _totp(p: TotpParams) -> TotpSettings:
    """Raises InvalidRequest."""
    settings = TotpSettings(**_given(p, TotpSettings) | {"max_validation_attempts": p.max_validation_attempts or 5})
    for wrong, problem in (
        (not p.issuer, "issuer must be set"),
        (p.period <= 0, "period must be greater than zero"),
        (p.key_size <= 0, "key_size must be greater than zero"),
        (p.key_size > _LARGEST_KEY, f"key_size must be at most {_LARGEST_KEY}"),
        (not 0 <= p.qr_size <= _LARGEST_CODE, f"qr_size must be 0 to {_LARGEST_CODE}"),
        (p.algorithm not in ALGORITHMS, "unrecognized algorithm"),
        (p.digits not in DIGITS, "digits can only be 6 or 8"),
        (p.skew not in (0, 1), "skew must be 0 or 1"),
        (p.max_validation_attempts < 0, "max_validation_attempts must be greater than zero"),
    ):
        if wrong:
            raise InvalidRequest(problem)
    return settings


async def _save(req: CoreRequest, p: MethodParams, settings: Settings) -> dict[str, Any] | None:
    store, by_path = req.node.identity.mfa, req.path.count("/") > 2  # an id in the body only means nothing
    old = await store.method(req.root, p.method_id) if by_path else None
    if by_path and old is None:
        raise NotFound
    named = await store.named(req.root, p.method_name) if p.method_name else None
    if old is not None and named is not None and named.id != old.id:
        raise InvalidRequest(f"a login MFA method configuration with the method name {p.method_name} already exists")
    old = old or named
    if old is not None and old.kind != settings.kind:
        raise InvalidRequest(f"the method is of type {old.kind}, which cannot be changed")
    if old is not None and not isinstance(settings, TotpSettings) and "username_format" not in p.given:
        settings = replace(settings, username_format=getattr(old.settings, "username_format", ""))
    name = p.method_name or ("" if old is None else old.name)
    method = Method(new_id() if old is None else old.id, name, settings)
    store.put_method(req.root, method)
    return None if by_path else {"method_id": method.id}


async def _read(req: CoreRequest, p: MethodId, kind: str) -> dict[str, Any]:
    if not p.method_id:
        raise InvalidRequest("missing method ID")
    found = await req.node.namespaces.mfa.method(req.root, req.node.namespace, p.method_id)
    if found is None:
        raise NotFound
    namespace, method = found
    if kind not in ("", method.kind):
        raise InvalidRequest(f"failed to find the method ID under MFA type {kind}.")
    return _shown(namespace, method)


async def _list(req: CoreRequest, kind: str) -> Response:
    info = {}
    for namespace, store in req.node.namespaces.mfa.above(req.node.namespace):
        for method in await store.methods(req.root):
            if kind in ("", method.kind):
                info[method.id] = _shown(namespace, method)
    return listing(info)


async def _delete(req: CoreRequest, p: MethodId, kind: str) -> None:
    if not p.method_id:
        raise InvalidRequest("missing method ID")
    node, store = req.node, req.node.identity.mfa
    method = await store.method(req.root, p.method_id)
    if method is None:
        return
    if method.kind != kind:
        raise InvalidRequest(f"failed to find the method ID under MFA type {kind}.")
    below = [node.namespace, *node.namespaces.below(node.namespace, deep=True)]
    stores = [MfaStore(each.prefix) for each in below if not each.tainted]
    for each in stores:
        for enforcement in await each.enforcements(req.root):
            if method.id in enforcement.mfa_method_ids:
                raise InvalidRequest(
                    f"methodID is still used by an enforcement configuration with ID: {enforcement.id}"
                )
    store.delete_method(req.root, method.id)

    async def forget_secrets() -> None:
        for each in stores:
            await node.clear(each.secrets_of(method.id))

    req.after_commit.append(forget_secrets)


def _shown(namespace: Namespace, method: Method) -> dict[str, Any]:
    return {"id": method.id, "name": method.name, "namespace_id": namespace.id, "namespace_path": namespace.path,
            "type": method.kind, **method.settings.shown()}  # fmt: skip
