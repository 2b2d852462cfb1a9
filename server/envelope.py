"""The JSON object around every answer."""

from __future__ import annotations

from typing import Any

from ..framework import Response
from ..framework.clock import rfc3339


def is_empty(response: Response) -> bool:
    """Whether a response has nothing to say, and so is a 204."""
    return (
        response.data is None
        and not response.auth
        and not response.warnings
        and response.wrap_info is None
        and not response.lease_id
        and response.status in (0, 204)
    )


def envelope(response: Response, request_id: str) -> dict[str, Any]:
    """The answer as clients of Vault parse it; of a wrapped response only where to fetch it."""
    wrap = response.wrap_info
    if wrap is None:
        return {
            "request_id": request_id,
            "lease_id": response.lease_id,
            "renewable": response.renewable,
            "lease_duration": response.lease_duration,
            "data": response.data,
            "wrap_info": None,
            "warnings": response.warnings or None,
            "auth": response.auth,
            "mount_type": response.mount_type,
        }
    info = {
        "token": wrap.token,
        "accessor": wrap.accessor,
        "ttl": wrap.ttl,
        "creation_time": rfc3339(wrap.creation_time),
        "creation_path": wrap.creation_path,
    }
    if wrap.wrapped_accessor:
        info["wrapped_accessor"] = wrap.wrapped_accessor
    return {
        "request_id": "",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": None,
        "wrap_info": info,
        "warnings": response.warnings or None,
        "auth": None,
        "mount_type": "",
    }
