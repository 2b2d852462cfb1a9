"""What HTTP makes of a request and of its answer, over a real connection."""

from __future__ import annotations

import base64

import pytest
from caveau.tests.server.harness import Server
from caveau.tests.server.overhttp import serving


@pytest.fixture
async def http(server):
    async with serving(server) as client:
        yield client


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PATCH = "application/merge-patch+json"


async def test_every_answer_has_the_common_headers(http):
    for path in ("/v1/sys/health", "/v1/none", "/v1/kv-v1/none", "/v1/%00"):
        answer = await http.ask("GET", path)
        assert answer.headers["content-type"] == JSON
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
        assert answer.body.endswith(b"\n")


async def test_verbs(http):
    assert (await http.ask("POST", "/v1/kv-v1/a", {"x": 1})).status == 204
    assert (await http.ask("PUT", "/v1/kv-v1/a", {"x": 2})).status == 204
    assert (await http.ask("GET", "/v1/kv-v1/a")).json["data"] == {"x": 2}
    assert (await http.ask("LIST", "/v1/kv-v1")).json["data"]["keys"] == ["a"]
    assert (await http.ask("GET", "/v1/kv-v1?list=true")).json["data"]["keys"] == ["a"]
    assert (await http.ask("DELETE", "/v1/kv-v1/a")).status == 204
    head = await http.ask("HEAD", "/v1/sys/health")
    assert (head.status, head.body) == (200, b"")
    for verb in ("FOO", "TRACE", "LINK"):
        answer = await http.ask(verb, "/v1/kv-v1/a")
        assert (answer.status, answer.errors) == (405, [])
    assert (await http.ask("OPTIONS", "/v1/kv-v1/a")).status == 400


async def test_requests_on_one_connection_do_not_disturb_each_other(http):
    """Bodies that mean nothing are read all the same, and LIST is a verb behind any of them."""
    for verb in ("POST", "GET", "DELETE", "LIST"):
        await http.ask(verb, "/v1/kv-v1/a", b'{"x": 1}')
        assert (await http.ask("LIST", "/v1/kv-v1/none")).status == 404


async def test_a_body_without_meaning_is_still_bounded(server):
    async with serving(server, max_request_size=10) as http:
        assert (await http.ask("GET", "/v1/kv-v1/a", b"x" * 11)).status == 413


@pytest.mark.parametrize(
    ("size", "body", "status"),
    [(20, 20, 204), (20, 21, 413), (0, 100_000, 204), (-1, 100_000, 204)],
    ids=["as large as may be", "one byte too many", "zero is the default", "below zero is without limit"],
)
async def test_size_of_bodies(server, size, body, status):
    async with serving(server, max_request_size=size) as http:
        answer = await http.ask("POST", "/v1/kv-v1/a", b'{"x": "' + b"x" * (body - 9) + b'"}')
        assert answer.status == status
        if status == 413:
            assert answer.errors == ["http: request body too large"]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[1]", b'"x"', b"1", b'{"a": NaN}', b'{"a": 1} {"b": 2}', b'{"a": "\\ud800"}', b"\xff", b'{"a": 1,}'],
)
async def test_what_is_no_json_object_is_refused(http, body):
    answer = await http.ask("POST", "/v1/kv-v1/a", body)
    assert answer.status == 400
    assert answer.errors[0].startswith("failed to decode JSON input: ")


async def test_empty_bodies_and_null_are_no_fields(http):
    for body in (b"", b"  ", b"null"):
        answer = await http.ask("POST", "/v1/auth/token/create", body)
        assert answer.status == 200


async def test_forms(http):
    assert (await http.ask("POST", "/v1/kv-v1/f", b"a=1&b=x+y%21&a=2", content_type=FORM)).status == 204
    assert (await http.ask("GET", "/v1/kv-v1/f")).json["data"] == {"a": "1,2", "b": "x y!"}
    assert (await http.ask("POST", "/v1/kv-v1/f", b'{"a": 1}', content_type=FORM)).status == 204
    for wrong in (b"a=1;b=2", b"a=%zz", b"a=%ff"):
        answer = await http.ask("POST", "/v1/kv-v1/f", wrong, content_type=FORM)
        assert (answer.status, answer.errors) == (400, ["error parsing form data"])


