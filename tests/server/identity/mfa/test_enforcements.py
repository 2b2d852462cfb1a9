"""Login enforcements: what they name has to be there."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound

PATH = "identity/mfa/login-enforcement/"
NOBODY = "00000000-0000-0000-0000-000000000000"


async def test_an_enforcement_is_kept_and_changed_list_by_list(server):
    await server.enforce("e1", auth_method_accessors=[server.accessor, server.accessor])
    shown = (await server.call("read", PATH + "e1")).data
    assert shown == {
        "id": shown["id"], "name": "e1", "namespace_id": "root", "namespace_path": "",
        "mfa_method_ids": (server.method,), "auth_method_accessors": (server.accessor,), "auth_method_types": (),
        "identity_group_ids": (), "identity_entity_ids": (),
    }  # fmt: skip
    await server.enforce("e1", auth_method_types="userpass", identity_entity_ids=server.ann)
    changed = shown | {"auth_method_types": ("userpass",), "identity_entity_ids": (server.ann,)}
    assert (await server.call("read", PATH + "e1")).data == changed
    assert (await server.call("list", PATH[:-1])).data == {"keys": ["e1"], "key_info": {"e1": changed}}
    await server.call("delete", PATH + "e1")
    await server.call("delete", PATH + "e1")
    for op, path in (("read", PATH + "e1"), ("list", PATH[:-1])):
        with pytest.raises(NotFound):
            await server.call(op, path)


@pytest.mark.parametrize(("body", "problem"), [
    ({}, "missing method ids"),
    ({"mfa_method_ids": NOBODY, "auth_method_types": "userpass"}, "one of the provided method ids doesn't exist"),
    ({"mfa_method_ids": "$method"}, "must be specified"),
    ({"mfa_method_ids": "$method", "auth_method_accessors": "x"}, "auth method accessors provided is invalid"),
    ({"mfa_method_ids": "$method", "auth_method_types": "approle"}, "auth method types provided is invalid"),
    ({"mfa_method_ids": "$method", "auth_method_types": "kv"}, "auth method types provided is invalid"),
    ({"mfa_method_ids": "$method", "identity_group_ids": NOBODY}, "one of the provided group ids doesn't exist"),
    ({"mfa_method_ids": "$method", "identity_entity_ids": NOBODY}, "one of the provided entity ids doesn't exist"),
])  # fmt: skip
async def test_an_enforcement_names_what_there_is(server, body, problem):
    body = {name: value.replace("$method", server.method) for name, value in body.items()}
    with pytest.raises(InvalidRequest, match=problem):
        await server.call("update", PATH + "e1", body)
    assert not server.node.enforced
