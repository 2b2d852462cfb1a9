"""hvac on limits: quotas of the request rate, and what it makes of a refusal."""

from __future__ import annotations

import hvac
import pytest
from hvac.exceptions import InvalidPath, InvalidRequest, RateLimitExceeded


def test_a_quota_from_creation_to_deletion(root: hvac.Client, name: str) -> None:
    root.sys.enable_secrets_engine("kv", path=name, options={"version": "1"})
    root.sys.create_or_update_quota(name, rate=1000.5, path=name, interval="10s", block_interval="20s")
    data = root.sys.read_quota(name)["data"]
    assert (data["name"], data["path"], data["rate"]) == (name, f"{name}/", 1000.5)
    assert (data["interval"], data["block_interval"], data["type"]) == (10, 20, "rate-limit")
    assert name in root.sys.list_quotas()["data"]["keys"]
    root.sys.delete_quota(name)
    with pytest.raises(InvalidPath):
        root.sys.read_quota(name)


def test_a_request_too_many(root: hvac.Client, name: str) -> None:
    root.sys.enable_secrets_engine("kv", path=name, options={"version": "1"})
    root.sys.create_or_update_quota(name, rate=3, path=f"{name}/a*", interval="1h")
    root.secrets.kv.v1.create_or_update_secret("ab", {"x": 1}, mount_point=name)  # looks first whether it exists
    assert root.secrets.kv.v1.read_secret("ab", mount_point=name)["data"] == {"x": 1}
    with pytest.raises(RateLimitExceeded, match="rate limit quota exceeded"):
        root.secrets.kv.v1.read_secret("ab", mount_point=name)
    with pytest.raises(InvalidPath):
        root.secrets.kv.v1.read_secret("b", mount_point=name)
    root.sys.delete_quota(name)
    assert root.secrets.kv.v1.read_secret("ab", mount_point=name)["data"] == {"x": 1}


def test_what_is_refused(root: hvac.Client, name: str) -> None:
    for rate, path, role in ((0, "", None), (1000, f"{name}/", None), (1000, "auth/token", "r")):
        with pytest.raises(InvalidRequest):
            root.sys.create_or_update_quota(name, rate=rate, path=path, role=role)