async def test_patches_say_so(http):
    await http.ask("POST", "/v1/kv-v2/data/a", {"data": {"x": 1}})
    body = {"data": {"y": 2}}
    assert (await http.ask("PATCH", "/v1/kv-v2/data/a", body)).status == 400
    assert (await http.ask("PATCH", "/v1/kv-v2/data/a", body, content_type=JSON)).status == 415
    assert (await http.ask("PATCH", "/v1/kv-v2/data/a", body, content_type=f"{PATCH}; charset=utf-8")).status == 200
    assert (await http.ask("GET", "/v1/kv-v2/data/a")).json["data"]["data"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/", "/ui/"),
        ("/v1//sys/mounts", "/v1/sys/mounts"),
        ("/v1/sys/../sys/mounts", "/v1/sys/mounts"),
        ("/v1/sys/./mounts/?a=1&b=2", "/v1/sys/mounts/?a=1&b=2"),
        ('/v1//"<x>', '/v1/"<x>'),
    ],
)
async def test_unclean_paths_are_redirected_within_the_server(http, path, location):
    answer = await http.ask("GET", path)
    assert (answer.status, answer.headers["location"]) == (307, location)
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<x>" not in answer.body
    assert (await http.ask("POST", path, {})).body == b""


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/foo", 404),
        ("//evil.example/x", 404),
        ("/V1/sys/mounts", 404),
        ("/v1/kv-v1/a%20b", 404),
        ("/v1/kv-v1/%C3%A9", 404),
        ("/v1/kv-v1/..%2f..%2fx", 400),
        ("/v1/kv-v1/a%00", 400),
        ("/v1/kv-v1/a%0Ab", 400),
        ("/v1/kv-v1/a%C2%A0b", 400),
        ("/v1/kv-v1/a%E2%80%8Bb", 400),
        ("/v1/kv-v1/%FF", 400),
        ("/v1/kv-v1/%ed%a0%80", 400),
    ],
)
async def test_paths(http, path, status):
    assert (await http.ask("GET", path)).status == status


async def test_where_the_token_is(http, server):
    root = server.root
    path = "/v1/auth/token/lookup-self"
    assert (await http.ask("GET", path, token="", authorization=f"Bearer {root}")).status == 200
    assert (await http.ask("GET", path, token=f"  {root} ")).status == 200
    assert (await http.ask("GET", path, authorization="Bearer none")).status == 200
    for wrong in (f"Basic {root}", root, "Bearer", f"bearer {root}"):
        assert (await http.ask("GET", path, token="", authorization=wrong)).status == 403
    assert (await http.ask("GET", path, token="none", authorization=f"Bearer {root}")).status == 403
    assert (await http.ask("GET", f"{path}?token={root}", token="")).status == 403


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"x_vault_wrap_ttl": "abc"}, "error parsing X-Vault-Wrap-TTL header: "),
        ({"x_vault_wrap_ttl": "-1"}, "error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative"),
        ({"x_vault_index": "garbage!"}, 'failed to decode "X-Vault-Index"'),
        ({"x_vault_index": base64.b64encode(b"no json").decode()}, 'failed to decode "X-Vault-Index"'),
        ({"x_vault_inconsistent": "x"}, 'unknown value for "X-Vault-Inconsistent" header'),
    ],
)
async def test_headers_that_make_no_sense_are_refused(http, headers, error):
    answer = await http.ask("GET", "/v1/sys/mounts", **headers)
    assert answer.status == 400
    assert answer.errors[0].startswith(error)


async def test_headers_that_make_sense(http):
    index = base64.b64encode(b"{}").decode()
    for headers in ({"x_vault_index": index}, {"x_vault_inconsistent": "forward-active-node"},
                    {"x_vault_wrap_ttl": "0"}, {"x_vault_namespace": "root"}, {"x_vault_namespace": "/"}):  # fmt: skip
        assert (await http.ask("GET", "/v1/sys/mounts", **headers)).status == 200
    assert (await http.ask("GET", "/v1/sys/mounts", x_vault_namespace="team")).status == 404


@pytest.mark.parametrize("header", ["team", "team/", "/team/", " team "])
async def test_a_namespace_may_be_named_with_slashes_and_is_named_in_the_answer(http, header):
    assert (await http.ask("POST", "/v1/sys/namespaces/team")).status == 200
    answer = await http.ask("GET", "/v1/sys/mounts", x_vault_namespace=header)
    assert (answer.status, answer.headers["x-vault-namespace"]) == (200, header.strip())
    assert answer.json["data"]["sys/"]["type"] == "ns_system"
    answer = await http.ask("GET", "/v1/team/sys/mounts")
    assert answer.status == 200
    assert "x-vault-namespace" not in answer.headers


