"""``login``: from credentials to a token, which is then kept."""

from __future__ import annotations

import sys
from typing import Any

from .. import environment, pairs, second_factor, terminal, token_store
from ..client import Client, ClientError
from ..command import Arity, Command
from ..envelope import Secret
from ..flags import Flag
from ..invocation import CommandError, Invocation

SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
WITH_PASSWORD = ("userpass", "ldap", "okta", "radius")

_PASSWORD_HELP = """Usage: caveau login -method={0} [CONFIG K=V...]

  Logs in with a user name and a password, which is asked for where it is not given.

      $ caveau login -method={0} username=ann
      Password (will be hidden):

Configuration:

  password=<string>
      The password; "password=-" reads it from standard input.

  username=<string>
      The user name."""

METHODS = {
    "token": """Usage: caveau login TOKEN [CONFIG K=V...]

  Checks a token and keeps it. Without TOKEN it is asked for; "-" reads it from standard input.

Configuration:

  token=<string>
      The token, as an alternative to the argument.

  lookup=<bool>
      Whether to ask the server about the token. The default is true.""",
    **{method: _PASSWORD_HELP.format(method) for method in WITH_PASSWORD},
    "approle": """Usage: caveau login -method=approle [CONFIG K=V...]

  Logs in with the id of a role and a secret id that was made for it.

      $ caveau login -method=approle role_id=... secret_id=@/run/secret-id

Configuration:

  role_id=<string>
      The id of the role, which is not its name.

  secret_id=<string>
      The secret id, unless the role needs none; "secret_id=-" reads it from
      standard input and "secret_id=@file" from a file.""",
    "kubernetes": f"""Usage: caveau login -method=kubernetes [CONFIG K=V...]

  Logs in as a Kubernetes service account.

Configuration:

  jwt=<string>
      The service account's token. The default is the one in
      {SERVICE_ACCOUNT_TOKEN}.

  role=<string>
      The role to log in as.""",
}


class LoginError(Exception):
    """The credentials are incomplete."""


def generic_help(method: str) -> str:
    """How to log in with a method that this program knows nothing special about."""
    return (
        f"Usage: caveau login -method={method} [CONFIG K=V...]\n\n"
        f"  The K=V pairs are sent to auth/{method}/login (see -path) as they are; a username becomes part of\n"
        '  the path. For the names, see "caveau path-help".'
    )


def login(run: Invocation) -> int:
    flags = run.flags
    field, store = flags.text("field"), not flags.on("no-store")
    if flags.on("token-only"):
        field, store = "token", False
    if not store and flags.on("no-print"):
        raise CommandError("-no-store and -no-print cannot be used together", 1)
    method = (flags.text("method") or "token").strip()
    credentials = _credentials(run, method)
    try:
        secret = _authenticate(run, method, credentials)
        if store and secret.get("wrap_info"):
            secret = _unwrap(run.client, secret)
        if second_factor.is_wanted(secret) and (validated := second_factor.validate(run, secret)):
            secret = validated
    except (ClientError, LoginError, OSError, token_store.TokenStoreError) as e:
        raise CommandError(f"Error authenticating: {e}") from e
    if flags.on("token-only") and secret.get("wrap_info"):
        field = "wrapping_token"
    if store and (token := (secret.get("auth") or {}).get("client_token")):
        _keep(token)
    if flags.on("no-print"):
        return 0
    if not field and run.table:
        _congratulate(secret, store)
    return run.secret(secret, field)


def _credentials(run: Invocation, method: str) -> dict[str, Any]:
    arguments = list(run.args)
    if method == "token" and arguments and "=" not in arguments[0]:
        first = arguments.pop(0)
        arguments.insert(0, "token=" + (sys.stdin.read().strip() if first == "-" else first))
    try:
        return pairs.parse(arguments)
    except pairs.PairError as e:
        raise CommandError(f"Error parsing configuration: {e}", 1) from e


def _authenticate(run: Invocation, method: str, credentials: dict[str, Any]) -> Secret:
    """Log in. Raises ClientError, LoginError."""
    if method == "token":
        return _token(run, credentials)
    mount = (run.flags.text("path") or str(credentials.pop("mount", ""))).strip("/") or method
    user = str(credentials.pop("username", "")).strip()
    if method in WITH_PASSWORD:
        if not user:
            raise LoginError("'username' must be specified")
        if "password" not in credentials:
            credentials["password"] = _ask(run, "Password (will be hidden): ", "password")
    if method == "kubernetes" and "jwt" not in credentials:
        with open(SERVICE_ACCOUNT_TOKEN, encoding="utf-8") as file:
            credentials["jwt"] = file.read().strip()
    path = f"auth/{mount}/login" + (f"/{user}" if user else "")
    secret = run.client.with_(token="").write(path, credentials)
    if not secret or not (secret.get("auth") or secret.get("wrap_info")):
        raise LoginError("the server gave no token")
    return secret


