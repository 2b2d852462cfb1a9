"""``secrets`` and ``auth``: what is mounted where. One set of handlers, two nouns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import durations, global_flags, values
from ..command import ONE, Arity, Command, Group
from ..flags import Flag
from ..invocation import CommandError, Invocation

POLL_SECONDS = 0.2


class Noun(NamedTuple):
    """The words and paths in which the two differ."""

    api: str  # "mounts" or "auth"
    tune: str  # before the path of a tune
    title: str
    a_title: str
    enabled: str
    enable_error: str
    list_error: str


SECRETS_ENGINE = Noun("mounts", "sys/mounts", "secrets engine", "a secrets engine",
                      "Enabled the {} secrets engine at: {}",
                      "Error enabling", "Error listing secrets engines")  # fmt: skip
AUTH_METHOD = Noun("auth", "sys/mounts/auth", "auth method", "an auth method", "Enabled {} auth method at: {}",
                   "Error enabling {} auth", "Error listing enabled authentications")  # fmt: skip

# The original's order of keys in JSON.
_MOUNT_KEYS = ("uuid", "type", "description", "accessor", "config", "options", "local", "seal_wrap",
               "external_entropy_access", "plugin_version", "running_plugin_version", "running_sha256",
               "deprecation_status")  # fmt: skip
_MOUNT_TEXTS = _MOUNT_KEYS[-4:]
_CONFIG_KEYS = ("default_lease_ttl", "max_lease_ttl", "force_no_cache", "audit_non_hmac_request_keys",
                "audit_non_hmac_response_keys", "listing_visibility", "passthrough_request_headers",
                "allowed_response_headers", "token_type", "allowed_managed_keys", "user_lockout_config",
                "plugin_name")  # fmt: skip

_HEADERS = (
    Flag("allowed-response-headers", "strings", "Response header that the plugin may set; may be repeated."),
    Flag("audit-non-hmac-request-keys", "strings", "Request field that audit devices show in clear; may be repeated."),
    Flag("audit-non-hmac-response-keys", "strings", "The same for a response field."),
    Flag("default-lease-ttl", "duration", "Lease time where none is asked for. The default is the server's."),
    Flag("description", "string", "What it is for."),
    Flag("listing-visibility", "string", '"unauth" shows it to people who have not logged in; "hidden" does not.'),
    Flag("max-lease-ttl", "duration", "Longest lease time. The default is the server's."),
    Flag("options", "key=value", "Option of the engine; may be repeated."),
    Flag("passthrough-request-headers", "strings", "Request header that the plugin may see; may be repeated."),
    Flag("plugin-version", "string", "Version of the plugin to run."),
    Flag("version", "int", "Version of the engine, such as 2 for kv."),
)  # fmt: skip
_ENABLE = (
    *_HEADERS,
    Flag("external-entropy-access", "bool", "Let it use the external source of randomness."),
    Flag("local", "bool", "Not replicated."),
    Flag("path", "string", "Where to mount it. The default is the type."),
    Flag("plugin-name", "string", 'Name of the plugin, where the type is "plugin".'),
    Flag("seal-wrap", "bool", "Wrap its critical values with the seal, too."),
)
_NO_CACHE = Flag("force-no-cache", "bool", "Do not cache what it stores.")
_TOKEN_TYPE = Flag("token-type", "string", 'Type of the tokens it gives: "default-service", "default-batch", '
                   '"service" or "batch".')  # fmt: skip
_LOCKOUT = (
    Flag("user-lockout-counter-reset-duration", "duration", "Forget failed logins after this long."),
    Flag("user-lockout-disable", "bool", "Do not lock users out."),
    Flag("user-lockout-duration", "duration", "How long a user stays locked out."),
    Flag("user-lockout-threshold", "uint", "Failed logins until a user is locked out."),
)


def slashed(text: str) -> str:
    return text.strip().strip("/") + "/"


def enable(run: Invocation, noun: Noun) -> int:
    flags = run.flags
    kind = run.args[0].strip()
    if kind == "plugin":
        kind = flags.text("plugin-name")
    path = slashed(flags.text("path") or kind)
    config: dict[str, Any] = {
        "options": None,
        "default_lease_ttl": durations.text(flags.number("default-lease-ttl")),
        "max_lease_ttl": durations.text(flags.number("max-lease-ttl")),
        "force_no_cache": flags.on("force-no-cache"),
        **_given_lists(run),
    }
    for name in ("token-type", "plugin-version"):
        if flags.text(name):
            config[name.replace("-", "_")] = flags.text(name)
    body = {
        "type": kind, "description": flags.text("description"), "config": config, "local": flags.on("local"),
        "seal_wrap": flags.on("seal-wrap"), "external_entropy_access": flags.on("external-entropy-access"),
        "options": _options(run),
    }  # fmt: skip
    with run.failing(noun.enable_error.format(kind)):
        run.client.write(f"sys/{noun.api}/{path}", body, "POST")
    return run.say("Success! " + noun.enabled.format(kind, path))


def disable(run: Invocation, noun: Noun) -> int:
    path = slashed(run.args[0])
    with run.failing(f"Error disabling {noun.title} at {path}"):
        run.client.delete(f"sys/{noun.api}/{path}")
    return run.say(f"Success! Disabled the {noun.title} (if it existed) at: {path}")


def tune(run: Invocation, noun: Noun) -> int:
    flags = run.flags
    path = slashed(run.args[0])
    body: dict[str, Any] = {"options": _options(run), "default_lease_ttl": _ttl(flags.number("default-lease-ttl"))}
    if flags.given("description"):
        body["description"] = flags.text("description")
    body |= {"max_lease_ttl": _ttl(flags.number("max-lease-ttl")), "force_no_cache": False, **_given_lists(run)}
    for name in ("token-type", "plugin-version"):
        if flags.given(name):
            body[name.replace("-", "_")] = flags.text(name)
    if lockout := _lockout(run):
        body["user_lockout_config"] = lockout
    with run.failing(f"Error tuning {noun.title} {path}"):
        run.client.write(f"{noun.tune}/{path}tune", body, "POST")
    return run.say(f"Success! Tuned the {noun.title} at: {path}")


def move(run: Invocation, noun: Noun, sleep: Callable[[float], None] = time.sleep) -> int:
    source, target = slashed(run.args[0]), slashed(run.args[1])
    with run.failing(f"Error moving {noun.title} {source} to {target}"):
        answer = run.client.write("sys/remount", {"from": source, "to": target}, "POST")
    migration = (answer or {}).get("migration_id") or ((answer or {}).get("data") or {}).get("migration_id")
    if not migration:
        return run.say(f"Success! Moved {noun.title} {source} to {target}")
    what = f"{noun.title} {source} to {target}, with migration ID {migration}"
    print(f"Started moving {what}", flush=True)
    while True:
        with run.failing(f"Error checking migration status of {what}"):
            answer = run.client.read(f"sys/remount/status/{migration}")
        state = ((answer or {}).get("data") or {}).get("migration_info") or {}
        match state.get("status"):
            case "success":
                return run.say(f"Success! Finished moving {what}")
            case "failure":
                raise CommandError(f"Failure! Error encountered moving {what}")
        sleep(POLL_SECONDS)


def list_(run: Invocation, noun: Noun) -> int:
    with run.failing(noun.list_error):
        mounts = run.client.entries(f"sys/{noun.api}")
    if not run.table:
        return run.data({path: _machine(mounts[path]) for path in sorted(mounts)})
    auth = noun is AUTH_METHOD
    if run.flags.on("detailed"):
        header, rows = _detailed(mounts, auth)
        return run.rows(rows, header)
    header = ["Path", "Type", "Accessor", "Description"] + (["Version"] if auth else [])
    rows = [
        [path, mount.get("type", ""), mount.get("accessor") or "", mount.get("description") or ""]
        + ([mount.get("plugin_version") or ""] if auth else [])
        for path, mount in sorted(mounts.items())
    ]
    return run.rows(rows, header)


def auth_help(run: Invocation) -> int:
    from .login import METHODS, generic_help

    kind = run.args[0].strip().strip("/")
    if kind not in METHODS:
        with run.failing("Error listing authentication methods"):
            mount = run.client.entries("sys/auth").get(f"{kind}/")
        if mount is None:
            raise CommandError(f'No auth method available on the server at "{kind}/"', 1)
        kind = str(mount.get("type"))
    return run.say(METHODS.get(kind) or generic_help(kind))


def _options(run: Invocation) -> dict[str, str] | None:
    options = dict(sorted(run.flags.pairs("options").items()))
    if version := run.flags.number("version"):
        options["version"] = str(version)
    return options or None


def _given_lists(run: Invocation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("audit-non-hmac-request-keys", "audit-non-hmac-response-keys"):
        if run.flags.given(name):
            found[name.replace("-", "_")] = run.flags.texts(name)
    if run.flags.given("listing-visibility"):
        found["listing_visibility"] = run.flags.text("listing-visibility")
    for name in ("passthrough-request-headers", "allowed-response-headers"):
        if run.flags.given(name):
            found[name.replace("-", "_")] = run.flags.texts(name)
    return found


def _lockout(run: Invocation) -> dict[str, Any]:
    flags, found = run.flags, dict[str, Any]()
    if flags.given("user-lockout-threshold"):
        found["lockout_threshold"] = str(flags.number("user-lockout-threshold"))
    for name in ("lockout-duration", "lockout-counter-reset-duration"):
        if flags.given(f"user-{name}"):
            found[name.replace("-", "_")] = durations.text(flags.number(f"user-{name}"))
    if flags.given("user-lockout-disable"):
        found["lockout_disable"] = flags.on("user-lockout-disable")
    return found


def _ttl(nanoseconds: int) -> str:
    """A TTL for tune: ``""`` leaves it as it is, -1 goes back to the server's."""
    if nanoseconds == -durations.SECOND:
        return "system"
    return durations.text(nanoseconds) if nanoseconds else ""