async def test_public_paths_have_no_other_operations_for_anybody(http):
    for verb in ("DELETE", "LIST", "PATCH", "POST"):
        answer = await http.ask(verb, "/v1/sys/health", token="", content_type=PATCH)
        assert (answer.status, answer.errors) == (405, [])
    answer = await http.ask("GET", "/v1/sys/decode-token", token="")
    assert (answer.status, answer.errors) == (405, ["unsupported operation"])


async def test_nothing_is_written_to_a_folder(http):
    for path in ("/v1/kv-v1/a/", "/v1/none/", "/v1/sys/mounts/x/"):
        for token in (None, ""):
            answer = await http.ask("POST", path, {"type": "kv"}, token=token)
            assert (answer.status, answer.errors) == (400, ["cannot write to a path ending in '/'"])


async def test_unknown_parameters_are_told_beside_an_answer_and_only_there(http):
    answer = await http.ask("POST", "/v1/sys/tools/hash", {"input": "YQ==", "b": 1, "a": 2})
    assert answer.json["warnings"] == ["Endpoint ignored these unrecognized parameters: [a b]"]
    assert (await http.ask("DELETE", "/v1/kv-v1/a?foo=1")).status == 204


async def test_help(http, server):
    answer = await http.ask("GET", "/v1/sys/mounts?help=1")
    assert "List the mounted secrets engines." in answer.json["help"]
    assert list(answer.json["openapi"]["paths"]) == ["/mounts"]
    assert (await http.ask("POST", "/v1/sys/mounts/x?help=1", {})).json["help"]
    assert "sys/" in (await http.ask("GET", "/v1/sys/mounts?help=")).json
    assert (await http.ask("GET", "/v1/sys/none?help=1")).status == 404
    weak = await server.token(["default"])
    assert (await http.ask("GET", "/v1/sys/mounts?help=1", token=weak)).status == 200
    assert (await http.ask("GET", "/v1/sys/mounts?help=1", token="")).status == 403
    assert (await http.ask("GET", "/v1/sys/mounts?help=1", token="none")).status == 403
    assert (await http.ask("GET", "/v1/sys/health?help=1", token="")).status == 200


async def test_help_uses_up_a_token(http, server):
    token = await server.token(["default"], num_uses=1)
    assert (await http.ask("GET", "/v1/sys/mounts?help=1", token=token)).status == 200
    assert (await http.ask("GET", "/v1/sys/mounts?help=1", token=token)).status == 403


async def test_a_sealed_server_says_so_and_reads_no_body(server):
    await server.seal()
    async with serving(server) as http:
        for verb, path in (("GET", "/v1/kv-v1/a"), ("POST", "/v1/sys/mounts/x"), ("GET", "/v1/sys/health?help=1")):
            answer = await http.ask(verb, path, b"bad")
            assert (answer.status, answer.errors) == (503, ["Vault is sealed"])
        assert (await http.ask("GET", "/v1/sys/seal-status", token="")).json["sealed"] is True
        assert (await http.ask("GET", "/v1/sys/leader", token="")).json == {"ha_enabled": False}
        assert (await http.ask("LIST", "/v1/sys/init", token="")).status == 405
        answer = await http.ask("PUT", "/v1/sys/unseal", {"key": server.keys[0]}, token="")
        assert answer.json["sealed"] is False


async def test_listeners_can_close_what_key_shares_authorise(server):
    async with serving(server, disable_unauthed_rekey_endpoints=True) as http:
        for path in ("rekey/init", "rekey/update", "rekey/verify", "rekey-recovery-key/init"):
            assert (await http.ask("POST", f"/v1/sys/{path}", {"key": "00"}, token="")).status == 405
        assert (await http.ask("GET", "/v1/sys/generate-root/attempt", token="")).status == 200
    async with serving(server, disable_unauthed_generate_root_endpoints=True) as http:
        for path in ("generate-root", "generate-root/attempt", "generate-root/update"):
            assert (await http.ask("POST", f"/v1/sys/{path}", {"key": "00"}, token="")).status == 405
        assert (await http.ask("GET", "/v1/sys/rekey/init", token="")).status == 200


