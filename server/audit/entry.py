"""The text of an entry, in Vault's JSON shape, as one device is to have it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
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
_TIME: Final = b'{"time":"'
_REQUEST: Final = b'","type":"request","auth":%b,"request":'
_RESPONSE: Final = b'","type":"response","auth":%b,"request":'
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


class Frame(NamedTuple):
    """What is the same in all entries of one token, verdict, mount and operation, as JSON.

    It holds what it was made of, by whose identity it is found.
    """

    made_of: tuple[object, ...]
    asks: bytes  # from the time of a request's entry to its ``request``
    answers: bytes  # from the time of a response's entry to its ``request``
    request: bytes  # in ``request``, from id to path
    response: bytes  # the end of ``response``
    asked_keys: frozenset[str]  # of fields that are not hashed
    answered_keys: frozenset[str]


class Formatter:
    """Writes entries for one device: its salt, and the options that every device has.

    An entry is put together of pieces of JSON, those of token and mount remembered, and the entry of an answer
    repeats the request's: two entries a request are to cost much less than the request.
    """

    def __init__(self, options: Options, salt: bytes, *, prefixes: bool) -> None:
        """``prefixes``: whether the server's configuration allows ``prefix``. Raises InvalidRequest."""
        self.hash = Hasher(salt)
        raw = options.flag("log_raw")
        self._hash: Hash = clear if raw else self.hash
        self._accessor: Hash = self._hash if options.flag("hmac_accessor", True) else clear
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
        self._frames: dict[tuple[int, int, int, str], Frame] = {}
        self._answers: dict[bytes, bytes] = {}
        self._digest = hashlib.blake2b(digest_size=16, key=os.urandom(32))

    def request(self, record: Record, time: bytes) -> bytes:
        """The entry of a request; of one that is refused, with why. Empty if the device is to have none."""
        refused = not record.began and (record.error is not None or record.gone)
        frame = self._frame(record, refused)
        asked = self._asked(record, frame)
        record.texts[self] = frame, asked
        why = _why(record.refusal) if refused else b""
        line = b"".join((_TIME, time, frame.asks, asked, why, b"}\n"))
        return line if self._is_plain else self._wanted(line)

    def response(self, record: Record, time: bytes) -> bytes:
        """The entry of an answer, or of the error instead. Empty if the device is to have none."""
        frame, asked = record.texts.get(self) or (None, b"")
        response, error = record.response, record.error
        if frame is None or error is not None:
            frame = self._frame(record, error is not None)
        answers, why = frame.answers, b""
        if response is not None:
            given = self._given(record, frame, response)
            if response.auth and record.is_login:
                answers = _RESPONSE % orjson.dumps(self._given_auth(record, response.auth))
        else:
            text, why = str(error), _why(error)
            given = b'"data":' + orjson.dumps({"error": self._hash(text)}) if text else b""
        line = b"".join(
            (
                _TIME, time, answers, asked or self._asked(record, frame),
                b',"response":{', given, frame.response if given else frame.response[1:], b"}", why, b"}\n",
            )
        )  # fmt: skip
        return line if self._is_plain else self._wanted(line)

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

    def _wanted(self, line: bytes) -> bytes:
        """The line as a device with a prefix, a filter or exclusions is to have it."""
        if self._filter is None and not self._exclusions:
            return self._prefix + line
        entry: dict[str, Any] = jsontext.loads(line)
        if self._filter is not None and not self._filter(entry):
            return b""
        return self._prefix + jsontext.dumps(without(entry, self._exclusions), sort_keys=False) + b"\n"

    # Who, and where

    def _frame(self, record: Record, failed: bool) -> Frame:
        token, decision, mount, op = record.token, record.decision, record.mount, record.op
        key = (failed if token is None else id(token), id(decision), id(mount), op)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._made(record, failed)
            comes_again = not record.incoming.token if token is None else token.key and not token.num_uses
            if mount is not None and comes_again:
                if len(self._frames) >= _KNOWN:
                    self._frames.clear()
                self._frames[key] = frame
        return frame

    def _made(self, record: Record, failed: bool) -> Frame:
        token, mount, namespace, text = record.token, record.mount, record.namespace, record.incoming.token
        auth: Mapping[str, Any] = _NOBODY if failed else _ANYBODY
        asked: dict[str, Any] = {}
        end, keys = b"", (frozenset[str](), frozenset[str]())
        if token is not None:
            auth = self._token(token, text, record.decision, namespace.id)
            asked["client_id"] = token.entity_id or client_id(token.policies, namespace.id)
        asked["operation"] = record.op
        if mount is not None:
            asked |= _mount(mount, "mount_running_version")
            end = b"," + orjson.dumps(_mount(mount, "mount_running_plugin_version"))[1:-1]
            config = mount.entry.config
            shown = config.audit_non_hmac_request_keys, config.audit_non_hmac_response_keys
            keys = frozenset(shown[0] or ()), frozenset(shown[1] or ())
        if text:
            asked["client_token"] = self._hash(text)
        if token is not None and token.accessor:
            asked["client_token_accessor"] = self._accessor(token.accessor)
        asked["namespace"] = {"id": namespace.id} | ({"path": namespace.path} if namespace.path else {})
        who = orjson.dumps(auth)
        return Frame(
            (token, record.decision, mount),
            _REQUEST % who,
            _RESPONSE % who,
            b',%b,"path":' % orjson.dumps(asked)[1:-1],
            end,
            *keys,
        )

    def _token(self, token: TokenEntry, text: str, decision: Decision | None, namespace: str) -> dict[str, Any]:
        shown: dict[str, Any] = {"client_token": self._hash(text)}
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

    def _asked(self, record: Record, frame: Frame) -> bytes:
        incoming = record.incoming
        more = b"}"
        if record.headers and (headers := self._headers(record)):
            more = b',"headers":%b}' % jsontext.dumps(headers, sort_keys=False)
        if incoming.wrap_ttl:
            more = b',"wrap_ttl":%d%b' % (incoming.wrap_ttl, more)
        if incoming.data:
            data = hidden(incoming.data, self._hash, frame.asked_keys)
            more = b',"data":%b%b' % (jsontext.dumps(data, sort_keys=False), more)
        return b"".join(
            (
                b'{"id":', orjson.dumps(incoming.id), frame.request, orjson.dumps(incoming.path),
                _from(incoming.remote_address, incoming.peer), more,
            )
        )  # fmt: skip

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

    def _given(self, record: Record, frame: Frame, response: Response) -> bytes:
        """The fields of ``response`` but for those of the mount, without the braces."""
        if response.wrap_info is not None:
            return b'"wrap_info":' + orjson.dumps(self._wrap(response.wrap_info))
        given = []
        if response.auth:
            given.append(b'"auth":' + orjson.dumps(self._given_auth(record, response.auth)))
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
            given.append(b'"data":' + self._data(record, frame.answered_keys, response.data))
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

    def _data(self, record: Record, keys: frozenset[str], data: Any) -> bytes:
        if self._elide and record.op in ("list", "scan") and isinstance(data, Mapping):
            data = {
                key: len(value) if key in ("keys", "key_info") and hasattr(value, "__len__") else value
                for key, value in data.items()
            }
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
        hashed = self._digest.copy()
        hashed.update(text)
        digest = hashed.digest()
        known = self._answers.get(digest)
        if known is None:
            known = jsontext.dumps(hidden(data, self._hash), sort_keys=False)
            if len(self._answers) >= _KNOWN_ANSWERS:
                self._answers.clear()
            self._answers[digest] = known
        return known

    def _given_auth(self, record: Record, auth: Mapping[str, Any]) -> dict[str, Any]:
        """The token that an answer brings; ``auth`` is in wire form."""
        shown = {
            "client_token": self._hash(auth["client_token"]) if auth.get("client_token") else None,
            "accessor": self._accessor(auth["accessor"]) if auth.get("accessor") else None,
            "display_name": record.given.display_name if record.given is not None else "",
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


def _why(error: CaveauError | None) -> bytes:
    """What kind of error it was. Its text may quote the request, and is hashed with the response."""
    if error is None:
        return b""
    text = next(text for kind, text in _ERRORS if isinstance(error, kind))
    return b',"error":' + orjson.dumps(f"1 error occurred:\n\t* {text}\n\n") if text else b""


@lru_cache(1024)
def _from(address: str, peer: object) -> bytes:
    """Where a request came from. ``peer`` is the other end of its connection, which may be a proxy."""
    shown = b',"remote_address":' + orjson.dumps(address) if address else b""
    return shown + b',"remote_port":%d' % peer[1] if isinstance(peer, tuple) else shown


def client_id(policies: tuple[str, ...], namespace: str) -> str:
    """Who a token without an entity counts as: all with its policies in its namespace."""
    text = "\x7f".join(sorted(policies)) + "\x00" + namespace
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
