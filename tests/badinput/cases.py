"""The page of bad requests: what each is, what Caveau must answer and what OpenBao 2.7.2 answers."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass

import pytest

from .wire import CLOSED, Request

Status = int | tuple[int, ...]
ONLY_CAVEAU = pytest.mark.parametrize("product", ["caveau"], indirect=True)
"""For what OpenBao does not promise."""
MERGE_PATCH = ("Content-Type", "application/merge-patch+json")


@dataclass(frozen=True, slots=True)
class Case:
    """`caveau` and `bao`: the statuses allowed. OpenBao's is Caveau's unless it differs."""

    name: str
    request: Request
    caveau: Status
    bao: Status | None = None

    def allowed(self, product: str) -> tuple[int, ...]:
        status = self.caveau if product == "caveau" or self.bao is None else self.bao
        return status if isinstance(status, tuple) else (status,)


def post(target: str, body: object, **headers: str) -> Request:
    """A POST of `body`, as it is when bytes, else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", f"/v1/{target}", raw, tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def get(target: str | bytes, *headers: tuple[str, str | bytes], token: bool = True) -> Request:
    return Request("GET", target, None, headers, token=token)


def head(text: bytes, body: bytes = b"") -> Request:
    return Request(head=text.replace(b"\n", b"\r\n"), body=body)


def kv(body: bytes) -> Request:
    return post("secret/data/badinput", body)


def value(text: bytes) -> Request:
    return kv(b'{"data": {"a": ' + text + b"}}")


BODIES = (
    Case("cut off in a string", kv(b'{"data": {"a": "b'), 400),
    Case("cut off in an object", kv(b'{"data": {"a": 1}'), 400),
    Case("not JSON", kv(b"hello"), 400),
    Case("something after the document", kv(b'{"data": {}} x'), 400),
    Case("two documents", kv(b'{"data": {"a": 1}}{"data": {"b": 2}}'), (200, 400), 200),
    Case("an array", kv(b"[1, 2]"), 400),
    Case("a string", kv(b'"text"'), 400),
    Case("a number", kv(b"5"), 400),
    Case("null is no data", kv(b"null"), 400),
    Case("empty", kv(b""), 400),
    Case("only spaces", kv(b"   "), 400),
    Case("byte order mark", kv(b'\xef\xbb\xbf{"data": {}}'), 400),
    Case("UTF-16", kv('{"data": {}}'.encode("utf-16")), 400),
    Case("bytes that are no UTF-8", value(b'"\xff\xfe"'), (200, 400), 200),
    Case("overlong UTF-8", value(b'"\xc0\xaf"'), (200, 400), 200),
    Case("half a surrogate pair", value(b'"\\ud800"'), (200, 400), 200),
    Case("a raw control character in a string", value(b'"a\x01b"'), 400),
    Case("an escaped NUL in a string", value(b'"a\\u0000b"'), 200),
    Case("an empty key", kv(b'{"data": {"": 1}}'), 200),
    Case("single quotes", kv(b"{'data': {}}"), 400),
    Case("a trailing comma", kv(b'{"data": {"a": 1,}}'), 400),
    Case("NaN", value(b"NaN"), 400),
    Case("Infinity", value(b"-Infinity"), 400),
    Case("a number beyond a float", value(b"1e400"), 400),
    Case("a number with a leading zero", value(b"007"), 400),
    Case("10,000 digits", value(b"9" * 10_000), (200, 400), 400),
    Case("objects 9,000 deep", value(b'{"a":' * 9_000 + b"1" + b"}" * 9_000), (200, 400), 400),
    Case("objects 10,000 deep", value(b'{"a":' * 10_000 + b"1" + b"}" * 10_000), 400),
    Case("objects 100,000 deep", value(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), 400),
    Case("arrays 100,000 deep", value(b"[" * 100_000 + b"]" * 100_000), 400),
    Case("arrays 100,000 deep, never closed", value(b"[" * 100_000), 400),
    Case("an array of a million numbers", value(b"[" + b"0," * 999_999 + b"0]"), (200, 400, 413), 200),
    Case("an array of a million strings", value(b"[" + b'"",' * 999_999 + b'""]'), (200, 400, 413), 400),
    Case("an array of a million objects", value(b"[" + b"{}," * 999_999 + b"{}]"), (200, 400, 413), 400),
    Case(
        "an object of 200,000 keys",
        kv(json.dumps({"data": {str(n): n for n in range(200_000)}}).encode()),
        (200, 400, 413),
        400,
    ),
    Case("a key of a megabyte", kv(json.dumps({"data": {"k" * 2**20: 1}}).encode()), (200, 400, 413), 200),
    Case("gzip that is none", post("secret/data/x", b'{"data": {}}', Content_Encoding="gzip"), (200, 400, 415), 200),
    Case(
        "gzip that is some",
        post("secret/data/x", gzip.compress(b'{"data": {}}'), Content_Encoding="gzip"),
        (200, 400, 415),
        400,
    ),
    Case(
        "a gzip bomb of 200 MB",
        post("secret/data/x", gzip.compress(b"\0" * 200 * 2**20), Content_Encoding="gzip"),
        (400, 413, 415),
        400,
    ),
    Case("an unknown encoding", post("secret/data/x", b'{"data": {}}', Content_Encoding="bogus"), (200, 400, 415), 200),
    Case(
        "a form where JSON is due",
        post("secret/data/x", b"a=b&a=c&%zz=%", Content_Type="application/x-www-form-urlencoded"),
        400,
    ),
    Case(
        "a form of a million fields",
        post("secret/data/x", b"a=1&" * 10**6, Content_Type="application/x-www-form-urlencoded"),
        (400, 413),
    ),
    Case("multipart without a boundary", post("secret/data/x", b"--", Content_Type="multipart/form-data"), 400),
    Case(
        "a nonsense content type on POST",
        post("secret/data/x", b'{"data": {}}', Content_Type=";;;"),
        (200, 400, 415),
        200,
    ),
    Case(
        "a charset that does not exist",
        post("secret/data/x", b'{"data": {}}', Content_Type="application/json; charset=bogus"),
        (200, 400, 415),
        200,
    ),
)


