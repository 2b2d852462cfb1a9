"""The text of an entry, in Vault's JSON shape, as one device is to have it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
from ...framework.messages import WrapInfo
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
_ROOT_NAMESPACE: Final = b'{"id":"root"}'
_KNOWN: Final = 4096
_KNOWN_ANSWERS: Final = 2048
_LONGEST_ANSWER: Final = 2048  # bytes
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


class _Who(NamedTuple):
    """What entries say of a token, as JSON: all of ``auth``, and its parts of ``request``."""

    token: TokenEntry | None
    decision: Decision | None
    auth: bytes
    client: bytes
    tokens: bytes


class _Where(NamedTuple):
    """What entries say of a mount, as JSON: its parts of ``request`` and ``response``."""

    mount: Mount
    asked: bytes
    answered: bytes
    asked_keys: frozenset[str]  # of fields that are not hashed
    answered_keys: frozenset[str]


class Formatter:
    """Writes entries for one device: its salt, and the options that every device has.

    An entry is put together of pieces of JSON, those of token and mount remembered: two entries a request are to
    cost less than the request.
    """

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
        self._is_plain = self._filter is None and not self._exclusions and not prefix
        self._whos: dict[str, _Who] = {}
        self._wheres: dict[int, _Where] = {}
        self._answers: dict[bytes, bytes] = {}
        self._digest_key = os.urandom(32)

    def request(self, record: Record, error: CaveauError | None = None) -> bytes:
        """The entry of a request; of one that is refused, with why. Empty if the device is to have none."""
        who = self._who(record)
        record.asked[self] = asked = self._asked(record, who)
        return self._line(record, b"request", who.auth, asked, b"", error)

    def response(self, record: Record, response: Response | None, error: CaveauError | None = None) -> bytes:
        """The entry of an answer: ``response``, or ``error`` instead. Empty if the device is to have none."""
        who = self._who(record)
        asked = record.asked.get(self) or self._asked(record, who)
        auth = who.auth
        if response is None:
            assert error is not None
            text = str(error)
            given = b'"data":' + orjson.dumps({"error": self._hash(text)}) if text else b""
        else:
            given = self._given(record, response)
            if response.auth and record.is_login:
                auth = orjson.dumps(self._given_auth(response.auth))
        mount = record.mount
        where = self._where(mount).answered if mount is not None else b""
        answered = b',"response":{%b%b%b}' % (given, b"," if given and where else b"", where)
        return self._line(record, b"response", auth, asked, answered, error)

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

    def _line(
        self, record: Record, kind: bytes, auth: bytes, asked: bytes, answered: bytes, error: CaveauError | None
    ) -> bytes:
        why = b"" if error is None or not (text := _summary(error)) else b',"error":' + orjson.dumps(text)
        time = rfc3339(record.now()).encode()
        line = b'{"time":"%b","type":"%b","auth":%b,"request":%b%b%b}\n' % (time, kind, auth, asked, answered, why)
        return line if self._is_plain else self._wanted(line)

    def _wanted(self, line: bytes) -> bytes:
        """The line as a device with a prefix, a filter or exclusions is to have it."""
        if self._filter is None and not self._exclusions:
            return self._prefix + line
        entry: dict[str, Any] = jsontext.loads(line)
        if self._filter is not None and not self._filter(entry):
            return b""
        return self._prefix + jsontext.dumps(without(entry, self._exclusions), sort_keys=False) + b"\n"

    # Who

    def _who(self, record: Record) -> _Who:
        token, decision, text = record.token, record.decision, record.incoming.token
        if token is None:
            tokens = b'"client_token":%b,' % orjson.dumps(self._often(text)) if text else b""
            return _Who(None, None, orjson.dumps(_NOBODY if record.failed else _ANYBODY), b"", tokens)
        known = self._whos.get(text)
        if known is not None and known.token is token and known.decision is decision:
            return known
        namespace = record.namespace.id
        tokens = b'"client_token":%b,' % orjson.dumps(self._often(text))
        if token.accessor:
            tokens += b'"client_token_accessor":%b,' % orjson.dumps(self._accessor(token.accessor))
        client = token.entity_id or client_id(token.policies, namespace)
        who = _Who(
            token,
            decision,
            orjson.dumps(self._token(token, text, decision, namespace)),
            b'"client_id":%b,' % orjson.dumps(client),
            tokens,
        )
        if len(self._whos) >= _KNOWN:
            self._whos.clear()
        self._whos[text] = who
        return who

    def _token(self, token: TokenEntry, text: str, decision: Decision | None, namespace: str) -> dict[str, Any]:
        shown: dict[str, Any] = {"client_token": self._often(text)}
        if token.accessor:
            shown["accessor"] = self._accessor(token.accessor)
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

    def _asked(self, record: Record, who: _Who) -> bytes:
        incoming, mount, namespace = record.incoming, record.mount, record.namespace
        where = None if mount is None else self._where(mount)
        more = b""
        if incoming.data:
            data = hidden(incoming.data, self._hash, where.asked_keys if where else frozenset())
            more = b',"data":' + jsontext.dumps(data, sort_keys=False)
        if incoming.remote_address:
            more += b',"remote_address":' + orjson.dumps(incoming.remote_address)
        if isinstance(peer := incoming.peer, tuple):
            more += b',"remote_port":%d' % peer[1]
        if incoming.wrap_ttl:
            more += b',"wrap_ttl":%d' % incoming.wrap_ttl
        if record.headers and (headers := self._headers(record)):
            more += b',"headers":' + jsontext.dumps(headers, sort_keys=False)
        return b'{"id":%b,%b"operation":"%b",%b%b"namespace":%b,"path":%b%b}' % (
            orjson.dumps(incoming.id),
            who.client,
            record.op.encode(),
            b"" if where is None else where.asked + b",",
            who.tokens,
            orjson.dumps({"id": namespace.id, "path": namespace.path}) if namespace.path else _ROOT_NAMESPACE,
            orjson.dumps(incoming.path),
            more,
        )

    def _where(self, mount: Mount) -> _Where:
        known = self._wheres.get(id(mount))
        if known is None:
            if len(self._wheres) >= _KNOWN:
                self._wheres.clear()
            config = mount.entry.config
            known = self._wheres[id(mount)] = _Where(
                mount,
                orjson.dumps(_mount(mount, "mount_running_version"))[1:-1],
                orjson.dumps(_mount(mount, "mount_running_plugin_version"))[1:-1],
                frozenset(config.audit_non_hmac_request_keys or ()),
                frozenset(config.audit_non_hmac_response_keys or ()),
            )
        return known

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

    def _given(self, record: Record, response: Response) -> bytes:
        """The fields of ``response`` but for those of the mount, without the braces."""
        if response.wrap_info is not None:
            return b'"wrap_info":' + orjson.dumps(self._wrap(response.wrap_info))
        given = []
        if response.auth:
            given.append(b'"auth":' + orjson.dumps(self._given_auth(response.auth)))
        if response.lease_id:
            given.append(b'"secret":' + orjson.dumps({"lease_id": response.lease_id}))
        if response.body is not None:
            raw = {
                "http_content_type": self._hash(response.content_type),
                "http_raw_body": self._hash(response.body.decode("utf-8", "backslashreplace")),
                "http_status_code": response.status or 200,
            }
            given.append(b'"data":' + orjson.dumps(raw))
        elif response.data is not None:
            given.append(b'"data":' + self._data(record, response.data))
        if response.warnings:
            given.append(b'"warnings":' + orjson.dumps(list(response.warnings)))
        return given[0] if len(given) == 1 else b",".join(given)

    def _wrap(self, wrap: WrapInfo) -> dict[str, Any]:
        info: dict[str, Any] = {
            "ttl": wrap.ttl,
            "token": self._hash(wrap.token),
            "accessor": self._accessor(wrap.accessor),
            "creation_time": rfc3339(wrap.creation_time),
            "creation_path": wrap.creation_path,
        }
        if wrap.wrapped_accessor:
            info["wrapped_accessor"] = self._accessor(wrap.wrapped_accessor)
        return info

    def _data(self, record: Record, data: Any) -> bytes:
        if self._elide and record.op in ("list", "scan") and isinstance(data, Mapping):
            data = {
                key: len(value) if key in ("keys", "key_info") and hasattr(value, "__len__") else value
                for key, value in data.items()
            }
        mount = record.mount
        keys = frozenset[str]() if mount is None else self._where(mount).answered_keys
        if not keys or self._hash is clear:
            text = jsontext.dumps(data, sort_keys=False)
            if self._hash is clear:
                return text
            if len(text) <= _LONGEST_ANSWER:
                return self._remembered(text, data)
        return jsontext.dumps(hidden(data, self._hash, keys), sort_keys=False)

    def _remembered(self, text: bytes, data: Any) -> bytes:
        """What becomes of ``data``, whose JSON is ``text``. Most reads are of what was read before; it is known by
        its digest, so that no secret is kept for it."""
        digest = hashlib.blake2b(text, digest_size=16, key=self._digest_key).digest()
        known = self._answers.get(digest)
        if known is None:
            known = jsontext.dumps(hidden(data, self._hash), sort_keys=False)
            if len(self._answers) >= _KNOWN_ANSWERS:
                self._answers.clear()
            self._answers[digest] = known
        return known

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


def _mount(mount: Mount, version: str) -> dict[str, Any]:
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
