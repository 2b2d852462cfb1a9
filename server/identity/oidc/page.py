"""The web page at which the users of an application log in: the authorisation endpoint of a provider.

It is one file without any other. What the user types goes to the login of an auth method, the token from there to
``authorize`` (see authorize.py), and the browser is sent back to the application with the code. The server checks the
client and where it wants the user sent back to before all else, so that the page never follows an address of an
attacker's: those errors stay on the page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

_PATH = re.compile(r"/ui/vault/(?:[\w.\-]+/)*identity/oidc/provider/[\w.\-]+/authorize/?", re.ASCII)

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: #f4f4f6; color: #1c1c22 }
main { max-width: 22rem; margin: 12vh auto; padding: 2rem; background: #fff; border-radius: .5rem }
h1 { font-size: 1.25rem; margin: 0 0 1rem }
label { display: block; margin: .75rem 0 }
input, select, button { font: inherit; box-sizing: border-box; width: 100%; padding: .5rem }
fieldset { border: 0; margin: 0; padding: 0 }
#problem { color: #a00 }
[hidden] { display: none }
"""

SCRIPT: Final = """
"use strict";
const STAY = ["invalid_client_id", "invalid_redirect_uri", "max_age_violation"];

async function ask(url, token, body) {
  const headers = { "Content-Type": "application/json", "X-Vault-Request": "true" };
  if (token) headers["X-Vault-Token"] = token;
  const sent = { method: "POST", headers, body: JSON.stringify(body), credentials: "omit", redirect: "error" };
  const response = await fetch(url, sent);
  const answer = response.status === 204 ? {} : await response.json();
  if (answer.errors) throw new Error(answer.errors.join("; ") || "the server answers " + response.status);
  return answer;
}

async function logIn(base, mount, username, password) {
  const path = mount.split("/").map(encodeURIComponent).join("/") + "/login/" + encodeURIComponent(username);
  const { auth } = await ask(base + "auth/" + path, "", { password });
  if (!auth || !auth.client_token) throw new Error("this login needs more than a password: log in with a token");
  return auth.client_token;
}

// The address to send the browser to; throws an error to show where there is none that can be trusted.
async function authorize(address, how) {
  const [, namespace, provider] = /^[/]ui[/]vault[/](.*?)(identity[/]oidc[/]provider[/][^/]+[/]authorize)/
    .exec(address.pathname);
  const base = address.origin + "/v1/" + namespace;
  const wanted = Object.fromEntries(address.searchParams);
  const token = how.token || await logIn(base, how.mount, how.username, how.password);
  let answer;
  try {
    answer = await ask(base + provider, token, wanted);
  } finally {
    if (!how.token) await ask(base + "auth/token/revoke-self", token, {}).catch(() => {});
  }
  if (STAY.includes(answer.error) || !wanted.redirect_uri) throw new Error(answer.error_description);
  const back = new URL(wanted.redirect_uri);
  if (["javascript:", "data:", "vbscript:"].includes(back.protocol)) throw new Error("this redirect_uri is no address");
  for (const [name, value] of Object.entries(answer)) if (value) back.searchParams.set(name, value);
  return back.href;
}

if (typeof document !== "undefined") {
  const by = id => document.getElementById(id);
  const show = () => {
    by("by-token").hidden = by("method").value !== "token";
    by("by-password").hidden = !by("by-token").hidden;
  };
  by("method").addEventListener("change", show);
  show();
  by("form").addEventListener("submit", async event => {
    event.preventDefault();
    by("problem").textContent = "";
    by("fields").disabled = true;
    const how = by("by-token").hidden
      ? { mount: by("mount").value, username: by("username").value, password: by("password").value }
      : { token: by("token").value.trim() };
    try {
      location.assign(await authorize(new URL(location.href), how));
    } catch (error) {
      by("problem").textContent = error.message;
      by("fields").disabled = false;
    }
  });
}
"""

_HTML = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Log in with Caveau</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Log in to go on to the application</h1>
<noscript>This page needs JavaScript.</noscript>
<form id="form">
<fieldset id="fields">
<label>Log in with
<select id="method"><option value="password">a password</option><option value="token">a token</option></select></label>
<div id="by-password">
<label>Username <input id="username" autocomplete="username" autocapitalize="none" spellcheck="false"></label>
<label>Password <input id="password" type="password" autocomplete="current-password"></label>
<label>Auth method mounted at <input id="mount" value="userpass" autocapitalize="none" spellcheck="false"></label>
</div>
<div id="by-token"><label>Token <input id="token" type="password" autocomplete="off"></label></div>
<button>Log in</button>
</fieldset>
</form>
<p id="problem" role="alert"></p>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


PAGE: Final = _HTML.encode()
HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; connect-src 'self'; script-src {_hash(SCRIPT)}; "
    f"style-src {_hash(_STYLE)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def is_page(path: str) -> bool:
    """Whether a raw request path is that of the page."""
    return _PATH.fullmatch(path) is not None
