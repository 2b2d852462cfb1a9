"""The keys of TOTP users: made once, shown once, and gone with the user."""

from __future__ import annotations

import sys

import pytest
from caveau.framework.errors import InvalidRequest, PermissionDenied

GENERATE = "identity/mfa/method/totp/generate"
ADMIN = "identity/mfa/method/totp/admin-generate"
DESTROY = "identity/mfa/method/totp/admin-destroy"
NOBODY = "00000000-0000-0000-0000-000000000000"


async def test_a_key_is_shown_once(server):
    ids = {"method_id": server.method, "entity_id": server.ann}
    made = (await server.call("update", ADMIN, ids)).data
    assert made["url"].startswith(
        f"otpauth://totp/Caveau:{server.ann}?algorithm=SHA1&digits=6&issuer=Caveau&period=30&"
    )
    assert made["barcode"].startswith("iVBOR")
    again = await server.call("update", ADMIN, ids)
    assert again.data is None
    assert again.warnings == ['Entity already has a secret for MFA method "phone"']
    await server.call("update", DESTROY, ids)
    assert (await server.call("update", ADMIN, ids)).data["url"] != made["url"]


async def test_users_can_make_their_own_where_a_policy_says_so(server):
    token = (await server.log_in()).auth["client_token"]
    with pytest.raises(PermissionDenied):
        await server.call("update", GENERATE, {"method_id": server.method}, token)
    await server.policy("p", f'path "{GENERATE}" {{ capabilities = ["update"] }}')
    made = await server.call("update", GENERATE, {"method_id": server.method}, token)
    assert f":{server.ann}?" in made.data["url"]


async def test_a_key_keeps_what_its_codes_are_made_by(server):
    await server.enforce()
    app = await server.app()
    await server.call("update", f"identity/mfa/method/totp/{server.method}", {"issuer": "x", "period": 90, "digits": 8})
    assert await server.log_in(f"phone:{server.code(app)}")


@pytest.mark.parametrize(("path", "body", "problem"), [
    (ADMIN, {}, "missing method ID"),
    (ADMIN, {"method_id": NOBODY}, "missing entityID"),
    (ADMIN, {"method_id": "$method", "entity_id": NOBODY}, "invalid entity ID"),
    (ADMIN, {"method_id": NOBODY, "entity_id": "$ann"}, f'configuration for method ID "{NOBODY}" does not exist'),
    (DESTROY, {}, "missing method ID"),
    (DESTROY, {"method_id": "$method"}, "missing entity ID"),
    (DESTROY, {"method_id": "$method", "entity_id": NOBODY}, "invalid entity ID"),
    (GENERATE, {}, "missing method ID"),
    (GENERATE, {"method_id": "$method"}, "missing entityID"),
])  # fmt: skip
async def test_who_and_what_the_key_is_for_has_to_be_there(server, path, body, problem):
    known = {"$method": server.method, "$ann": server.ann}
    with pytest.raises(InvalidRequest, match=problem):
        await server.call("update", path, {name: known.get(value, value) for name, value in body.items()})


async def test_without_a_barcode(server, monkeypatch):
    ids = {"entity_id": server.ann}
    none = await server.totp("none", qr_size=0)
    assert (await server.call("update", ADMIN, ids | {"method_id": none})).data["barcode"] == ""
    long = await server.totp("long", issuer="ü" * 2000)
    with pytest.raises(InvalidRequest, match="set qr_size to 0"):
        await server.call("update", ADMIN, ids | {"method_id": long})
    monkeypatch.setitem(sys.modules, "segno", None)
    made = await server.call("update", ADMIN, ids | {"method_id": server.method})
    assert made.data["barcode"] == ""
    assert "caveau[mfa]" in made.warnings[0]


async def test_a_key_goes_with_its_entity_and_moves_when_that_is_merged(server):
    app = await server.app()
    other = await server.entity("bob")
    await server.call("update", "identity/entity/merge", {
        "to_entity_id": other, "from_entity_ids": [server.ann],
        "conflicting_alias_ids_to_keep": [
            (await server.call("read", f"identity/entity/id/{server.ann}")).data["aliases"][0]["id"]
        ],
    })  # fmt: skip
    await server.enforce()
    assert (await server.log_in(f"phone:{server.code(app)}")).auth["entity_id"] == other
    await server.call("delete", f"identity/entity/id/{other}")
    assert await server.node.store.list(server.node.identity.mfa.secrets_of(server.method)) == []