def patch(body: bytes, *headers: tuple[str, str]) -> Request:
    return Request("PATCH", "/v1/secret/data/badinput-patch", body, headers)


PATCHES = (
    Case("PATCH as JSON", patch(b"{}", ("Content-Type", "application/json")), 415),
    Case("PATCH as text", patch(b"{}", ("Content-Type", "text/plain")), 415),
    Case("PATCH without a content type", patch(b"{}"), (400, 415), 400),
    Case("PATCH with a nonsense content type", patch(b"{}", ("Content-Type", "///")), (400, 415)),
    Case("PATCH with two content types", patch(b"{}", MERGE_PATCH, ("Content-Type", "text/plain")), (400, 404, 415)),
    Case("PATCH of what is not there", patch(b'{"data": {"a": 1}}', MERGE_PATCH), 404),
    Case("PATCH cut off", patch(b'{"data": {', MERGE_PATCH), 400),
    Case("PATCH with an array", patch(b"[]", MERGE_PATCH), 400),
    Case("PATCH with data of the wrong type", patch(b'{"data": 5}', MERGE_PATCH), 400),
)


def fields(
    target: str, name: str, *values: object, caveau: Status = 400, bao: Status | None = None
) -> tuple[Case, ...]:
    """One case for each value of one parameter."""
    return tuple(Case(f"{target} {name}={json.dumps(v)[:40]}", post(target, {name: v}), caveau, bao) for v in values)


HUGE = 10**30

