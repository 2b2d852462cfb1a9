from __future__ import annotations

from typing import Any

import pytest
from caveau.cli import envelope

SECRET: dict[str, Any] = {
    "request_id": "r", "lease_id": "", "renewable": False, "lease_duration": 0, "data": None, "wrap_info": None,
    "warnings": None, "auth": None,
}  # fmt: skip
AUTH = {
    "client_token": "hvs.x", "accessor": "acc", "policies": ["default", "pol"], "token_policies": ["default"],
    "identity_policies": ["pol"], "metadata": {"username": "ann"}, "lease_duration": 0, "renewable": True,
    "entity_id": "", "token_type": "service", "orphan": True, "mfa_requirement": None, "num_uses": 0,
}  # fmt: skip
WRAP = {"token": "hvs.w", "accessor": "a", "ttl": 60, "creation_time": "2026-11-24T08:04:13.5Z", "creation_path": "p"}


def test_a_lease_stands_before_the_data() -> None:
    secret = SECRET | {"lease_id": "db/1", "lease_duration": 3600, "renewable": True, "data": {"user": "u"}}
    assert envelope.rows(secret) == [("lease_id", "db/1"), ("lease_duration", "1h"), ("lease_renewable", "true"),
                                     ("user", "u")]  # fmt: skip


def test_names_of_durations_decide_how_numbers_read() -> None:
    data = {"ttl": 61, "max_ttl": 86400, "period": 60, "num_uses": 60, "x_ttl": "70", "creation_time": 5}
    assert dict(envelope.data_rows(data)) == {
        "ttl": "1m1s", "max_ttl": "24h", "period": "1m", "num_uses": "60", "x_ttl": "70", "creation_time": "5"
    }  # fmt: skip


def test_auth_rows() -> None:
    assert envelope.rows(SECRET | {"auth": AUTH}) == [
        ("token", "hvs.x"), ("token_accessor", "acc"), ("token_duration", "∞"), ("token_renewable", "true"),
        ("token_policies", '["default"]'), ("identity_policies", '["pol"]'), ("policies", '["default" "pol"]'),
        ("token_meta_username", "ann"),
    ]  # fmt: skip


def test_a_second_factor_hides_the_token() -> None:
    requirement = {"mfa_request_id": "q", "mfa_constraints": {"c": {"any": [{"type": "totp", "id": "m",
                   "uses_passcode": True, "name": "n"}]}}}  # fmt: skip
    assert envelope.rows(SECRET | {"auth": AUTH | {"mfa_requirement": requirement}}) == [
        ("mfa_request_id", "q"), ("mfa_constraint_c_totp_id", "m"), ("mfa_constraint_c_totp_uses_passcode", "true"),
        ("mfa_constraint_c_totp_name", "n"),
    ]  # fmt: skip


def test_wrap_rows_show_go_time() -> None:
    rows = dict(envelope.rows(SECRET | {"wrap_info": WRAP}))
    assert rows["wrapping_token_creation_time:"] == "2026-11-24 08:04:13.5 +0000 UTC"
    assert rows["wrapping_token_ttl:"] == "1m"
    assert "wrapped_accessor:" not in rows


def test_machine_form_has_the_originals_keys_and_order() -> None:
    shown = envelope.machine(SECRET | {"data": {"b": 1, "a": {"d": 1, "c": 2}}, "auth": AUTH, "mount_type": "kv"})
    assert list(shown) == ["request_id", "lease_id", "lease_duration", "renewable", "data", "warnings", "auth",
                           "mount_type"]  # fmt: skip
    assert list(shown["data"]) == ["a", "b"]
    assert list(shown["data"]["a"]) == ["c", "d"]
    assert "token_type" not in shown["auth"]
    assert "num_uses" not in shown["auth"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("token", "hvs.x"), ("token_policies", ["default"]), ("policies", ["default", "pol"]), ("wrapping_token", "hvs.w"),
     ("refresh_interval", 5), ("lease_duration", 5), ("a", "1"), ("n", None),
     ("zz", None), ("request_id", "r"), ("lease_id", "")],
)  # fmt: skip
def test_field(name: str, value: Any) -> None:
    secret = SECRET | {"lease_duration": 5, "data": {"a": "1", "n": None}, "auth": AUTH, "wrap_info": WRAP}
    secret["data"]["lease_id"] = "the envelope's own wins"
    assert envelope.field(secret, name) == value
