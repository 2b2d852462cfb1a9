"""Play the transcripts to two servers side by side and collect what they differ in."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..peers import Server
from .compare import Answer, Difference, differences
from .script import Case, Request, fill

ServerFactory = Callable[[], AbstractContextManager[Server]]

_ALL_BUT_SUDO = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "scan"] }'
MOUNTS: dict[str, tuple[str, dict[str, object]]] = {
    **{name: ("", {"type": "kv", "options": {"version": name[-1]}}) for name in ("kv1", "kv2")},
    **{name: ("auth/", {"type": name}) for name in ("approle", "userpass")},
}
"""What a case may need mounted: below which path, and what."""
_PATIENCE = 5.0
NOTHING = "nothing-captured"

# Bodies that would not fit on a line.
BIG = {
    "strings_1000": orjson.dumps({"a": ["x"] * 999}).decode(),
    "strings_1001": orjson.dumps({"a": ["x"] * 1000}).decode(),
    "deep_100": '{"a":' * 100 + "1" + "}" * 100,
    "deep_10001": '{"a":' * 10001 + "1" + "}" * 10001,
    "megabyte": orjson.dumps({"a": "x" * 1_000_000}).decode(),
    "long_200": "x" * 200,
    "long_600": "x" * 600,
    "map_64": orjson.dumps({f"k{i}": "v" for i in range(64)}).decode(),
    "map_65": orjson.dumps({f"k{i}": "v" for i in range(65)}).decode(),
    "over_32_megabytes": orjson.dumps({"a": "x" * 33_600_000}).decode(),
}


@dataclass(slots=True)
class Side:
    """One of the two servers as the transcripts see it: a connection, and its own variables."""

    server: Server
    variables: dict[str, str] = field(default_factory=dict)
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection(self.server.netloc, timeout=30)
        self.variables |= {"root": self.server.token, "anon": ""} | BIG

    def close(self) -> None:
        self._connection.close()

    def ask(self, request: Request) -> Answer:
        path = fill(request.path, self.variables)
        headers = {name: fill(value, self.variables) for name, value in request.headers}
        if token := self.variables.get(request.who, f"no-{request.who}"):
            headers.setdefault("X-Vault-Token", token)
        body = fill(request.body, self.variables).encode()
        answer = self._send(request.verb, path if path.startswith("/") else f"/v1/{path}", body, headers)
        for name, place in request.capture:
            self.variables[name] = _pick(answer, place)
        return answer

    def _send(self, verb: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        connection = self._connection
        try:
            connection.putrequest(verb, path)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            # A server that refuses a large body answers, and hangs up, before it has read all of it.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.endheaders(body or None)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Answer(0, {}, repr(error).encode())


def _pick(answer: Answer, place: str) -> str:
    try:
        value: Any = answer.json
        for step in place.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
    except (ValueError, KeyError, IndexError, TypeError):
        return NOTHING
    return str(value)


@dataclass(frozen=True, slots=True)
class Observation:
    """One request both servers were asked, and every difference of their answers."""

    case: Case
    request: Request
    differences: list[Difference]


class BrokenScript(AssertionError):
    """A set-up request failed on the oracle, or had nothing to capture: the transcript is wrong."""


def _prepared(case: Case, name: str) -> Iterator[Request]:
    """The case's own requests between the mounting and unmounting of the engines it needs."""
    mounts = sorted(case.needs & MOUNTS.keys())
    for mount in mounts:
        yield Request(
            f"mount {mount}",
            "POST",
            f"sys/{MOUNTS[mount][0] or 'mounts/'}{mount}-{name}",
            body=orjson.dumps(MOUNTS[mount][1]).decode(),
            setup=True,
        )
        if mount == "kv2":
            # OpenBao refuses requests for a moment while it lays out a fresh version 2 mount.
            yield Request("wait for kv2", "GET", f"{mount}-{name}/config", setup=True, wait=True)
    yield from case.requests
    for mount in mounts:
        yield Request(f"unmount {mount}", "DELETE", f"sys/{MOUNTS[mount][0] or 'mounts/'}{mount}-{name}", setup=True)


def _play(case: Case, name: str, ours: Side, theirs: Side) -> Iterator[Observation]:
    known = {mount: f"{MOUNTS[mount][0]}{mount}-{name}" for mount in case.needs & MOUNTS.keys()} | {"n": name}
    for side in (ours, theirs):
        side.variables |= known
    for request in _prepared(case, name):
        mine, other = (_until_ready(side, request) if request.wait else side.ask(request) for side in (ours, theirs))
        if (request.setup and not 200 <= other.status < 300) or any(
            theirs.variables[name] == NOTHING for name, _ in request.capture
        ):
            raise BrokenScript(f"{case.area}: {case.name}: {request.line}: {other.status} {other.body!r:.500}")
        if not request.setup:
            yield Observation(
                case, request, differences(mine, other, depth=request.depth, values=not request.shape_only)
            )
        elif not 200 <= mine.status < 300:
            yield Observation(case, request, differences(mine, other, values=False))


def _until_ready(side: Side, request: Request) -> Answer:
    deadline = time.monotonic() + _PATIENCE
    while True:
        answer = side.ask(request)
        if answer.status < 400 or time.monotonic() > deadline:
            return answer
        time.sleep(0.02)


def _everyday(side: Side) -> Side:
    """Make the tokens ``weak`` and ``nosudo`` that the transcripts speak of."""
    for request in (
        Request("", "POST", "sys/policies/acl/nosudo", body=orjson.dumps({"policy": _ALL_BUT_SUDO}).decode()),
        Request(
            "",
            "POST",
            "auth/token/create",
            body='{"policies":["default"]}',
            capture=(("weak", "auth.client_token"), ("weak_accessor", "auth.accessor")),
        ),
        Request(
            "",
            "POST",
            "auth/token/create",
            body='{"policies":["nosudo"]}',
            capture=(("nosudo", "auth.client_token"), ("nosudo_accessor", "auth.accessor")),
        ),
        Request("", "GET", "secret/config", wait=True),
    ):
        answer = _until_ready(side, request)
        if answer.status >= 400:
            raise AssertionError(f"{side.server.address}: {request.path}: {answer.status} {answer.body!r}")
    return side


@contextlib.contextmanager
def _sides(ours: ServerFactory, theirs: ServerFactory) -> Iterator[tuple[Side, Side]]:
    with ours() as mine, theirs() as other:
        sides = Side(mine), Side(other)
        try:
            yield sides
        finally:
            for side in sides:
                side.close()


def replay(
    cases: Iterable[Case],
    ours: tuple[ServerFactory, ServerFactory],
    theirs: tuple[ServerFactory, ServerFactory],
) -> list[Observation]:
    """Play every case on a development server of each side, or on fresh sealed ones where it says so.

    ``ours`` and ``theirs``: how to start a development server and an uninitialised one.
    """
    observed: list[Observation] = []
    names = (f"c{number}" for number in itertools.count(1))
    with _sides(ours[0], theirs[0]) as everyday:
        for side in everyday:
            _everyday(side)
        for case in cases:
            if case.sealed:
                with _sides(ours[1], theirs[1]) as pair:
                    observed += _play(case, next(names), *pair)
            else:
                observed += _play(case, next(names), *everyday)
    return observed
