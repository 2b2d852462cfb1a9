"""``sys/mfa/validate``: the second phase of a login that needs a second factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from ...framework import Field, Params, Response, update
from ...framework.errors import InvalidRequest
from ...framework.wire import MAP
from ..request import CoreRequest
from .base import SystemRoutes


class ValidateParams(Params):
    mfa_request_id: Annotated[str, Field("Request id that the login was answered with.")] = ""
    mfa_payload: Annotated[Mapping[str, Any], Field(
        "By id of a method a list of its passcode; an empty list confirms elsewhere.", MAP, sensitive=True,
    )] = field(default_factory=dict)  # fmt: skip


class MfaRoutes(SystemRoutes):
    """Login MFA."""

    @update("mfa/validate", auth=False)
    async def validate_mfa(self, req: CoreRequest, p: ValidateParams) -> Response:
        """Give the second factors of a login, and get its token.

        A login that fails here can be tried again with the same request id for five minutes.
        """
        if not p.mfa_request_id:
            raise InvalidRequest("missing request ID")
        if not all(isinstance(values, list) for values in p.mfa_payload.values()):
            raise InvalidRequest("invalid mfa payload")
        return req.node.namespaces.mfa.logins.validate(req, p.mfa_request_id, p.mfa_payload)
