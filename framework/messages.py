"""What goes into a handler and what comes out: Request, Response, Auth, Lease."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from .storage import View


class _Empty(dict[str, Any]):
    """A mapping that stays empty, to be shared as the default of fields."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # dataclasses take no default without one

    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError("this mapping is shared: give the field one of its own")


NOTHING: Mapping[str, Any] = _Empty()


NOT_ASKED: Final = object()
"""Of a route without an ``exists`` method, and where none was called."""


class Client(Protocol):
    """Who makes the request: the token, as far as an engine may know it."""

    @property
    def accessor(self) -> str: ...
    @property
    def display_name(self) -> str: ...
    @property
    def entity_id(self) -> str: ...
    @property
    def policies(self) -> tuple[str, ...]: ...
    @property
    def meta(self) -> Mapping[str, str]: ...
    @property
    def cubbyhole(self) -> str:
        """Name of the token's own storage area; empty for a batch token, which has none."""
        ...


@dataclass(slots=True)
class Request:
    """One operation on one path of a mount.

    ``op``: create, read, update, patch, delete, list, scan (help and login are not operations here).
    ``path``: relative to the mount. ``data``: JSON body or query arguments.
    """

    op: str
    path: str
    storage: View
    data: Mapping[str, Any] = NOTHING
    id: str = ""
    mount_point: str = ""
    client: Client | None = None
    headers: Mapping[str, str] = NOTHING  # those the mount lets through, lower case
    remote_address: str = ""
    peer_certificate: bytes | None = None  # DER, of a TLS client that showed one
    existing: Any = NOT_ASKED  # what the ``exists`` method of the route has answered

    async def intend(self, kind: str, details: Mapping[str, Any]) -> None:
        """Say what the handler of an ``external`` route is about to make, or change, outside the store.

        It is durable when this returns, and forgotten in the transaction of the request. Should nothing be stored of
        the request, the ``@recover`` method of ``kind`` is called with it, or else the ``@revoke`` method, with a lease
        of which ``details`` (what JSON can hold, kept encrypted) are the ``internal``. Raises TypeError where the route
        is not ``external`` or the engine has neither method, and Unavailable and StoreError.

        Nothing is kept where there is no server, as in an engine's own tests, nor in ``@renew``, ``@revoke`` and
        ``@recover`` methods, which are called again until they succeed.
        """


@dataclass(slots=True)
class Lease:
    """A secret that ends. ``kind`` names the engine's ``@renew``/``@revoke`` pair; ``internal`` (what JSON can
    hold) is kept encrypted for them. Times are seconds; 0 takes the mount's default.

    A route that answers with one is marked ``writes``, and ``external`` where it has made something elsewhere:
    should the answer not be stored then, that is revoked at once. ``id`` and ``issue_time``
    are set by the core.
    """

    kind: str
    ttl: int = 0
    max_ttl: int = 0
    renewable: bool = True
    internal: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    issue_time: float = 0.0  # seconds since the epoch; 0: it is being given


@dataclass(frozen=True, slots=True)
class Intent:
    """What a request was about to do outside the store, of which nothing was stored. ``time``: seconds since the
    epoch, when that was said."""

    kind: str
    details: Mapping[str, Any]
    id: str = ""
    time: float = 0.0


@dataclass(slots=True)
class Auth:
    """What a login is worth: the core makes a token of it. Times are seconds; 0 takes the default."""

    policies: list[str]
    display_name: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    ttl: int = 0
    max_ttl: int = 0
    explicit_max_ttl: int = 0
    period: int = 0
    renewable: bool = True
    num_uses: int = 0
    orphan: bool = True
    bound_cidrs: list[str] = field(default_factory=list)
    token_type: str = "default"
    no_default_policy: bool = False
    alias_name: str = ""
    alias_meta: Mapping[str, str] = field(default_factory=dict)
    group_aliases: list[str] | None = None  # groups the method knows it to be in; None: the method knows of none
    internal: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class WrapInfo:
    """A response kept for one pick-up; ``ttl`` in seconds, ``creation_time`` seconds since the epoch."""

    token: str
    accessor: str
    ttl: int
    creation_time: float
    creation_path: str
    wrapped_accessor: str = ""


@dataclass(slots=True)
class Response:
    """What a handler answers when plain data is not enough.

    A handler may return None (204), a mapping (the ``data`` of a 200) or this. ``body`` with
    ``content_type`` leaves out the envelope; ``bare`` puts ``data`` itself on the wire without it.
    """

    data: Any = None  # a mapping, or an orjson.Fragment of one
    auth: Any = None  # Auth from a login; the core replaces it with the wire form
    lease: Lease | None = None
    lease_duration: int = 0  # without a lease: KV v1's refresh hint
    warnings: Sequence[str] = ()
    status: int = 0  # 0: 200, or 204 without content
    headers: Mapping[str, str] = NOTHING
    body: bytes | None = None
    content_type: str = "application/json"
    accessor: str = ""  # of the secret in ``data``: told beside a token that wraps it
    bare: bool = False
    flat: bool = False  # repeat the keys of ``data`` beside the envelope, as old sys endpoints do
    wrap_info: WrapInfo | None = None
    lease_id: str = ""
    renewable: bool = False
    mount_type: str = ""
    stream: AsyncIterator[bytes] | None = None  # instead of a body, as it comes; empty pieces say that it goes on


def tidying(begun: bool) -> Response:
    """The answer to a request to tidy in the background; ``begun``: False when that was under way already."""
    if not begun:
        return Response(warnings=["Tidy operation already in progress."])
    return Response(
        status=202,
        warnings=[
            "Tidy operation successfully started. Any information from the operation will be printed to "
            "the server's logs."
        ],
    )