def _machine(mount: dict[str, Any]) -> dict[str, Any]:
    shown = {key: values.ordered(mount.get(key)) for key in _MOUNT_KEYS if key in mount or key in _MOUNT_TEXTS}
    shown |= {key: shown[key] or "" for key in _MOUNT_TEXTS}
    config = mount.get("config") or {}
    shown["config"] = {key: values.ordered(config[key]) for key in _CONFIG_KEYS if key in config}
    return shown


def _detailed(mounts: dict[str, dict[str, Any]], auth: bool) -> tuple[list[str], list[list[str]]]:
    header = ["Path", "Plugin", "Accessor", "Default TTL", "Max TTL", "Token Type" if auth else "Force No Cache",
              "Replication", "Seal Wrap", "External Entropy Access", "Options", "Description", "UUID", "Version",
              "Running Version", "Running SHA256", "Deprecation Status"]  # fmt: skip
    rows = []
    for path, mount in sorted(mounts.items()):
        config = mount.get("config") or {}
        kind = mount.get("type", "")
        rows.append([
            path,
            (config.get("plugin_name") or kind) if kind == "plugin" else kind,
            mount.get("accessor") or "",
            _lease(kind, config.get("default_lease_ttl")),
            _lease(kind, config.get("max_lease_ttl")),
            config.get("token_type") or "" if auth else values.text(bool(config.get("force_no_cache"))),
            "local" if mount.get("local") else "replicated",
            values.text(bool(mount.get("seal_wrap"))),
            values.text(bool(mount.get("external_entropy_access"))),
            values.text(mount.get("options") or {}),
            *(mount.get(key) or "" for key in ("description", "uuid", "plugin_version", "running_plugin_version",
                                               "running_sha256", "deprecation_status")),
        ])  # fmt: skip
    return header, rows


