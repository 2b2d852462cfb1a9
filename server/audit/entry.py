"""The text of an entry, in Vault's JSON shape, as one device is to have it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from ...framework import Response, jsontext
from ...framework.clock import rfc3339
from ...framework.errors import (
    CaveauError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
    UnsupportedOperation,
    UnsupportedPath,
)
from .filters import condition, exclusions, without
from .hashing import Hash, Hasher, clear, hidden
from .options import Options

if TYPE_CHECKING:
    from ..mounts import Mount
    from ..policy import Decision
    from ..tokens import TokenEntry
    from .record import Record

_NOBODY: Final[Mapping[str, Any]] = {"token_type": "default"}
_ANYBODY: Final[Mapping[str, Any]] = {"policy_results": {"allowed": True}, "token_type": "default"}
_KNOWN_AUTHS: Final = 4096
_ERRORS: Final = (
    (NotFound, ""),
    (PermissionDenied, "permission denied"),
    (UnsupportedPath, "unsupported path"),
    (UnsupportedOperation, "unsupported operation"),
    (InvalidRequest, "invalid request"),
    (RateLimited, "request path rate limit quota exceeded"),
    (Unavailable, "unavailable"),
    (CaveauError, "internal error"),
)


class Formatter:
    """Writes entries for one device: its salt, and the options that every device has."""

    def __init__(self, options: Options, salt: bytes, *, prefixes: bool) -> None:
        """``prefixes``: whether the server's configuration allows ``prefix``. Raises InvalidRequest."""
        self.hash = Hasher(salt)
        raw = options.flag("log_raw")
        self._hash: Hash = clear if raw else self.hash
        self._often: Hash = clear if raw else self.hash.often
        self._accessor: Hash = self._often if options.flag("hmac_accessor", True) else clear
        self._elide = options.flag("elide_list_responses")
        prefix = options.text("prefix")
        if prefix and not prefixes:
            raise InvalidRequest("audit log prefixing is not allowed")
        self._prefix = prefix.encode()
        style = options.text("format", "json")
        if style != "json":
            raise InvalidRequest(f'unknown format type "{style[:64]}"')
        self._filter = condition(text) if (text := options.text("filter")) else None
        self._exclusions = exclusions(text) if (text := options.text("exclude")) else ()
        self._auths: dict[str, tuple[TokenEntry, Decision | None, bytes]] = {}

    def request(self, record: Record, error: CaveauError | None = None) -> bytes:
        """The entry of a request; of one that is refused, with why."""
        return self._line(record, "request", self._auth(record), self._request(record), None, error)

    def response(self, record: Record, response: Response | None, error: CaveauError | None = None) -> bytes:
        """The entry of an answer: ``response``, or ``error`` instead."""
        auth = self._auth(record)
        if error is not None:
            given: dict[str, Any] = {"data": {"error": self._hash(str(error))}} if str(error) else {}
        else:
            assert response is not None
            given = self._response(record, response)
            if response.auth and record.is_login:
                auth = orjson.dumps(given["auth"])
        shown = given | _mount(record.mount, "mount_running_plugin_version")
        return self._line(
            record, "response", auth, self._request(record), jsontext.dumps(shown, sort_keys=False), error
        )

    def test(self, now: float, request_id: str) -> bytes:
        """The entry with which a device is tried when it is enabled."""
        entry = {
            "time": rfc3339(now),
            "type": "request",
            "auth": _NOBODY,
            "request": {
                "id": request_id, "operation": "update", "namespace": {"id": "root"}, "path": "sys/audit/test",
            },
        }  # fmt: skip
        return self._prefix + orjson.dumps(entry) + b"\n"

    def wants(self, line: bytes) -> bytes:
        """The line as this device is to have it; empty if it is to have none of it."""
        if self._filter is None and not self._exclusions:
            return self._prefix + line if self._prefix else line
        entry: dict[str, Any] = jsontext.loads(line)
        if self._filter is not None and not self._filter(entry):
            return b""
        return self._prefix + jsontext.dumps(without(entry, self._exclusions), sort_keys=False) + b"\n"

    def _line(
        self, record: Record, kind: str, auth: bytes, request: bytes, response: bytes | None, error: CaveauError | None
    ) -> bytes:
        time = rfc3339(record.now())
        line = f'{{"time":"{time}","type":"{kind}","auth":'.encode() + auth + b',"request":' + request
        if response is not None:
            line += b',"response":' + response
        if error is not None and (text := _summary(error)):
            line += b',"error":' + orjson.dumps(text)
        return self.wants(line + b"}\n")

    # Who

    def _auth(self, record: Record) -> bytes:
        token, decision = record.token, record.decision
        if token is None:
            return orjson.dumps(_NOBODY if record.failed else _ANYBODY)
        text = record.incoming.token
        known = self._auths.get(text)
        if known is not None and known[0] is token and known[1] is decision:
            return known[2]
        auth = orjson.dumps(self._token(token, text, decision, record))
        if len(self._auths) >= _KNOWN_AUTHS:
            self._auths.clear()
        self._auths[text] = token, decision, auth
        return auth

    def _token(self, token: TokenEntry, text: str, decision: Decision | None, record: Record) -> dict[str, Any]:
        shown: dict[str, Any] = {"client_token": self._often(text)}
        if token.accessor:
            shown["accessor"] = self._accessor(token.accessor)
        namespace = record.namespace.id
        shown |= {
            "display_name": token.display_name,
            "policies": token.policies,
            "token_policies": token.policies,
            "metadata": token.meta or None,
            "entity_id": token.entity_id,
            "policy_results": {"allowed": True} if decision is None else _results(decision, namespace),
            "remaining_uses": token.num_uses + 1 if token.num_uses > 0 else -token.num_uses,
            "token_type": token.type,
            "token_ttl": token.granted or token.creation_ttl,
            "token_issue_time": rfc3339(int(token.creation_time)),
        }
        return {key: value for key, value in shown.items() if value or value is False}

    # What was asked

    def _request(self, record: Record) -> bytes:
        incoming, token, mount, namespace = record.incoming, record.token, record.mount, record.namespace
        shown: dict[str, Any] = {"id": incoming.id}
        if token is not None:
            shown["client_id"] = token.entity_id or client_id(token.policies, namespace.id)
        shown["operation"] = record.op
        shown |= _mount(mount, "mount_running_version")
        if incoming.token:
            shown["client_token"] = self._often(incoming.token)
        if token is not None and token.accessor:
            shown["client_token_accessor"] = self._accessor(token.accessor)
        shown["namespace"] = {"id": namespace.id, "path": namespace.path} if namespace.path else {"id": namespace.id}
        shown["path"] = incoming.path
        if incoming.data:
            keys = mount.entry.config.audit_non_hmac_request_keys if mount else None
            shown["data"] = hidden(incoming.data, self._hash, frozenset(keys or ()))
        if incoming.remote_address:
            shown["remote_address"] = incoming.remote_address
        if isinstance(peer := incoming.peer, tuple):
            shown["remote_port"] = peer[1]
        if incoming.wrap_ttl:
            shown["wrap_ttl"] = int(incoming.wrap_ttl)
        if record.headers and (headers := self._headers(record)):
            shown["headers"] = headers
        return jsontext.dumps(shown, sort_keys=False)

    def _headers(self, record: Record) -> dict[str, list[str]]:
        given = record.incoming.headers
        every = getattr(given, "getall", None)
        found = {}
        for name, hashed in record.headers.items():
            values = every(name, []) if every else [given[name]] if name in given else []
            if values:
                found[name] = [self._hash(value) if hashed else value for value in values]
        return found

    # What was answered

    def _response(self, record: Record, response: Response) -> dict[str, Any]:
        if response.wrap_info is not None:
            wrap = response.wrap_info
            info: dict[str, Any] = {
                "ttl": wrap.ttl,
                "token": self._hash(wrap.token),
                "accessor": self._accessor(wrap.accessor),
                "creation_time": rfc3339(wrap.creation_time),
                "creation_path": wrap.creation_path,
            }
            if wrap.wrapped_accessor:
                info["wrapped_accessor"] = self._accessor(wrap.wrapped_accessor)
            return {"wrap_info": info}
        shown: dict[str, Any] = {}
        if response.auth:
            shown["auth"] = self._given_auth(response.auth)
        if response.lease_id:
            shown["secret"] = {"lease_id": response.lease_id}
        if response.body is not None:
            shown["data"] = {
                "http_content_type": self._hash(response.content_type),
                "http_raw_body": self._hash(response.body.decode("utf-8", "backslashreplace")),
                "http_status_code": response.status or 200,
            }
        elif response.data is not None:
            shown["data"] = self._data(record, response.data)
        if response.warnings:
            shown["warnings"] = list(response.warnings)
        return shown

    def _data(self, record: Record, data: Any) -> Any:
        if self._elide and record.op in ("list", "scan") and isinstance(data, Mapping):
            data = {
                key: len(value) if key in ("keys", "key_info") and hasattr(value, "__len__") else value
                for key, value in data.items()
            }
        keys = record.mount.entry.config.audit_non_hmac_response_keys if record.mount else None
        return hidden(data, self._hash, frozenset(keys or ()))

    def _given_auth(self, auth: Mapping[str, Any]) -> dict[str, Any]:
        """The token that an answer brings; ``auth`` is in wire form."""
        shown = {
            "client_token": self._hash(auth["client_token"]) if auth.get("client_token") else None,
            "accessor": self._accessor(auth["accessor"]) if auth.get("accessor") else None,
            "display_name": auth.get("display_name"),
            "policies": auth.get("policies"),
            "token_policies": auth.get("token_policies"),
            "identity_policies": auth.get("identity_policies"),
            "metadata": auth.get("metadata"),
            "num_uses": auth.get("num_uses"),
            "entity_id": auth.get("entity_id"),
            "token_type": auth.get("token_type"),
            "token_ttl": auth.get("lease_duration"),
        }
        return {key: value for key, value in shown.items() if value}


