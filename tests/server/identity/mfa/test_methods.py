"""MFA methods: what each kind takes, that one kind is not another, and that no secret is ever shown."""

from __future__ import annotations

import base64

import pytest
from caveau.framework.errors import InvalidRequest, NotFound

DUO = {"secret_key": "hush-duo", "integration_key": "key", "api_hostname": "api-1.duosecurity.com"}
OKTA = {"org_name": "acme", "api_token": "hush-okta"}
FILE = "use_base64_key=aHVzaC1waW5nLXdpdGgtMjU2LWJpdHMtb2YtYS1rZXk=\nuse_signature=true\ntoken=hush-token\n# a comment\n\nidp_url=https://idp.example/pingid\norg_alias=org\n"
PINGID = {"settings_file_base64": base64.b64encode(FILE.encode()).decode()}
NOBODY = "00000000-0000-0000-0000-000000000000"


def path(kind, id_=""):
    return f"identity/mfa/method/{kind}" + (f"/{id_}" if id_ else "")


async def test_a_totp_method_has_defaults_and_is_replaced_as_a_whole(server):
    shown = (await server.call("read", path("totp", server.method))).data
    assert shown == {
        "id": server.method, "name": "phone", "type": "totp", "namespace_id": "root", "namespace_path": "",
        "issuer": "Caveau", "period": 30, "key_size": 20, "qr_size": 200, "algorithm": "SHA1", "digits": 6, "skew": 1,
        "max_validation_attempts": 5,
    }  # fmt: skip
    assert (await server.call("read", f"identity/mfa/method/{server.method}")).data == shown
    await server.call("update", path("totp", server.method), {"issuer": "New", "period": "1m", "digits": 8})
    await server.call("update", path("totp", server.method), {"issuer": "New", "algorithm": "SHA512"})
    assert (await server.call("read", path("totp", server.method))).data == shown | {
        "issuer": "New", "algorithm": "SHA512",
    }  # fmt: skip


async def test_the_name_of_a_method_finds_it_and_is_unique(server):
    assert await server.totp("phone", period=60) == server.method
    other = await server.totp("tablet")
    with pytest.raises(InvalidRequest, match="with the method name phone already exists"):
        await server.call("update", path("totp", other), {"issuer": "x", "method_name": "phone"})
    with pytest.raises(InvalidRequest, match="of type totp, which cannot be changed"):
        await server.create("duo", "phone", **DUO)
    await server.call("update", path("totp", other), {"issuer": "x", "method_name": "pad"})
    assert (await server.call("read", path("totp", other))).data["name"] == "pad"
    assert await server.totp("") != await server.totp("")


@pytest.mark.parametrize(("kind", "settings", "shown"), [
    ("duo", DUO | {"push_info": "a=b", "use_passcode": True},
     {"api_hostname": DUO["api_hostname"], "pushinfo": "a=b", "use_passcode": True}),
    ("okta", OKTA, {"org_name": "acme", "base_url": "okta.com"}),
    ("okta", OKTA | {"production": False}, {"production": False}),
    ("pingid", PINGID, {"org_alias": "org", "use_signature": True, "idp_url": "https://idp.example/pingid"}),
])  # fmt: skip
async def test_methods_of_others_show_what_is_no_secret(server, kind, settings, shown):
    id_ = await server.create(kind, "m", **settings)
    answers = [
        (await server.call("read", path(kind, id_))).data,
        (await server.call("read", f"identity/mfa/method/{id_}")).data,
        (await server.call("list", path(kind))).data["key_info"][id_],
        (await server.call("list", "identity/mfa/method")).data["key_info"][id_],
    ]
    for answer in answers:
        assert answer.items() >= ({"id": id_, "name": "m", "type": kind} | shown).items()
        assert "hush" not in str(answer)
        assert "aHVzaC1waW5nLXdpdGgtMjU2LWJpdHMtb2YtYS1rZXk=" not in str(answer)
    await server.call("delete", path(kind, id_))
    with pytest.raises(NotFound):
        await server.call("read", path(kind, id_))


async def test_a_replaced_method_keeps_its_name_and_how_users_are_named(server):
    id_ = await server.create("duo", "m", **DUO, username_format="x", push_info="a=b")
    await server.call("update", path("duo", id_), DUO)
    shown = (await server.call("read", path("duo", id_))).data
    assert (shown["name"], shown["username_format"], shown["pushinfo"]) == ("m", "x", "")