PARAMETERS = (
    # A string
    *fields("sys/policies/acl/bad", "policy", {"a": 1}, ["x"], True),
    *fields("sys/mounts/bad", "type", {"a": 1}, [], 5),
    *fields("auth/token/lookup", "token", {"a": 1}, ["x", "y"], caveau=(400, 403), bao=403),
    # A whole number
    *fields("secret/config", "max_versions", "x", {}, [1, 2], HUGE, 1.5),
    *fields("auth/token/create", "num_uses", "x", {}, [1], HUGE, -1),
    # Yes or no
    *fields("secret/config", "cas_required", "maybe", {}, [True, False]),
    *fields("auth/token/create", "renewable", "maybe", {}),
    # A duration
    *fields(
        "auth/token/create",
        "ttl",
        "abc",
        "5 parsecs",
        "--5s",
        {},
        ["1h", "2h"],
        -1,
        "-1h",
        HUGE,
        "9" * 30,
        "99999999999999999h",
        "1e400",
        "\0",
    ),
    *fields("secret/config", "delete_version_after", "abc", {}, HUGE),
    *fields("sys/mounts/secret/tune", "default_lease_ttl", "abc", {}, HUGE),
    *fields("sys/mounts/secret/tune", "default_lease_ttl", "-5h", bao=204),
    # A list
    *fields("auth/token/create", "policies", {"a": 1}, [{"a": 1}], [["x"]]),
    *fields("auth/token/create", "policies", 5, caveau=(200, 400), bao=200),
    *fields("secret/delete/badinput", "versions", "x", {"a": 1}, ["x"], [{}], [HUGE]),
    # An object
    *fields("auth/token/create", "meta", "x", 5, ["a"], {"a": {"b": 1}}, {"a": [1]}),
    *fields(
        "secret/metadata/badinput",
        "custom_metadata",
        "x",
        5,
        ["a"],
        {"a": {"b": 1}},
        {"": "v"},
        {"k" * 129: "v"},
        {"k": "v" * 513},
        {str(n): "v" for n in range(65)},
    ),
    *fields("sys/mounts/bad", "config", "x", 5, ["a"]),
    *fields("sys/mounts/bad", "options", "x", 5, ["a"], {"a": {"b": 1}}),
    # KV version 2
    *fields("secret/data/badinput", "data", "x", 5, ["a"]),
    *fields("secret/data/badinput", "options", "x", 5, ["a"]),
    *(
        Case(f"cas={json.dumps(v)}", post("secret/data/badinput", {"data": {}, "options": {"cas": v}}), 400)
        for v in ("x", {}, [1], -1, HUGE, 10**9)
    ),
    Case("an unknown version", get("/v1/secret/data/badinput?version=999999"), 404),
    Case("?version= no number", get("/v1/secret/data/badinput?version=x"), 400),
    Case("?version= beyond 64 bits", get("/v1/secret/data/badinput?version=" + "9" * 30), 400),
    Case("?depth= no number", get("/v1/secret/subkeys/badinput?depth=x"), 400),
    Case("?list= no boolean", get("/v1/secret/metadata?list=foo"), 400),
    Case("?limit= no number", get("/v1/secret/metadata?list=true&limit=x"), 400),
    Case("?sealedcode= no number", get("/v1/sys/health?sealedcode=abc"), 400),
    Case("?activecode= no status", get("/v1/sys/health?activecode=99999"), 400, CLOSED),
    Case("?activecode= below zero", get("/v1/sys/health?activecode=-1"), 400, CLOSED),
    # The keys of the house
    *(
        Case(
            f"init with shares={json.dumps(s)} threshold={json.dumps(t)}",
            post("sys/init", {"secret_shares": s, "secret_threshold": t}),
            400,
        )
        for s, t in (
            (0, 0),
            (-1, -1),
            (1, 2),
            (256, 2),
            (HUGE, HUGE),
            ("x", 1),
            ({}, 1),
            (2, 1),
            (None, None),
            (1.5, 1),
        )
    ),
    *fields("sys/rekey/init", "secret_shares", "x", HUGE, {}, bao=(400, 405)),
    *(
        Case(f"generate-root with otp={json.dumps(v)}", post("sys/generate-root/attempt", {"otp": v}), 400, (400, 405))
        for v in ("short", "ü" * 26, 5, {})
    ),
    Case(
        "generate-root with a PGP key that is none",
        post("sys/generate-root/attempt", {"pgp_key": "AAAA"}),
        400,
        (400, 405),
    ),
    Case(
        "generate-root update with a wrong nonce",
        post("sys/generate-root/update", {"key": "00" * 33, "nonce": "x"}),
        400,
        (400, 405),
    ),
    # Tokens
    *fields("auth/token/renew", "increment", "abc", HUGE),
    *fields("auth/token/lookup-accessor", "accessor", "", "x", {}, bao=(400, 403)),
    *fields("auth/token/create", "type", "x", 5, {}),
    *fields("auth/token/create", "id", "with.dot", "s.prefix", "hvs.x"),
    *fields("auth/token/create", "id", "a b", caveau=(200, 400), bao=(200, 400)),
    *fields("auth/token/create", "explicit_max_ttl", "abc", "-1h"),
    *fields("auth/token/create", "period", "abc", "-1h"),
    # Policies, mounts
    *(
        Case(f"policy: {text[:30]!r}", post("sys/policies/acl/bad", {"policy": text}), 400)
        for text in (
            "path",
            'path "x" {',
            'path "x" { capabilities = ["fly"] }',
            "path " * 10_000,
            'path "x" ' + "{" * 10_000,
            "\0",
            "/* never closed",
            "x = <<EOF\nnever closed",
            'path "+*" { capabilities = ["read"] }',
        )
    ),
    *(
        Case(f"policy: {text[:30]!r}", post("sys/policies/acl/bad", {"policy": text}), 400, 204)
        for text in ("{", '{"path":' * 5_000)
    ),
    *(
        Case(f"policy: {text[:30]!r}", post("sys/policies/acl/bad", {"policy": text}), (200, 204, 400), 204)
        for text in ('path "a" { min_wrapping_ttl = "-1" }', 'path "a*b*c" { capabilities = ["read"] }')
    ),
    *(
        Case(f"password policy: {text[:30]!r}", post("sys/policies/password/bad", {"policy": text}), 400)
        for text in (
            "",
            "length = 2",
            "length = 20",
            'length = 99999999\nrule "charset" { charset = "ab" }',
            'length = 20\nrule "charset" { charset = "a" min-chars = 99 }',
            'length = 20\nrule "bogus" {}',
        )
    ),
    *(
        Case(f"mount at {path[:24]!r}", post(f"sys/mounts/{path}", {"type": "kv"}), 400)
        for path in ("sys", "sys/x", "cubbyhole", "secret", "secret/below", "auth", "identity/x")
    ),
    Case("mount kv of version 3", post("sys/mounts/bad", {"type": "kv", "options": {"version": "3"}}), 400),
    Case("mount kv of version x", post("sys/mounts/bad", {"type": "kv", "options": {"version": "x"}}), 400),
    Case("move what is not there", post("sys/remount", {"from": "nothing", "to": "elsewhere"}), 400),
    Case("move to nowhere", post("sys/remount", {"from": "secret", "to": ""}), 400),
    Case("move onto the system", post("sys/remount", {"from": "secret", "to": "sys"}), 400),
    Case("capabilities of nothing", post("sys/capabilities-self", {}), 400),
    Case("capabilities of the wrong type", post("sys/capabilities-self", {"paths": {"a": 1}}), 400),
    Case("unwrap nonsense", post("sys/wrapping/unwrap", {"token": "x\0y"}), 400),
    Case("unwrap a number", post("sys/wrapping/unwrap", {"token": {}}), (400, 403), 403),
)