def _mount(mount: Mount | None, version: str) -> dict[str, Any]:
    if mount is None:
        return {}
    entry = mount.entry
    return {
        "mount_point": mount.point,
        "mount_type": entry.type,
        "mount_accessor": entry.accessor,
        version: mount.version,
        "mount_class": "auth" if entry.table == "auth" else "secret",
    }


def _results(decision: Decision, namespace: str) -> dict[str, Any]:
    """The verdict; beside Vault's keys, the path of the ``rule`` that decided and why it refused."""
    policies = [{"name": name, "namespace_id": namespace, "type": "acl"} for name in decision.policies]
    found: dict[str, Any] = {"allowed": decision.allowed}
    if policies:
        found["granting_policies" if decision.allowed else "denying_policies"] = policies
    if decision.path:
        found["rule"] = decision.path
    if decision.reason:
        found["reason"] = decision.reason
    return found


def _summary(error: CaveauError) -> str:
    """What kind of error it was. Its text may quote the request, and is hashed with the response."""
    text = next(text for kind, text in _ERRORS if isinstance(error, kind))
    return f"1 error occurred:\n\t* {text}\n\n" if text else ""


def client_id(policies: tuple[str, ...], namespace: str) -> str:
    """Who a token without an entity counts as: all with its policies in its namespace."""
    text = "\x7f".join(sorted(policies)) + "\x00" + namespace
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