async def test_listeners_can_keep_the_version_and_the_name_of_the_cluster_to_themselves(server):
    async with serving(server, redact_version=True, redact_cluster_name=True) as http:
        for path in ("/v1/sys/health", "/v1/sys/seal-status"):
            told = (await http.ask("GET", path, token="")).json
            assert told["version"] == told["cluster_name"] == ""
    async with serving(server) as http:
        assert (await http.ask("GET", "/v1/sys/health", token="")).json["version"]


async def test_configured_headers(server):
    headers = {"default": {"X-A": "1", "X-B": "1"}, "4xx": {"X-B": "2"}, "404": {"X-C": "3"}}
    async with serving(server, custom_response_headers=headers) as http:
        found = (await http.ask("GET", "/v1/none")).headers
        assert (found["x-a"], found["x-b"], found["x-c"]) == ("1", "2", "3")
        assert "x-c" not in (await http.ask("GET", "/v1/sys/health")).headers


async def test_headers_of_limits(http, server):
    await server.call("update", "sys/quotas/rate-limit/q", {"rate": 1, "path": "kv-v1", "interval": 10})
    assert "x-ratelimit-limit" not in (await http.ask("GET", "/v1/kv-v1/x")).headers
    await server.call("update", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    server.clock.advance(10)
    first, second = [await http.ask("GET", "/v1/kv-v1/x") for _ in range(2)]
    assert (first.status, first.headers["x-ratelimit-remaining"]) == (404, "0")
    assert (second.status, second.headers["retry-after"], second.headers["x-ratelimit-reset"]) == (429, "10", "10")
    assert second.errors == ['request path "kv-v1/x": rate limit quota exceeded']


async def test_headers_of_the_web_page_are_on_its_answers_only(http, server):
    await server.call("update", "sys/config/ui/headers/X-Foo", {"values": ["a", "b"]})
    assert (await http.ask("GET", "/ui/")).headers["x-foo"] == "a, b"
    assert "x-foo" not in (await http.ask("GET", "/v1/sys/health")).headers


async def test_a_failure_inside_tells_nothing_but_where_to_look(http, server, monkeypatch, caplog):
    async def fail(incoming):
        raise RuntimeError("the secret is hunter")

    monkeypatch.setattr(server.core, "handle", fail)
    answer = await http.ask("GET", "/v1/kv-v1/a")
    assert answer.status == 500
    (error,) = answer.errors
    assert "hunter" not in error
    assert error.split()[-1] in caplog.text


async def test_cross_origin_requests(http):
    origin = {"origin": "https://app.example"}
    assert "access-control-allow-origin" not in (await http.ask("GET", "/v1/sys/health", **origin)).headers
    assert (await http.ask("OPTIONS", "/v1/sys/health", **origin)).status == 400
    settings = {"allowed_origins": ["https://app.example"], "allowed_headers": ["X-Own"]}
    assert (await http.ask("POST", "/v1/sys/config/cors", settings)).status == 204
    allowed = await http.ask("GET", "/v1/sys/health", **origin)
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert allowed.headers["vary"] == "Origin"
    assert (await http.ask("GET", "/v1/sys/health", origin="https://evil.example")).status == 403
    preflight = await http.ask("OPTIONS", "/v1/kv-v1/a", token="", access_control_request_method="LIST", **origin)
    assert preflight.status == 200
    assert "LIST" in preflight.headers["access-control-allow-methods"]
    assert "X-Own" in preflight.headers["access-control-allow-headers"]
    wrong = await http.ask("OPTIONS", "/v1/kv-v1/a", token="", access_control_request_method="FOO", **origin)
    assert wrong.status == 405
    assert (await http.ask("DELETE", "/v1/sys/config/cors")).status == 204
    assert (await http.ask("GET", "/v1/sys/health", origin="https://evil.example")).status == 200


async def test_cross_origin_settings_outlive_a_seal(server: Server):
    await server.call("update", "sys/config/cors", {"allowed_origins": "*", "allow_credentials": True})
    await server.seal()
    assert not server.core.cors.enabled
    await server.unseal()
    assert server.core.cors.allows("https://any.example")
    shown = (await server.call("read", "sys/config/cors")).data
    assert shown["enabled"]
    assert shown["allow_credentials"]


@pytest.mark.parametrize("code", [200, 299, 429, 473, 599])
async def test_health_answers_with_the_status_that_is_asked_for(http, code):
    answer = await http.ask("GET", f"/v1/sys/health?activecode={code}", token="")
    assert (answer.status, answer.json["sealed"]) == (code, False)
