"""The ``token_*`` settings: written under new and old names, checked, stored and shown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from caveau.framework.errors import InvalidRequest
from caveau.framework.token_params import TokenParams, TokenSettings


class UserParams(TokenParams, old=("policies", "ttl")):
    pass


def write(data: dict[str, Any], before: TokenSettings | None = None) -> TokenSettings:
    p, warnings = UserParams.load(data, {})
    assert warnings == []
    return (before or TokenSettings()).changed(p, data)


def test_what_is_written_is_shown_and_stored():
    settings = write({"token_policies": "a,B", "token_ttl": "1h", "token_bound_cidrs": ["10.0.0.0/8", "1.2.3.4/32"]})
    shown = settings.wire()
    assert shown["token_policies"] == ("a", "B")
    assert shown["token_ttl"] == 3600
    assert shown["token_bound_cidrs"] == ["10.0.0.0/8", "1.2.3.4"]
    assert "ttl" not in shown
    assert TokenSettings.load(orjson.loads(orjson.dumps(settings))) == settings


def test_only_what_is_given_is_changed():
    settings = write({"token_num_uses": 3}, write({"token_ttl": 60}))
    assert (settings.token_ttl, settings.token_num_uses) == (60, 3)


def test_an_old_name_is_shown_until_the_new_one_is_used():
    settings = write({"ttl": 60, "policies": "B,a"})
    assert settings.wire() | {"ttl": 60, "token_ttl": 60, "policies": ("a", "b")} == settings.wire()
    settings = write({"token_ttl": 30}, settings)
    assert "ttl" not in settings.wire()
    assert write({"ttl": 10, "token_ttl": 20}).wire()["ttl"] == 20


@pytest.mark.parametrize(
    "data",
    [
        {"token_bound_cidrs": "abc"},
        {"token_bound_cidrs": "10.0.0.0/33"},
        {"token_bound_cidrs": "10.0.0.0/8", "token_strictly_bind_ip": True},
        {"token_type": "bat"},
        {"token_type": "batch", "token_num_uses": 1},
        {"token_type": "batch", "token_period": 1},
        {"token_num_uses": -1},
        {"token_ttl": 100, "token_max_ttl": 50},
        {"token_ttl": -1},
    ],
)
def test_what_is_refused(data):
    with pytest.raises(InvalidRequest):
        write(data)


def test_a_conflict_with_what_is_stored_is_refused_too():
    with pytest.raises(InvalidRequest, match="token_max_ttl"):
        write({"token_ttl": 100}, write({"token_max_ttl": 50}))
