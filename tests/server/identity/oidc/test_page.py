"""The page at which users log in to an application: how it is served, and what its script does, run by Node.js."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import shutil
import urllib.parse

import pytest
from caveau.server.identity.oidc import page
from caveau.tests.peers import caveau_server
from caveau.tests.server.harness import Server
from caveau.tests.server.overhttp import serving

PATH = "/ui/vault/identity/oidc/provider/default/authorize"


@pytest.mark.parametrize(
    "path", [PATH, PATH + "?client_id=x", PATH + "/", PATH.replace("identity", "ns1/a/identity", 1)]
)
async def test_the_page_is_served_where_providers_say(path):
    server = await Server(ui=True).start()
    async with serving(server) as client:
        answer = await client.ask("GET", path, token="")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert (await client.ask("HEAD", path, token="")).status == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; connect-src 'self'; ")
        for tag in ("script", "style"):  # what the browser is told to run is what is there
            (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.body.decode(), re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}';" in policy
    await server.core.stop()


@pytest.mark.parametrize("path", ["/ui/", "/ui/vault", PATH + "/x", "/ui" + PATH, "/ui/vault/a//" + PATH[10:]])
async def test_there_is_no_other_page(path):
    server = await Server(ui=True).start()
    async with serving(server) as client:
        assert (await client.ask("GET", path, token="")).status in (404, 307, 301)
        assert (await client.ask("POST", PATH, token="")).status == 404
    await server.core.stop()


async def test_the_page_is_there_only_where_it_is_wanted():
    server = await Server().start()
    async with serving(server) as client:
        assert (await client.ask("GET", PATH, token="")).status == 404
    await server.core.stop()
    server = await Server(ui=True).start()
    async with serving(server, role="metrics_only") as client:
        assert (await client.ask("GET", PATH, token="")).status == 404
    await server.core.stop()


class Browser:
    """Runs the page's own script on an address, as the user fills in its form."""

    def __init__(self, root, address: str) -> None:
        self.root, self.address = root, address

    async def submit(self, how: dict[str, str], **params: str) -> dict[str, str]:
        """``{"to": where the browser goes}``, or ``{"problem": what the page shows}``."""
        url = f"{self.address}{PATH}?{urllib.parse.urlencode(params)}"
        script = page.SCRIPT + (
            f"authorize(new URL({json.dumps(url)}), {json.dumps(how)})"
            ".then(to => console.log(JSON.stringify({to})), e => console.log(JSON.stringify({problem: e.message})))"
        )
        process = await asyncio.create_subprocess_exec(
            "node", "-", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(script.encode())
        found: dict[str, str] = json.loads(out)
        return found


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_page_logs_in_and_sends_the_browser_back():
    hvac = pytest.importorskip("hvac")
    with caveau_server() as peer:
        root = hvac.Client(url=peer.address, token=peer.token)
        root.sys.enable_auth_method("userpass", path="people/here")
        root.auth.userpass.create_or_update_user("ada", "p/w?", mount_point="people/here")
        root.write("identity/oidc/client/app", redirect_uris="https://app/cb?a=b,javascript:x", assignments="allow_all")
        asked = {
            "response_type": "code",
            "client_id": root.read("identity/oidc/client/app")["data"]["client_id"],
            "redirect_uri": "https://app/cb?a=b",
            "scope": "openid",
            "state": "s&t",
            "max_age": "60",
        }
        password = {"mount": "people/here", "username": "ada", "password": "p/w?"}
        browser = Browser(root, peer.address)

        def submit(how=password, **changed):
            return asyncio.run(browser.submit(how, **(asked | changed)))

        def query(where):
            assert where["to"].startswith("https://app/cb?a=b&")
            return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(where["to"]).query))

        before = len(root.list("auth/token/accessors")["data"]["keys"])
        back = query(submit())
        assert (back["a"], back["state"], len(back["code"])) == ("b", "s&t", 32)
        assert len(root.list("auth/token/accessors")["data"]["keys"]) == before  # the login's token is gone again
        token = root.auth.userpass.login("ada", "p/w?", mount_point="people/here", use_token=False)["auth"]
        assert query(submit({"token": token["client_token"]}))["code"]
        assert root.lookup_token(token["client_token"])
        refused = query(submit(response_type="token"))
        assert (refused["error"], refused["state"], "code" in refused) == ("unsupported_response_type", "s&t", False)
        assert query(submit({"token": peer.token}))["error"] == "access_denied"
        for changed, problem in (
            ({"client_id": "x"}, "client with client_id not found"),
            ({"redirect_uri": "https://evil/"}, "redirect_uri is not allowed"),
            ({"redirect_uri": ""}, "redirect_uri parameter is required"),
            ({"redirect_uri": "javascript:x"}, "no address"),
            ({"how": password | {"password": "x"}}, "invalid username or password"),
            ({"how": {"token": "x"}}, "permission denied"),
        ):
            assert problem in submit(**changed)["problem"]
        root.adapter.close()