@pytest.mark.parametrize(("kind", "settings", "problem"), [
    ("totp", {}, "issuer must be set"),
    ("totp", {"issuer": "i", "period": 0}, "period must be greater than zero"),
    ("totp", {"issuer": "i", "period": "soon"}, "period"),
    ("totp", {"issuer": "i", "key_size": 0}, "key_size must be greater than zero"),
    ("totp", {"issuer": "i", "key_size": 129}, "key_size must be at most 128"),
    ("totp", {"issuer": "i", "qr_size": -1}, "qr_size must be 0 to 2000"),
    ("totp", {"issuer": "i", "qr_size": 2001}, "qr_size must be 0 to 2000"),
    ("totp", {"issuer": "i", "algorithm": "MD5"}, "unrecognized algorithm"),
    ("totp", {"issuer": "i", "digits": 7}, "digits can only be 6 or 8"),
    ("totp", {"issuer": "i", "skew": 2}, "skew must be 0 or 1"),
    ("totp", {"issuer": "i", "max_validation_attempts": -1}, "max_validation_attempts must be greater than zero"),
    ("duo", {}, "secret_key is empty"),
    ("duo", {"secret_key": "s"}, "integration_key is empty"),
    ("duo", {"secret_key": "s", "integration_key": "i"}, "api_hostname is empty"),
    ("duo", DUO | {"api_hostname": "evil.example/x?"}, "api_hostname must be the name of a host"),
    ("okta", {}, "org_name must be set"),
    ("okta", {"org_name": "o"}, "api_token must be set"),
    ("okta", OKTA | {"base_url": "x y"}, "error parsing given base_url"),
    ("okta", OKTA | {"org_name": "evil.example/"}, "error parsing given base_url"),
    ("pingid", {}, "settings_file_base64 is empty"),
    ("pingid", {"settings_file_base64": "!!"}, "not text in base64"),
    ("pingid", {"settings_file_base64": "Zm9v"}, "not in key=value format"),
    ("pingid", {"settings_file_base64": "YT1iCg=="}, 'unknown key "a"'),
    ("pingid", {"settings_file_base64": "dXNlX3NpZ25hdHVyZT1tYXliZQo="}, "error parsing use_signature"),
])  # fmt: skip
async def test_settings_that_make_no_sense(server, kind, settings, problem):
    with pytest.raises(InvalidRequest, match=problem):
        await server.call("update", path(kind), settings)


async def test_zero_attempts_mean_the_default(server):
    id_ = await server.totp("x", max_validation_attempts=0)
    assert (await server.call("read", path("totp", id_))).data["max_validation_attempts"] == 5


async def test_a_method_is_not_of_another_kind(server):
    with pytest.raises(InvalidRequest, match="failed to find the method ID under MFA type duo"):
        await server.call("read", path("duo", server.method))
    with pytest.raises(InvalidRequest, match="cannot be changed"):
        await server.call("update", path("duo", server.method), DUO)
    with pytest.raises(InvalidRequest, match="under MFA type okta"):
        await server.call("delete", path("okta", server.method))


async def test_methods_that_are_not_there(server):
    for op, data in (("read", {}), ("update", {"issuer": "x"})):
        with pytest.raises(NotFound):
            await server.call(op, path("totp", NOBODY), data)
    await server.call("delete", path("totp", NOBODY))
    for op in ("read", "delete"):
        with pytest.raises(InvalidRequest, match="missing method ID"):
            await server.call(op, path("totp"))
    with pytest.raises(NotFound):
        await server.call("list", path("duo"))


async def test_a_method_in_use_stays_and_takes_the_keys_of_its_users_along_when_it_goes(server):
    app = await server.app()
    await server.enforce()
    with pytest.raises(InvalidRequest, match="still used by an enforcement configuration"):
        await server.call("delete", path("totp", server.method))
    await server.call("delete", "identity/mfa/login-enforcement/all")
    folder = server.node.identity.mfa.secrets_of(server.method)
    assert await server.node.store.list(folder) == [server.ann]
    assert app
    await server.call("delete", path("totp", server.method))
    assert await server.node.store.list(folder) == []


async def test_a_namespace_uses_the_methods_above_it_and_cannot_change_them(server):
    await server.call("update", "sys/namespaces/team")
    inside = {"namespace": "team/"}
    shown = (await server.call("read", path("totp", server.method), **inside)).data
    assert (shown["namespace_id"], shown["namespace_path"]) == ("root", "")
    with pytest.raises(NotFound):
        await server.call("update", path("totp", server.method), {"issuer": "mine"}, **inside)
    await server.call("delete", path("totp", server.method), **inside)
    assert (await server.call("read", path("totp", server.method))).data["issuer"] == "Caveau"
    own = (await server.call("update", path("totp"), {"issuer": "own"}, **inside)).data["method_id"]
    with pytest.raises(NotFound):
        await server.call("read", path("totp", own))