def _lease(kind: str, seconds: Any) -> str:
    if kind in ("system", "cubbyhole"):
        return "n/a"
    return values.text(seconds) if seconds else "system"


def _commands(
    noun: Noun, word: str, example: str, enable_extra: tuple[Flag, ...], tune_extra: tuple[Flag, ...]
) -> tuple[Command, ...]:
    """The five commands that the two groups share."""
    return (
        Command(
            "disable", lambda run: disable(run, noun),
            f"Unmounts the {noun.title} at PATH and deletes everything it stores.\n\n"
            f"    $ caveau {word} disable {example}/",
            summary=f"Unmount the {noun.title} at a path", usage="[options] PATH", arity=ONE,
        ),
        Command(
            "enable", lambda run: enable(run, noun),
            f"Mounts a new {noun.title}.\n\n    $ caveau {word} enable -path=my-{example} {example}",
            summary=f"Mount a new {noun.title}", usage="[options] TYPE", arity=ONE, flags=_ENABLE + enable_extra,
        ),
        Command(
            "list", lambda run: list_(run, noun),
            f"Lists each {noun.title} that is mounted.\n\n    $ caveau {word} list -detailed",
            summary=f"List each {noun.title}", flags=(global_flags.DETAILED,), formats=True,
        ),
        Command(
            "move", lambda run: move(run, noun),
            f"Moves {noun.a_title} to another path. Its leases and tokens are revoked.\n\n"
            f"    $ caveau {word} move {'auth/' * (noun is AUTH_METHOD)}{example}/ "
            f"{'auth/' * (noun is AUTH_METHOD)}my-{example}/",
            summary=f"Move {noun.a_title}", usage="[options] SOURCE DESTINATION", arity=Arity(2, 2),
        ),
        Command(
            "tune", lambda run: tune(run, noun),
            f"Changes settings of the {noun.title} at PATH; those that are not given stay.\n\n"
            f"    $ caveau {word} tune -default-lease-ttl=72h {example}/",
            summary=f"Change settings of {noun.a_title}", usage="[options] PATH", arity=ONE,
            flags=_HEADERS + tune_extra,
        ),
    )  # fmt: skip


SECRETS = Group(
    "secrets",
    "Works with secrets engines: what keeps, makes or encrypts secrets, each mounted at a path.",
    _commands(SECRETS_ENGINE, "secrets", "database", (_NO_CACHE,), ()),
)

AUTH = Group(
    "auth",
    'Works with auth methods: the ways to log in. To log in, use "caveau login".',
    (
        *_commands(AUTH_METHOD, "auth", "userpass", (_TOKEN_TYPE,), (_TOKEN_TYPE, *_LOCKOUT)),
        Command(
            "help", auth_help,
            "Shows how to log in with an auth method: a type, or a path where one is mounted.\n\n"
            "    $ caveau auth help userpass",
            summary="Show how to log in with an auth method", usage="[options] TYPE | PATH", arity=ONE,
        ),
    ),
)  # fmt: skip
