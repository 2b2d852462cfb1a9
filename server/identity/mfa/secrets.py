"""``identity/mfa/method/totp/generate``, ``admin-generate`` and ``admin-destroy``: the keys of TOTP users."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from ....framework import Field, Params, Response, update
from ....framework.errors import InvalidRequest
from ....framework.totp import Totp, barcode
from ...request import CoreRequest
from ..base import IdentityRoutes
from .records import Method, Secret, TotpSettings


class GenerateParams(Params):
    method_id: Annotated[str, Field("Id of the TOTP method.")] = ""


class AdminParams(GenerateParams):
    entity_id: Annotated[str, Field("Id of the entity.")] = ""


class SecretRoutes(IdentityRoutes):
    @update("mfa/method/totp/generate")
    async def generate_totp(self, req: CoreRequest, p: GenerateParams) -> Response:
        """Make a key for whoever asks, and show it this once: as a URL and as a QR code."""
        return await _generate(req, p.method_id, req.caller.entity_id)

    @update("mfa/method/totp/admin-generate")
    async def admin_generate_totp(self, req: CoreRequest, p: AdminParams) -> Response:
        """Make a key for an entity, and show it this once: as a URL and as a QR code."""
        return await _generate(req, p.method_id, p.entity_id)

    @update("mfa/method/totp/admin-destroy")
    async def admin_destroy_totp(self, req: CoreRequest, p: AdminParams) -> None:
        """Delete the key of an entity, so that a new one can be made."""
        if p.method_id and not p.entity_id:
            raise InvalidRequest("missing entity ID")
        method, entity_id = await _user(req, p.method_id, p.entity_id)
        req.node.identity.mfa.delete_secret(req.root, method.id, entity_id)


async def _generate(req: CoreRequest, method_id: str, entity_id: str) -> Response:
    if method_id and not entity_id:
        raise InvalidRequest("missing entityID")
    method, entity_id = await _user(req, method_id, entity_id)
    store, settings = req.node.identity.mfa, method.settings
    assert isinstance(settings, TotpSettings)
    if await store.secret(req.root, method.id, entity_id) is not None:
        return Response(warnings=[f'Entity already has a secret for MFA method "{method.name}"'])
    totp = Totp.new(settings.key_size, period=settings.period, digits=settings.digits, algorithm=settings.algorithm,
                    skew=settings.skew)  # fmt: skip
    data: dict[str, Any] = {"barcode": "", "url": totp.url(settings.issuer, entity_id)}
    warnings = []
    if settings.qr_size:
        try:
            data["barcode"] = await asyncio.to_thread(barcode, data["url"], settings.qr_size)
        except ImportError:
            warnings = ["There is no QR code: the server lacks what makes them. Install caveau[mfa] there."]
        except ValueError:
            raise InvalidRequest("the issuer is too long for a QR code; set qr_size to 0 to go without") from None
    store.put_secret(req.root, method.id, entity_id, Secret(totp))
    return Response(data=data, warnings=warnings)


async def _user(req: CoreRequest, method_id: str, entity_id: str) -> tuple[Method, str]:
    """The TOTP method and the id of the entity; raises InvalidRequest."""
    if not method_id:
        raise InvalidRequest("missing method ID")
    found = await req.node.namespaces.mfa.method(req.root, req.node.namespace, method_id)
    entity = await req.node.identity.entity(req.root, entity_id)
    if entity is None:
        raise InvalidRequest("invalid entity ID")
    if found is None or found[1].kind != "totp":
        raise InvalidRequest(f'configuration for method ID "{method_id[:64]}" does not exist')
    return found[1], entity.id