PATHS = (
    Case("NUL, encoded", get("/v1/secret/data/a%00b"), 400),
    Case("NUL, raw", get(b"/v1/secret/data/a\0b"), (400, CLOSED)),
    Case(".. raw", get("/v1/secret/data/../../sys/mounts"), (307, 400, 404), 307),
    Case(". raw", get("/v1/secret/./data/x"), (307, 400, 404), 307),
    Case(".. as %2e%2e", get("/v1/secret/data/%2e%2e/%2e%2e/sys/mounts"), 400),
    Case(".. as ..%2f", get("/v1/secret/data/..%2f..%2fsys/mounts"), 400),
    Case(".. as %2e%2e%2f", get("/v1/secret/data/%2e%2e%2fsys/mounts"), 400),
    Case(".. as .%2e at the end", get("/v1/secret/data/.%2e"), 400),
    Case(".. with a backslash", get("/v1/secret/data/..\\..\\sys"), (400, 404), 404),
    Case(".. encoded twice", get("/v1/secret/data/%252e%252e/x"), (400, 404), 404),
    Case("two slashes", get("//v1//secret//data//x"), (307, 400, 404), 404),
    Case("a slash, encoded", get("/v1/secret%2fdata%2fnothing"), 404),
    Case("a broken escape", get("/v1/secret/data/%zz"), (400, 404), 400),
    Case("half an escape", get("/v1/secret/data/%2"), (400, 404), 400),
    Case("no UTF-8, encoded", get("/v1/secret/data/%ff%fe"), (400, 404), 404),
    Case("no UTF-8, raw", get(b"/v1/secret/data/\xff\xfe"), (400, 404), 404),
    Case("CR LF, encoded", get("/v1//secret/%0d%0aX-Injected:%20yes"), (307, 400, 404), 400),
    Case("other control characters", get("/v1/secret/data/%01%7f%1b"), (400, 404), 400),
    Case("a path of 9 kB", get("/v1/secret/data/" + "a" * 9_000), (400, 404, 414), 404),
    Case("a path of 60 kB", get("/v1/secret/data/" + "a" * 60_000), (400, 404, 414, 431), 404),
    Case("a path of 2 MB", get("/v1/secret/data/" + "a" * 2 * 2**20), (400, 414, 431, CLOSED), (431, CLOSED)),
    Case("3,000 folders", get("/v1/secret/data" + "/a" * 3_000), (400, 404, 414), 404),
    Case("a query of 2 MB", get("/v1/secret/data/x?" + "a=b&" * 2**19), (400, 414, 431, CLOSED), (431, CLOSED)),
    Case(
        "a query of 2,000 parameters",
        get("/v1/secret/data/x?" + "&".join(f"p{n}=1" for n in range(2_000))),
        (200, 400, 404, 414),
    ),
    Case("a broken query", get("/v1/secret/data/x?%zz=%&;=&&&"), (200, 400, 404)),
    Case("only the prefix", get("/v1/"), (400, 404), 404),
    Case("outside the prefix", get("/v2/secret/data/x"), 404),
    Case("the prefix without a slash", get("/v1"), (400, 404), 404),
    Case("no such mount", get("/v1/nothing/here"), 404),
    Case("a target without a slash", get("v1/secret/data/x"), (400, 404), 400),
    Case("a target of only a star", get("*"), (400, 404, 405), 404),
    Case("a space in the target", get("/v1/secret/data/a b"), 400),
    Case("LIST of a name beyond everything", Request("LIST", "/v1/secret/metadata/" + "a/" * 500), 404),
)

