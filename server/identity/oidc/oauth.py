"""Errors as OAuth has them: ``error`` and ``error_description`` (RFC 6749 section 5.2, RFC 6750 section 3)."""

from __future__ import annotations

from ....framework import Response


class Refusal(Exception):
    """Raised within a handler, which answers with it: what the request has written until then is kept."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error

    def response(self, status: int = 400, headers: dict[str, str] | None = None, **more: str) -> Response:
        data = {"error": self.error, "error_description": str(self), **more}
        return Response(data=data, bare=True, status=status, headers=headers or {})
