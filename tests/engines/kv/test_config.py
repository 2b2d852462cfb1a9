from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest

DEFAULTS = {"cas_required": False, "delete_version_after": "0s", "max_versions": 0, "metadata_cas_required": False}


async def test_defaults(kv2):
    assert (await kv2("read", "config")).data == DEFAULTS


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, {}),
        ({"cas_required": "true"}, {"cas_required": True}),
        ({"metadata_cas_required": 1}, {"metadata_cas_required": True}),
        ({"max_versions": "5"}, {"max_versions": 5}),
        ({"max_versions": 2**32 - 1}, {"max_versions": 2**32 - 1}),
        ({"delete_version_after": "90m"}, {"delete_version_after": "1h30m0s"}),
        ({"delete_version_after": 90}, {"delete_version_after": "1m30s"}),
        ({"delete_version_after": "1.5s"}, {"delete_version_after": "1s"}),
        ({"delete_version_after": "-1s"}, {"delete_version_after": "-1s"}),
        ({"delete_version_after": "-5m"}, {"delete_version_after": "-1s"}),
    ],
)
async def test_settings(kv2, given, shown):
    assert (await kv2("update", "config", given)).status == 204
    assert (await kv2("read", "config")).data == DEFAULTS | shown


async def test_settings_not_given_stay(kv2):
    await kv2("update", "config", max_versions=5, cas_required=True, delete_version_after="1h")
    await kv2("update", "config", max_versions=0)
    shown = {"cas_required": True, "delete_version_after": "1h0m0s"}
    assert (await kv2("read", "config")).data == DEFAULTS | shown


@pytest.mark.parametrize(
    "given", [{"max_versions": "x"}, {"max_versions": -1}, {"max_versions": 2**32}, {"delete_version_after": "x"}]
)
async def test_bad_settings(kv2, given):
    with pytest.raises(InvalidRequest, match=next(iter(given))):
        await kv2("update", "config", given)
    assert (await kv2("read", "config")).data == DEFAULTS