METHODS = (
    Case("a verb nobody knows", Request("BREW", "/v1/secret/data/x"), (400, 405), 405),
    Case("a verb in small letters", Request("get", "/v1/secret/data/x"), (400, 405), 405),
    Case("TRACE", Request("TRACE", "/v1/secret/data/x"), (400, 405), 405),
    Case("CONNECT", Request("CONNECT", "/v1/secret/data/x"), (400, 404, 405)),
    Case("CONNECT to a host", Request("CONNECT", "example.com:443"), (400, 404, 405)),
    Case("OPTIONS", Request("OPTIONS", "/v1/secret/data/x"), (400, 405), 400),
    Case("a verb of 10 kB", Request("A" * 10_000, "/v1/secret/data/x"), (400, 405, CLOSED), 405),
    Case("no verb", Request("", "/v1/secret/data/x"), (400, CLOSED), 400),
    Case("a verb that is not a word", Request("G@T", "/v1/secret/data/x"), (400, 405), 400),
    Case("a verb that is not ASCII", Request("GÉT", "/v1/secret/data/x"), (400, 405), 400),
    Case("POST where only GET is", post("sys/health", {}), 405),
    Case("DELETE where only GET is", Request("DELETE", "/v1/sys/mounts"), 405),
    Case("LIST where only GET is", Request("LIST", "/v1/secret/data/x"), 405),
)


def header(name: str, text: str | bytes, target: str = "/v1/auth/token/lookup-self", token: bool = True) -> Request:
    return get(target, (name, text), token=token)