def _token(run: Invocation, credentials: dict[str, Any]) -> Secret:
    """A token is its own credential; ask the server what it is worth."""
    if "token" not in credentials:
        credentials["token"] = _ask(run, "Token (will be hidden): ", "token")
    token = str(credentials["token"])
    if not token:
        raise LoginError("a token must be passed to auth, please view the help for more information")
    auth: dict[str, Any] = {"client_token": token}
    try:
        look = environment.parse_bool(str(credentials.get("lookup", "true")))
    except ValueError as e:
        raise LoginError(f"failed to parse lookup as a boolean: {e}") from e
    if look:
        headers = {name: value for name, value in run.client.settings.headers.items() if name != "X-Vault-Wrap-TTL"}
        try:
            found = run.client.with_(token=token, headers=headers).read("auth/token/lookup-self")
        except ClientError as e:
            raise LoginError(f"error looking up token: {e}") from e
        data = (found or {}).get("data") or {}
        own, identity = data.get("policies"), data.get("identity_policies")
        auth |= {
            "accessor": data.get("accessor") or "",
            "policies": [*(own or ()), *(name for name in identity or () if name not in (own or ()))] or None,
            "token_policies": own,
            "identity_policies": identity,
            "metadata": data.get("meta"),
            "entity_id": data.get("entity_id") or "",
            "lease_duration": data.get("ttl") or 0,
            "renewable": bool(data.get("renewable")),
        }
    return {"auth": auth}


def _ask(run: Invocation, question: str, what: str) -> str:
    return run.prompt(
        question,
        lambda reason: (
            f"Error authenticating: cannot ask for a {what}: {reason}. To pass one from a pipe, use "
            + ('"-" as the argument' if what == "token" else f'"{what}=-"')
            + ", which reads standard input."
        ),
        code=2,
    )


def _unwrap(client: Client, secret: Secret) -> Secret:
    headers = {name: value for name, value in client.settings.headers.items() if name != "X-Vault-Wrap-TTL"}
    inner = client.with_(token=secret["wrap_info"]["token"], headers=headers).write("sys/wrapping/unwrap")
    if not inner:
        raise LoginError("the wrapped answer is empty")
    return inner


def _keep(token: str) -> None:
    try:
        token_store.store(token)
    except token_store.TokenStoreError as e:
        raise CommandError(f"Error storing token: {e}") from e
    if name := environment.variable("TOKEN"):
        terminal.warn(terminal.wrap(
            f"WARNING! The {name} environment variable is set! The value of this variable will take precedence; if "
            f"this is unwanted please unset {name} or update its value accordingly."
        ) + "\n")  # fmt: skip


def _congratulate(secret: Secret, stored: bool) -> None:
    if second_factor.is_wanted(secret):
        return
    if stored:
        text = (
            "Success! You are now authenticated. The token information displayed below is already stored in the "
            'token helper. You do NOT need to run "caveau login" again. Future requests will automatically use '
            "this token."
        )
    else:
        text = "Success! You are now authenticated. The token is not stored; it is shown below."
    print(terminal.wrap(text) + "\n")


LOGIN = Command(
    "login", login,
    "Logs in, shows the token and keeps it for later commands. The default method is token.\n\n"
    "    $ caveau login -\n"
    "    $ caveau login -method=userpass username=ann\n"
    "    $ caveau login -method=approle role_id=... secret_id=@/run/secret-id\n\n"
    'For what a method wants, see "caveau auth help TYPE".',
    usage="[options] [AUTH K=V...]", arity=Arity(0, None), formats=True, field=True,
    flags=(
        Flag("method", "string", 'Type of the auth method. The default is "token".', default="token"),
        Flag("no-print", "bool", "Do not show the token; keep it only."),
        Flag("no-store", "bool", "Do not keep the token; show it only."),
        Flag("path", "string", "Where the method is mounted. The default is its type."),
        Flag("token-only", "bool", "Print only the token and do not keep it (-field=token -no-store)."),
    ),
)  # fmt: skip
