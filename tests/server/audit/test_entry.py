"""What entries say, and what they hide."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from caveau.framework.errors import InvalidRequest, NotFound, PermissionDenied, UnsupportedPath


def salt(audited, path: str = "file/") -> bytes:
    return bytes.fromhex(audited.server.core.audit.devices[path].entry.salt)


def hashed(audited, text: str) -> str:
    return "hmac-sha256:" + hmac.digest(salt(audited), text.encode(), "sha256").hex()


async def test_a_write_and_its_answer(audited):
    server = audited.server
    await audited.enable()
    data = {"data": {"s": "v", "n": 1, "b": True, "none": None, "l": ["x", {"y": "z"}], "big": 2**70}}
    await server.call("update", "kv-v2/data/a", data)
    request, response = audited.entries()[-2:]
    assert (request["type"], response["type"]) == ("request", "response")
    assert request["request"] == response["request"]
    assert request["auth"] == response["auth"]
    assert request["request"]["operation"] == "create"
    assert request["request"]["path"] == "kv-v2/data/a"
    assert request["request"]["data"]["data"] == {
        "s": hashed(audited, "v"),
        "n": 1,
        "b": True,
        "none": None,
        "l": [hashed(audited, "x"), {"y": hashed(audited, "z")}],
        "big": 2**70,
    }
    assert request["request"]["client_token"] == hashed(audited, server.root)
    assert request["auth"]["policy_results"] == {
        "allowed": True,
        "granting_policies": [{"name": "root", "namespace_id": "root", "type": "acl"}],
    }
    assert response["response"]["data"]["version"] == 1
    assert response["response"]["mount_type"] == "kv"
    assert server.root not in audited.text()


async def test_the_hash_is_the_one_the_api_gives(audited):
    await audited.enable()
    found = await audited.server.call("update", "sys/audit-hash/file", {"input": "v"})
    assert found.data == {"hash": hashed(audited, "v")}


async def test_equal_texts_have_other_hashes_on_another_device(audited):
    await audited.enable()
    await audited.enable("two")
    assert salt(audited) != salt(audited, "two/")


async def test_log_raw_hides_nothing(audited):
    await audited.enable(log_raw="true")
    await audited.server.call("update", "kv-v1/a", {"k": "v"})
    await audited.server.call("read", "kv-v1/a")
    entry = audited.last()
    assert entry["response"]["data"] == {"k": "v"}
    assert entry["auth"]["client_token"] == audited.server.root


async def test_accessors_can_be_shown(audited):
    await audited.enable(hmac_accessor="false")
    accessor = (await audited.server.lookup(audited.server.root))["accessor"]
    assert audited.last()["auth"]["accessor"] == accessor


async def test_a_made_token_is_hashed_in_the_answer(audited):
    await audited.enable()
    token = await audited.server.token(["default"])
    assert audited.last()["response"]["auth"]["client_token"] == hashed(audited, token)
    assert audited.last()["response"]["auth"]["policies"] == ["default"]
    assert audited.last()["auth"]["policies"] == ["root"]
    assert token not in audited.text()


async def test_lists_can_be_counted_instead_of_shown(audited):
    await audited.enable(elide_list_responses="true")
    await audited.server.call("update", "kv-v1/a", {"k": "v"})
    await audited.server.call("list", "kv-v1")
    assert audited.last()["response"]["data"] == {"keys": 1}


async def test_keys_that_are_no_secret(audited):
    server = audited.server
    await audited.enable()
    settings = {"audit_non_hmac_request_keys": "s,l", "audit_non_hmac_response_keys": "s"}
    await server.call("update", "sys/mounts/kv-v1/tune", settings)
    await server.call("update", "kv-v1/a", {"s": "v", "t": "v", "l": ["x", {"y": "z"}], "m": {"s": "deep"}})
    await server.call("read", "kv-v1/a")
    entry = [each for each in audited.entries() if each["request"].get("operation") == "create"][-1]
    asked = entry["request"]["data"]
    assert asked["s"] == "v"
    assert asked["t"] == hashed(audited, "v")
    assert asked["l"] == ["x", {"y": hashed(audited, "z")}]
    assert asked["m"] == {"s": "deep"}
    answered = audited.last()["response"]["data"]
    assert answered["s"] == "v"
    assert answered["l"][0] == hashed(audited, "x")


async def test_a_wrapped_answer_shows_where_it_is(audited):
    await audited.enable()
    await audited.server.call("update", "kv-v1/a", {"k": "v"})
    wrapped = await audited.server.call("read", "kv-v1/a", wrap_ttl=60)
    entry = audited.last()
    assert entry["response"]["wrap_info"]["token"] == hashed(audited, wrapped.wrap_info.token)
    assert "data" not in entry["response"]
    assert entry["request"]["wrap_ttl"] == 60
    await audited.server.call("update", "sys/wrapping/unwrap", token=wrapped.wrap_info.token)
    assert '"v"' not in audited.text()


async def test_refusals_name_policy_rule_and_reason(audited):
    server = audited.server
    await audited.enable()
    await server.policy("reader", 'path "kv-v1/*" { capabilities = ["read"] }')
    token = await server.token(["reader"])
    with pytest.raises(PermissionDenied) as refused:
        await server.call("update", "kv-v1/a", {"k": "v"}, token)
    for entry in audited.entries()[-2:]:
        verdict = entry["auth"]["policy_results"]
        assert verdict["allowed"] is False
        assert verdict["rule"] == "kv-v1/*"
        assert verdict["denying_policies"] == [{"name": "reader", "namespace_id": "root", "type": "acl"}]
        assert verdict["reason"] == "the rule does not grant create"
        assert entry["error"] == "1 error occurred:\n\t* permission denied\n\n"
    assert "rule" not in str(refused.value)
    with pytest.raises(PermissionDenied):
        await server.call("read", "sys/audit", token=await server.token(["default"]))
    assert audited.last()["auth"]["policy_results"] == {"allowed": False, "reason": "no rule for this path"}
    await server.policy("nosudo", 'path "sys/audit" { capabilities = ["read"] }')
    with pytest.raises(PermissionDenied):
        await server.call("read", "sys/audit", token=await server.token(["nosudo"]))
    assert "sudo" in audited.last()["auth"]["policy_results"]["reason"]


async def test_what_is_allowed_names_its_rule(audited):
    server = audited.server
    await server.policy("reader", 'path "kv-v1/*" { capabilities = ["read", "create"] }')
    token = await server.token(["reader"])
    await audited.enable()
    await server.call("update", "kv-v1/a", {"k": "v"}, token)
    verdict = audited.last()["auth"]["policy_results"]
    assert verdict["rule"] == "kv-v1/*"
    assert verdict["granting_policies"][0]["name"] == "reader"


async def test_requests_that_no_token_or_route_lets_through(audited):
    await audited.enable()
    with pytest.raises(PermissionDenied):
        await audited.server.call("read", "kv-v1/a", token="bogus")
    entry = audited.last()
    assert entry["auth"] == {"token_type": "default"}
    assert entry["request"]["client_token"] == hashed(audited, "bogus")
    assert "bogus" not in json.dumps(entry)
    with pytest.raises(PermissionDenied):
        await audited.server.call("read", "kv-v1/a", token="")
    assert "client_token" not in audited.last()["request"]
    with pytest.raises(UnsupportedPath):
        await audited.server.call("read", "nosuch/x")
    assert audited.last()["error"] == "1 error occurred:\n\t* unsupported path\n\n"
    assert audited.last()["auth"]["policies"] == ["root"]
    assert [entry["type"] for entry in audited.entries()[-2:]] == ["request", "response"]


async def test_an_error_is_told_by_kind_and_its_text_hashed(audited):
    await audited.enable()
    with pytest.raises(InvalidRequest) as error:
        await audited.server.call("update", "kv-v2/data/a", {"nothing": "v"})
    entry = audited.last()
    assert entry["error"] == "1 error occurred:\n\t* invalid request\n\n"
    assert entry["response"]["data"] == {"error": hashed(audited, str(error.value))}


async def test_request_headers_that_are_named(audited):
    server = audited.server
    await audited.enable()
    await server.call("update", "sys/config/auditing/request-headers/X-Shown", {"hmac": False})
    await server.call("update", "sys/config/auditing/request-headers/X-Hidden", {"hmac": True})
    await server.call("read", "sys/mounts", headers={"x-shown": "a", "x-hidden": "b", "x-other": "c"})
    assert audited.last()["request"]["headers"] == {"x-shown": ["a"], "x-hidden": [hashed(audited, "b")]}
    listed = await server.call("read", "sys/config/auditing/request-headers")
    assert listed.data == {"headers": {"x-hidden": {"hmac": True}, "x-shown": {"hmac": False}}}
    await server.call("delete", "sys/config/auditing/request-headers/x-shown")
    with pytest.raises(InvalidRequest, match="Could not find header"):
        await server.call("read", "sys/config/auditing/request-headers/x-shown")


async def test_uses_left_are_told_as_before_the_request(audited):
    token = await audited.server.token(["default"], num_uses=2)
    await audited.enable()
    for left in (2, 1):
        await audited.server.call("read", "auth/token/lookup-self", token=token)
        assert audited.last()["auth"]["remaining_uses"] == left


async def test_what_nests_too_deeply_is_hashed_as_one(audited):
    deep: object = "hunter2"
    for _ in range(480):
        deep = [deep]
    await audited.enable()
    await audited.server.call("update", "kv-v1/deep", {"v": deep})
    assert audited.entries()[0]["request"]["path"] == "kv-v1/deep"
    assert "hunter2" not in audited.text()


async def test_the_same_read_twice_is_written_alike(audited):
    await audited.enable()
    await audited.server.call("update", "kv-v2/data/a", {"data": {"k": "v"}})
    for _ in range(2):
        await audited.server.call("read", "kv-v2/data/a")
    first, second = (each["response"]["data"] for each in audited.entries()[-3::2])
    assert first == second
    assert first["data"] == {"k": hashed(audited, "v")}


async def test_all_tokens_with_the_same_policies_are_one_client(audited):
    await audited.enable()
    await audited.server.call("read", "sys/mounts")
    wanted = hashlib.sha256(b"root\x00root").digest()
    assert audited.last()["request"]["client_id"] == base64.b64encode(wanted).decode()


async def test_a_made_token_is_called_by_its_name(audited):
    await audited.enable()
    await audited.server.token(["default"], display_name="robot")
    assert audited.last()["response"]["auth"]["display_name"] == "token-robot"


async def test_a_failed_read_was_asked_for_without_an_error(audited):
    await audited.enable()
    with pytest.raises(NotFound):
        await audited.server.call("read", "kv-v1/none")
    request, response = audited.entries()[-2:]
    assert request["auth"] == response["auth"]
    assert "error" not in request


async def test_times_are_no_secret(audited):
    await audited.enable()
    shown, long = "2020-02-29T12:34:56.789+02:00", f"2020-01-01T00:00:00.{'1' * 10}Z"  # Go takes any number of digits
    await audited.server.call("update", "kv-v1/a", {"t": shown, "u": long, "v": "2019-02-29T00:00:00Z"})
    data = audited.last("request")["request"]["data"]
    assert data == {"t": shown, "u": hashed(audited, long), "v": hashed(audited, "2019-02-29T00:00:00Z")}