HEADERS = (
    *(
        Case(f"X-Vault-Wrap-TTL: {text[:20]}", header("X-Vault-Wrap-TTL", text), 400)
        for text in ("-1", "abc", "1.5", "5 parsecs", "9" * 30, "99999999999999999h", "1e400", "-5s", "1h1h1x", "ü")
    ),
    *(
        Case(f"token {label}", get("/v1/auth/token/lookup-self", ("X-Vault-Token", text), token=False), 403)
        for label, text in (
            ("empty", ""),
            ("of spaces", "  "),
            ("of 4 kB", "s." + "A" * 4_000),
            ("not ASCII", "hvs.üñ"),
            ("no UTF-8", b"hvs.\xff\xfe"),
            ("with a path", "../../sys/token"),
            ("batch, too short", "hvb.AA"),
            ("batch, nonsense", "hvb." + "A" * 500),
            ("with a namespace", "hvs." + "A" * 24 + ".nsid"),
            ("of only the prefix", "hvs."),
        )
    ),
    Case(
        "token batch, no base64", get("/v1/auth/token/lookup-self", ("X-Vault-Token", "hvb.!!!"), token=False), 403, 500
    ),
    Case(
        "token with a control character",
        get("/v1/auth/token/lookup-self", ("X-Vault-Token", b"a\x01b"), token=False),
        (400, 403),
        400,
    ),
    Case(
        "token with a NUL", get("/v1/auth/token/lookup-self", ("X-Vault-Token", b"a\0b"), token=False), (400, 403), 400
    ),
    Case("Authorization of another scheme", header("Authorization", "Basic cm9vdDo=", token=False), 403),
    Case("Authorization without a token", header("Authorization", "Bearer", token=False), 403),
    Case("a namespace that climbs", header("X-Vault-Namespace", "../../x"), (400, 403, 404), (400, 404)),
    Case("a namespace with a NUL", header("X-Vault-Namespace", b"a\0b"), (400, 404), 400),
    Case("a namespace that is not ASCII", header("X-Vault-Namespace", "ü"), (400, 403, 404), (400, 404)),
    Case("a namespace of 5 kB", header("X-Vault-Namespace", "n" * 5_000), (400, 403, 404), (400, 404)),
    Case("a header of 1 MB", header("X-Big", "a" * 2**20), (400, 431, CLOSED), (200, 431)),
    Case("a header of 3 MB", header("X-Big", "a" * 3 * 2**20), (400, 431, CLOSED), (431, CLOSED)),
    Case(
        "10,000 headers",
        get("/v1/secret/data/x", *((f"X-{n}", "y" * 100) for n in range(10_000))),
        (400, 431, CLOSED),
        (431, CLOSED),
    ),
    Case("a header name of 100 kB", header("X" * 100_000, "a"), (400, 431, CLOSED), 200),
    Case("forwarded for nonsense", header("X-Forwarded-For", "not an address, ::::", token=False), 403),
    Case("a range", header("Range", "bytes=99-1", token=False), 403),
    Case(
        "an Expect that nobody knows",
        Request("POST", "/v1/secret/data/x", b"{}", (("Expect", "a-miracle"),)),
        (400, 417),
        (400, 417),
    ),
    Case(
        "an upgrade to a web socket",
        get("/v1/secret/data/nothing", ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x")),
        404,
    ),
)

_LINE = b"POST /v1/secret/data/x HTTP/1.1\nHost: localhost\nX-Vault-Token: $TOKEN\n"

PROTOCOL = (
    Case("a length below zero", head(_LINE + b"Content-Length: -1\n\n"), (400, CLOSED)),
    Case("a length that is no number", head(_LINE + b"Content-Length: abc\n\n"), (400, CLOSED)),
    Case("a length with a sign", head(_LINE + b"Content-Length: +2\n\n", b"{}"), (400, CLOSED)),
    Case("a length beyond 64 bits", head(_LINE + b"Content-Length: " + b"9" * 30 + b"\n\n"), (400, 413, CLOSED)),
    Case("a length in hexadecimal", head(_LINE + b"Content-Length: 0x2\n\n", b"{}"), (400, CLOSED)),
    Case("two lengths", head(_LINE + b"Content-Length: 2\nContent-Length: 3\n\n", b"{}"), (400, CLOSED)),
    Case("a length and chunks", head(_LINE + b"Content-Length: 2\nTransfer-Encoding: chunked\n\n", b"0\r\n\r\n"), 400),
    Case(
        "a transfer encoding nobody knows",
        head(_LINE + b"Transfer-Encoding: bogus\n\n", b"{}"),
        (400, CLOSED),
        (400, 501),
    ),
    Case(
        "chunked twice",
        head(_LINE + b"Transfer-Encoding: chunked, chunked\n\n", b"0\r\n\r\n"),
        (400, CLOSED),
        (400, 501),
    ),
    Case(
        "a chunk size that is no number",
        head(_LINE + b"Transfer-Encoding: chunked\n\n", b"xyz\r\n{}\r\n0\r\n\r\n"),
        (400, CLOSED),
        500,
    ),
    Case(
        "a chunk size below zero",
        head(_LINE + b"Transfer-Encoding: chunked\n\n", b"-2\r\n{}\r\n0\r\n\r\n"),
        (400, CLOSED),
        500,
    ),
    Case(
        "a chunk size beyond 64 bits",
        head(_LINE + b"Transfer-Encoding: chunked\n\n", b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n"),
        (400, 413, CLOSED),
        500,
    ),
    Case(
        "a chunk longer than it says",
        head(_LINE + b"Transfer-Encoding: chunked\n\n", b"2\r\n{}{}{}\r\n0\r\n\r\n"),
        (400, CLOSED),
        500,
    ),
    Case(
        "a chunk extension of 1 MB",
        head(_LINE + b"Transfer-Encoding: chunked\n\n", b"2;" + b"x" * 2**20 + b"\r\n{}\r\n0\r\n\r\n"),
        (400, CLOSED),
        500,
    ),
    Case("a header without a colon", head(_LINE + b"nonsense\n\n"), (400, CLOSED)),
    Case("a header without a name", head(_LINE + b": value\n\n"), (400, CLOSED)),
    Case("a space before the colon", head(_LINE + b"X-A : value\n\n"), (400, CLOSED)),
    Case("a folded header", head(_LINE + b"X-A: one\n two\n\n"), (400, CLOSED)),
    Case("no host", head(b"GET /v1/sys/health HTTP/1.1\n\n"), (200, 400), 400),
    Case("two hosts", head(b"GET /v1/sys/health HTTP/1.1\nHost: a\nHost: b\n\n"), (200, 400), 400),
    Case("a host that is none", head(b"GET /v1/sys/health HTTP/1.1\nHost: a b/c@d\n\n"), (200, 400), 400),
    Case("HTTP/0.9, which cannot carry a token", head(b"GET /v1/sys/health\n\n"), (200, 400, CLOSED), 400),
    Case("HTTP/9.9", head(b"GET /v1/sys/health HTTP/9.9\nHost: a\n\n"), (400, CLOSED), 505),
    Case("HTTP/2 where none is spoken", head(b"PRI * HTTP/2.0\n\nSM\n\n"), (400, 404, CLOSED), 404),
    Case(
        "a TLS hello",
        Request(head=bytes.fromhex("16030100a5010000a10303") + b"\xab" * 160 + b"\r\n\r\n"),
        (400, CLOSED),
    ),
    Case("random bytes", Request(head=bytes(range(255, -1, -1)) * 8 + b"\r\n\r\n"), (400, CLOSED)),
    Case("empty lines first", head(b"\n\n\nGET /v1/sys/health HTTP/1.1\nHost: a\n\n"), (200, 400, CLOSED), (200, 400)),
    Case("only line feeds", Request(head=b"GET /v1/sys/health HTTP/1.1\nHost: a\n\n"), (200, 400, CLOSED), 200),
)

SEALED = (
    *fields(
        "sys/unseal",
        "key",
        "",
        "x",
        "zz" * 33,
        "abc",
        "00",
        "00" * 15,
        "ab" * 16 + "c",
        "not hex!",
        "\0" * 33,
        5,
        {},
        ["00" * 33],
        True,
        "é" * 33,
        "A" * 10**6,
    ),
    Case("unseal without a key", post("sys/unseal", {}), 400),
    Case("unseal: reset of the wrong type", post("sys/unseal", {"reset": "x"}), 400),
    Case("unseal: cut off", post("sys/unseal", b'{"key": "'), 400),
    Case("init again", post("sys/init", {"secret_shares": 1, "secret_threshold": 1}), 400),
    Case("a secret while sealed", get("/v1/secret/data/x"), 503),
    Case("bad JSON while sealed", post("secret/data/x", b"{"), (400, 503), 400),
)
