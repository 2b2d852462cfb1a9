"""Duo, Okta and PingID: their APIs as documented, served here over TLS by stand-ins that check what they are sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
import pytest
from aiohttp import TCPConnector, web
from aiohttp.abc import AbstractResolver
from caveau.framework.errors import PermissionDenied
from caveau.server.identity.mfa import okta, remote
from caveau.tests.server.identity.mfa.test_methods import DUO, FILE, OKTA, PINGID

HOST = "127.0.0.1"


class Here(AbstractResolver):
    """Every host is here."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        return [{"hostname": host, "host": HOST, "port": self.port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


class Provider:
    """A stand-in: ``answer`` is called with each request and its body, which are kept too."""

    answer: Callable[[web.BaseRequest, str], Any]

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.asked.append((f"{request.method} {request.headers['Host']}{request.raw_path}", body))
        found = self.answer(request, body)
        if asyncio.iscoroutine(found):
            found = await found
        if isinstance(found, web.StreamResponse):
            return found
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)


@pytest.fixture
def tls(authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What the stand-in serves with, and what trusts it."""
    pair = authority.issue("provider", hosts=(DUO["api_hostname"], "acme.okta.com", "idp.example"))
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(pair.cert, pair.key)
    return serving, ssl.create_default_context(cafile=str(authority.pem))


@pytest.fixture
async def provider(tls, monkeypatch) -> AsyncIterator[Provider]:
    provider = Provider()
    serving = await asyncio.get_running_loop().create_server(web.Server(provider.handle), HOST, 0, ssl=tls[0])
    port = serving.sockets[0].getsockname()[1]
    monkeypatch.setattr(remote, "connector", lambda: TCPConnector(resolver=Here(port), ssl=tls[1]))
    monkeypatch.setattr(okta, "POLL_SECONDS", 1e-3)
    yield provider
    serving.close()


async def guard(server, kind, **settings):
    """Only this method will do from now on."""
    server.method = await server.create(kind, "m", **settings)
    await server.enforce()


async def refusal(server, *passcode):
    with pytest.raises(PermissionDenied) as refused:
        await server.validate(await server.begin(), *passcode)
    assert "hush" not in str(refused.value)
    return str(refused.value)


# Duo


def duo(result="allow", known="auth"):
    """Duo's answers, to requests that are signed as it demands."""

    def answer(request, body):
        lines = (request.headers["Date"], "POST", DUO["api_hostname"], request.path, body)
        signed = hmac.new(DUO["secret_key"].encode(), "\n".join(lines).encode(), hashlib.sha1).hexdigest()
        expected = base64.b64encode(f"{DUO['integration_key']}:{signed}".encode()).decode()
        if request.headers["Authorization"] != f"Basic {expected}":
            return web.json_response({"stat": "FAIL", "message": "Invalid signature"}, status=401)
        return {"stat": "OK", "response": {"result": known if request.path.endswith("/preauth") else result}}

    return answer


async def test_duo_sends_a_push(server, provider):
    provider.answer = duo()
    await guard(server, "duo", **DUO, push_info="from=login portal&a=~b", username_format="{{identity.entity.name}}@x")
    assert (await server.validate(await server.begin())).auth["client_token"]
    assert [where for where, _ in provider.asked] == [
        f"POST {DUO['api_hostname']}/auth/v2/preauth", f"POST {DUO['api_hostname']}/auth/v2/auth",
    ]  # fmt: skip
    asked = {name: value[0] for name, value in parse_qs(provider.asked[1][1]).items()}
    assert asked == {"username": "ann-entity@x", "ipaddr": HOST, "factor": "push", "device": "auto",
                     "pushinfo": "from=login portal&a=~b"}  # fmt: skip


async def test_duo_verifies_a_passcode(server, provider):
    provider.answer = duo()
    await guard(server, "duo", **DUO, use_passcode=True)
    assert (await server.log_in("m:passcode=123456")).auth["client_token"]
    assert parse_qs(provider.asked[1][1])["passcode"] == ["123456"]
    assert "failed to get passcode" in await refusal(server)


async def test_duo_lets_pass_whom_it_is_told_to(server, provider):
    provider.answer = duo(result="deny", known="allow")
    await guard(server, "duo", **DUO)
    assert (await server.log_in("m")).auth["client_token"]


@pytest.mark.parametrize(("result", "known", "why"), [
    ("deny", "auth", "Duo denies access"), ("allow", "deny", "Duo denies access"), (None, None, "Duo denies access"),
    ("allow", "enroll", "not enrolled"),
])  # fmt: skip
async def test_duo_denies(server, provider, result, known, why):
    provider.answer = duo(result, known)
    await guard(server, "duo", **DUO)
    assert why in await refusal(server)


async def test_duo_with_a_wrong_key(server, provider):
    provider.answer = duo()
    await guard(server, "duo", **DUO | {"secret_key": "hush-wrong"})
    assert "Duo answered with an error: status 401" in await refusal(server)


async def test_one_push_at_a_time(server, provider):
    pushed, confirmed = asyncio.Event(), asyncio.Event()
    answer = duo()

    async def wait(request, body):
        if request.path.endswith("/auth"):
            pushed.set()
            await confirmed.wait()
        return answer(request, body)

    provider.answer = wait
    await guard(server, "duo", **DUO)
    request = await server.begin()
    first = asyncio.create_task(server.validate(request))
    await pushed.wait()
    assert "another login of the same user waits" in await refusal(server)
    confirmed.set()
    assert (await first).auth["client_token"]
    assert await server.log_in("m")


# Okta


def okta_answers(*results, factors=({"id": "f1", "factorType": "push", "status": "ACTIVE"},), poll="/transactions/t1"):
    left = list(results)
    factor = "https://acme.okta.com/api/v1/users/00u1/factors/f1"

    def answer(request, body):
        if request.headers["Authorization"] != f"SSWS {OKTA['api_token']}":
            return web.json_response({"errorCode": "E0000011"}, status=401)
        match request.method, request.path:
            case "GET", "/api/v1/users":
                return [{"id": "00u1"}]
            case "GET", "/api/v1/users/ann-entity":
                return {"id": "00u1"}
            case "GET", "/api/v1/users/00u1/factors":
                return list(factors)
            case _, "/api/v1/users/00u1/factors/f1/verify" | "/api/v1/users/00u1/factors/f1/transactions/t1":
                href = poll if poll.startswith("https:") else factor + poll
                return {"factorResult": left.pop(0), "_links": {"poll": {"href": href}}}
        return web.json_response({"errorCode": "E0000007"}, status=404)

    return answer


async def test_okta_polls_until_the_push_is_confirmed(server, provider):
    provider.answer = okta_answers("WAITING", "WAITING", "SUCCESS")
    await guard(server, "okta", **OKTA)
    assert (await server.validate(await server.begin())).auth["client_token"]
    assert len(provider.asked) == 5
    assert provider.asked[0][0] == "GET acme.okta.com/api/v1/users/ann-entity"


async def test_okta_finds_users_by_their_address(server, provider):
    provider.answer = okta_answers("SUCCESS")
    await guard(server, "okta", **OKTA, primary_email=True, username_format="{{identity.entity.name}}@x.org")
    assert (await server.log_in("m")).auth["client_token"]
    assert unquote(provider.asked[0][0]).endswith('?limit=2&search=profile.email eq "ann-entity@x.org"')


@pytest.mark.parametrize("result", ["REJECTED", "TIMEOUT", None])
async def test_okta_denies(server, provider, result):
    provider.answer = okta_answers("WAITING", result)
    await guard(server, "okta", **OKTA)
    assert "Okta denies access" in await refusal(server)


@pytest.mark.parametrize(("answers", "settings", "why"), [
    ({"factors": ({"id": "f1", "factorType": "push", "status": "PENDING_ACTIVATION"},)}, {}, "no Okta Verify push"),
    ({"poll": "https://evil.example/t1"}, {}, "leads elsewhere"),
    ({"poll": "https://acme.okta.com/api/v1/users/00u1/factors/f1.evil"}, {}, "leads elsewhere"),
    ({}, {"username_format": "nobody"}, "Okta answered with an error: status 404"),
    ({}, {"username_format": "../apps"}, "Okta answered with an error: status 404"),
    ({}, {"username_format": "{{identity.entity.metadata.none}}"}, "has no value for this entity"),
    ({}, {"api_token": "hush-wrong"}, "Okta answered with an error: status 401"),
])  # fmt: skip
async def test_okta_gets_no_push_out(server, provider, answers, settings, why):
    provider.answer = okta_answers("WAITING", **answers)
    await guard(server, "okta", **OKTA | settings)
    assert why in await refusal(server)


async def test_okta_is_not_waited_for_without_end(server, provider, monkeypatch):
    monkeypatch.setattr(okta, "POLL_SECONDS", 1e-9)
    monkeypatch.setattr(okta, "PUSH_SECONDS", 3e-9)
    provider.answer = okta_answers(*["WAITING"] * 10)
    await guard(server, "okta", **OKTA)
    assert "did not confirm in time" in await refusal(server)


# PingID

KEY = b"hush-ping-with-256-bits-of-a-key"


def pingid(error=200, key=KEY, asked=None):
    def answer(request, body):
        payload = jwt.decode(body, KEY, ["HS256"])
        if asked is not None:
            asked.update(header=jwt.get_unverified_header(body), path=request.path, **payload)
        return jwt.encode({"responseBody": {"errorId": error, "errorMsg": "x"}}, key, "HS256")

    return answer


async def test_pingid_confirms(server, provider):
    asked = {}
    provider.answer = pingid(asked=asked)
    await guard(server, "pingid", **PINGID)
    assert (await server.validate(await server.begin())).auth["client_token"]
    assert asked["path"] == "/pingid/rest/4/authonline/do"
    assert (asked["header"]["org_alias"], asked["header"]["token"]) == ("org", "hush-token")
    assert asked["reqBody"] == {"authType": "CONFIRM", "spAlias": "web", "userName": "ann-entity"}
    assert asked["reqHeader"]["secretKey"] == "hush-token"


@pytest.mark.parametrize(("answers", "why"), [
    ({"error": 30001}, "PingID denies access"),
    ({"key": b"the key of somebody else " * 2}, "PingID answered with an error: status 200"),
])  # fmt: skip
async def test_pingid_denies(server, provider, answers, why):
    provider.answer = pingid(**answers)
    await guard(server, "pingid", **PINGID)
    assert why in await refusal(server)


@pytest.mark.parametrize(
    ("old", "new"), [("https://", "http://"), ("use_base64_key=", "use_base64_key=!"), ("use_base64_key=", "token=")]
)
async def test_pingid_without_what_makes_it_safe(server, provider, old, new):
    file = base64.b64encode(FILE.replace(old, new).encode()).decode()
    await guard(server, "pingid", settings_file_base64=file)
    assert "the PingID settings have no" in await refusal(server)
    assert not provider.asked


# All of them


@pytest.mark.parametrize("answer", ["no JSON", None, [], "{}", {"stat": "OK"}, {"stat": "OK", "response": []}])
@pytest.mark.parametrize(("kind", "settings"), [("duo", DUO), ("okta", OKTA), ("pingid", PINGID)])
async def test_answers_that_make_no_sense(server, provider, kind, settings, answer):
    elsewhere = {"Location": "https://evil.example/"}
    provider.answer = lambda request, body: web.Response(status=302, headers=elsewhere) if answer is None else answer
    await guard(server, kind, **settings)
    assert "login MFA validation failed" in await refusal(server)
    assert len(provider.asked) == 1


async def test_a_provider_that_nobody_vouches_for(server, provider, monkeypatch):
    provider.answer = duo()
    port = remote.connector()._resolver.port
    monkeypatch.setattr(remote, "connector", lambda: TCPConnector(resolver=Here(port)))
    await guard(server, "duo", **DUO)
    assert "no answer from the MFA provider" in await refusal(server)
    assert not provider.asked
