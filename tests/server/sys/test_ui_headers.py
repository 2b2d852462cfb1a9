"""``sys/config/ui/headers``: what can be set, and that answers under /ui/ have it."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, PermissionDenied

HEADERS = "sys/config/ui/headers"


async def test_headers_are_set_shown_and_removed(server):
    with pytest.raises(NotFound):
        await server.call("list", HEADERS)
    await server.call("update", f"{HEADERS}/x-foo", {"values": ["a", "b"]})
    response = await server.call("update", f"{HEADERS}/Content-Security-Policy", {"values": "x"})
    assert response.warnings
    assert (await server.call("list", HEADERS)).data == {"keys": ["Content-Security-Policy", "X-Foo"]}
    assert (await server.call("read", f"{HEADERS}/X-FOO")).data == {"value": "a"}
    assert (await server.call("read", f"{HEADERS}/X-Foo", {"multivalue": True})).data == {"values": ["a", "b"]}
    assert server.core.ui_headers == {"X-Foo": "a, b", "Content-Security-Policy": "x"}
    await server.seal()
    assert server.core.ui_headers == {}
    await server.unseal()
    assert server.core.ui_headers["X-Foo"] == "a, b"
    await server.call("delete", f"{HEADERS}/X-Foo")
    with pytest.raises(NotFound):
        await server.call("read", f"{HEADERS}/X-Foo")
    assert "X-Foo" not in server.core.ui_headers


@pytest.mark.parametrize(
    ("name", "values"), [("X-Foo", []), ("X-Vault-Foo", ["a"]), ("X-Foo", ["a\r\nSet-Cookie: b"]), ("X", ["a" * 9000])]
)
async def test_what_is_refused(server, name, values):
    with pytest.raises(InvalidRequest):
        await server.call("update", f"{HEADERS}/{name}", {"values": values})


async def test_sudo_is_needed(server):
    await server.policy("p", 'path "sys/config/ui/*" { capabilities = ["read", "list", "update", "delete"] }')
    token = await server.token(["p"])
    for op, path in (
        ("list", HEADERS),
        ("read", f"{HEADERS}/X"),
        ("update", f"{HEADERS}/X"),
        ("delete", f"{HEADERS}/X"),
    ):
        with pytest.raises(PermissionDenied):
            await server.call(op, path, token=token)
