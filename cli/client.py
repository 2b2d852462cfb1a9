"""The Vault HTTP API as the commands use it: secrets in, secrets out, errors as exceptions."""

from __future__ import annotations

import json
import posixpath
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, Any, NamedTuple, TypeGuard
from urllib.parse import quote, urlencode, urljoin, urlsplit

from . import durations, environment, token_store, transport, values
from .envelope import Secret
from .flags import Flags
from .transport import Response, TransportError

DEFAULT_ADDRESS = "https://127.0.0.1:8200"
DEFAULT_TIMEOUT = 60.0  # seconds


class ClientError(Exception):
    """A request failed; the message is complete."""


class SetupError(Exception):
    """The settings make no client."""


class APIError(ClientError):
    """The server refused: ``status``, and the ``secret`` part of its answer where it has one."""

    def __init__(self, message: str, status: int, secret: Secret | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.secret = secret


class Shown(Exception):
    """The request was printed instead of sent; the message is what to print."""


class Settings(NamedTuple):
    """Everything a request depends on besides itself."""

    address: transport.Address
    tls: transport.TLS = transport.TLS()
    token: str = ""
    namespace: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    follow_redirects: bool = True
    timeout: float = DEFAULT_TIMEOUT
    retries: int = 0
    show: str = ""  # "curl" or "policy": print, do not send

    @classmethod
    def of(cls, flags: Flags) -> Settings:
        """From the command's flags and the environment. Raises SetupError."""
        try:
            address = transport.parse_address(flags.text("agent-address") or flags.text("address") or DEFAULT_ADDRESS)
            token = token_store.current()
        except (TransportError, token_store.TokenStoreError) as e:
            raise SetupError(f"failed to create client: {e}") from e
        headers = flags.pairs("header")
        for name in headers:
            if name.lower().startswith("x-vault-"):
                raise SetupError(f"failed to setup Headers[{name}]: names that start with X-Vault- are reserved")
        extra = {
            "X-Vault-Wrap-TTL": durations.text(flags.number("wrap-ttl")) if flags.number("wrap-ttl") else "",
            "X-Vault-MFA": flags.text("mfa"),
            "X-Vault-Policy-Override": "true" if flags.on("policy-override") else "",
        }
        namespace = flags.text("namespace").strip("/")
        return cls(
            address=address,
            tls=transport.TLS(
                flags.text("ca-cert"), environment.lookup("CACERT_BYTES"), flags.text("ca-path"),
                flags.text("client-cert"), flags.text("client-key"),
                flags.text("tls-server-name"), flags.on("tls-skip-verify"),
            ),
            token=token,
            namespace=f"{namespace}/" if namespace else "",
            headers=headers | {name: value for name, value in extra.items() if value},
            follow_redirects=not flags.on("disable-redirects"),
            timeout=_seconds("CLIENT_TIMEOUT", DEFAULT_TIMEOUT),
            retries=_count("MAX_RETRIES"),
            show="curl" if flags.on("output-curl-string") else "policy" if flags.on("output-policy") else "",
        )  # fmt: skip


class Client:
    """One server, one token. ``sleep`` waits between retries."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self._sleep = sleep

    def with_(self, **changes: Any) -> Client:
        return Client(self.settings._replace(**changes), self._sleep)

    def request(
        self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None, preflight: bool = False,
    ) -> Response:  # fmt: skip
        """Send a request for ``/v1/path``. ``body`` None sends none.

        A ``preflight`` is sent even where the command only shows its request.
        Raises ClientError (APIError for a status of 400 and more), or Shown.
        """
        url, sent, content = self._prepared(method, path, body, query, headers or {}, preflight)
        response = self._attempt(method, url, sent, content)
        if response.status >= 400:
            raise self._refusal(method, url, response)
        return response

    @contextmanager
    def lines(self, path: str, query: dict[str, Any]) -> Iterator[Iterator[bytes]]:
        """GET an answer that has no end: its lines as they come. Raises as ``request`` does."""
        url, sent, _ = self._prepared("GET", path, None, query, {}, preflight=False)
        settings, parts = self.settings, urlsplit(url)
        target = f"{parts.path}?{parts.query}"
        try:
            with transport.stream(settings.address, settings.tls, "GET", target, sent, 0) as (response, lines):
                if response.status >= 400:
                    raise self._refusal("GET", url, response)
                yield lines
        except TransportError as e:
            raise ClientError(f'Get "{url}": {e}') from e

    def upload(self, path: str, content: IO[bytes]) -> None:
        """POST a file as it is, to a server that takes its time for the answer. Raises as ``request`` does."""
        url, sent, _ = self._prepared("POST", path, None, None, {}, preflight=False)
        size = content.seek(0, 2)
        content.seek(0)
        sent |= {"Content-Length": str(size), "Content-Type": "application/gzip"}
        settings = self.settings
        try:
            response = transport.exchange(settings.address, settings.tls, "POST", urlsplit(url).path, sent, content, 0)
        except TransportError as e:
            raise ClientError(f'Post "{url}": {e}') from e
        if response.status >= 300:
            raise self._refusal("POST", url, response)

    def _prepared(
        self, method: str, path: str, body: Any, query: dict[str, Any] | None, headers: dict[str, str], preflight: bool
    ) -> tuple[str, dict[str, str], bytes | None]:
        """URL, headers and body of a request. Raises ClientError, or Shown where it is not to be sent."""
        settings = self.settings
        if not settings.token.isprintable():
            raise ClientError("configured Vault token contains non-printable characters and cannot be used")
        target = f"{settings.address.prefix}/v1{clean(path)}"
        shown_url = f"{settings.address.text}{quote(target, safe='/$&+,:;=@')}"
        if query:
            shown_url += "?" + urlencode(sorted(query.items()), doseq=True)
        sent = self._headers() | headers
        content = None if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        if settings.show and not preflight:
            from . import dry_run

            render = dry_run.curl if settings.show == "curl" else dry_run.policy
            raise Shown(render(settings, method, clean(path).lstrip("/"), shown_url, sent, content, query or {}))
        return shown_url, sent, content

    def _headers(self) -> dict[str, str]:
        settings = self.settings
        headers = {"X-Vault-Request": "true", **settings.headers}
        if settings.token:
            headers["X-Vault-Token"] = settings.token
        if settings.namespace:
            headers["X-Vault-Namespace"] = settings.namespace
        return headers

    def _attempt(self, method: str, url: str, headers: dict[str, str], content: bytes | None) -> Response:
        for attempt in range(self.settings.retries + 1):
            last = attempt == self.settings.retries
            try:
                response = self._exchange(method, url, headers, content)
            except TransportError as e:
                if last:
                    raise ClientError(f'{method.title()} "{url}": {e}') from e
            else:
                if last or not (response.status == 412 or (response.status >= 500 and response.status != 501)):
                    return response
            self._sleep((attempt + 1) * random.uniform(1.0, 1.5))  # noqa: S311 - spread, not secrecy
        raise AssertionError("unreachable")

    def _exchange(self, method: str, url: str, headers: dict[str, str], content: bytes | None) -> Response:
        """One request, and one redirect of it."""
        settings = self.settings
        here, there = settings.address, url
        for hop in range(2):
            parts = urlsplit(there)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            response = transport.exchange(here, settings.tls, method, target, headers, content, settings.timeout)
            location = response.headers.get("location")
            if response.status not in (301, 302, 307, 308) or not location:
                return response
            there = urljoin(there, location)
            if not settings.follow_redirects:
                raise TransportError(f"redirect to {there} refused (-disable-redirects)")
            if here.scheme == "https" and not there.startswith("https:"):
                raise TransportError("redirect would cause protocol downgrade")
            if hop == 0 and here.scheme != "unix":
                here = transport.parse_address(there)
        raise TransportError("the server redirects more than once")

    def _refusal(self, method: str, url: str, response: Response) -> APIError:
        namespace = f"Namespace: {self.settings.namespace}\n" if self.settings.namespace else ""
        head = f"Error making API request.\n\n{namespace}URL: {method} {url}\nCode: {response.status}. "
        try:
            answer = values.loads(response.body)
            errors = answer["errors"] if isinstance(answer, dict) and "errors" in answer else None
        except ValueError:
            answer, errors = None, None
        if isinstance(errors, list):
            listed = "\n".join(f"* {error}" for error in errors)
            return APIError(f"{head}Errors:\n\n{listed}", response.status, _useful(answer))
        secret = _useful(answer)
        if secret is not None:
            return APIError(f"{head}Errors:\n\n", response.status, secret)
        raw = response.body.decode(errors="replace")
        return APIError(f"{head}Raw Message:\n\n{raw}", response.status)

    # -- what commands ask for ------------------------------------------------------------------

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The decoded body of the answer, None where it is empty."""
        response = self.request(method, path, **options)
        if not response.body.strip():
            return None
        try:
            return values.loads(response.body)
        except ValueError as e:
            raise ClientError(f"the answer to {method} {path} is not JSON: {e}") from e

    def answer(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """What an answer says that must be a JSON object, out of its envelope where it is in one."""
        found = self.json(method, path, **options)
        if not isinstance(found, dict):
            raise ClientError(f"the answer to {method} {path} is not what a Vault server says")
        inner = found.get("data")
        return inner if isinstance(inner, dict) and inner else found

    def entries(self, path: str) -> dict[str, dict[str, Any]]:
        """The data of a secret that is a table: an object for each name."""
        data = (self.read(path) or {}).get("data") or {}
        if not all(isinstance(entry, dict) for entry in data.values()):
            raise ClientError(f"the answer to GET {path} is not what a Vault server says")
        return data

    def secret(self, method: str, path: str, **options: Any) -> Secret | None:
        """The answer as a secret, None where it is empty. One without an envelope is the data of a secret."""
        found = self.json(method, path, **options)
        if found is None:
            return None
        if isinstance(found, dict) and found and not found.keys() & _ENVELOPE:
            return {"data": found}
        if not _is_secret(found):
            raise ClientError(f"the answer to {method} {path} is not what a Vault server says")
        return found

    def read(self, path: str, query: dict[str, Any] | None = None, **options: Any) -> Secret | None:
        """GET; None where there is nothing. A 404 that carries data or warnings is a secret."""
        try:
            return self.secret("GET", path, query=query, **options)
        except APIError as e:
            if e.status == 404:
                return e.secret
            raise

    def read_strict(self, path: str) -> Secret | None:
        """GET that is sent even where the command only shows its request; 404 is an error."""
        return self.secret("GET", path, preflight=True)

    def list(self, path: str, query: dict[str, Any] | None = None, scan: bool = False) -> Secret | None:
        """LIST or SCAN, as a GET with a parameter, which every proxy lets through."""
        secret = self.read(path, {**(query or {}), "scan" if scan else "list": "true"})
        data = (secret or {}).get("data") or {}
        keys, known = data.get("keys") or [], data.get("key_info") or {}
        if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)) or not (
            isinstance(known, dict) and all(isinstance(entry, dict) for entry in known.values())
        ):
            raise ClientError(f"the answer to LIST {path} is not what a Vault server says")
        return secret

    def write(self, path: str, data: Any = None, method: str = "PUT", **options: Any) -> Secret | None:
        return self.secret(method, path, body=data, **options)

    def patch(self, path: str, data: Any) -> Secret | None:
        """JSON merge patch (RFC 7396)."""
        return self.write(path, data, "PATCH", headers={"Content-Type": "application/merge-patch+json"})

    def delete(self, path: str, query: dict[str, Any] | None = None) -> Secret | None:
        return self.secret("DELETE", path, query=query)


def clean(path: str) -> str:
    """``path`` with one leading slash and none at the end, as the URL will have it."""
    return posixpath.normpath("/" + path.strip("/")) if path.strip("/") else "/"


_ENVELOPE = frozenset(
    {"request_id", "lease_id", "lease_duration", "renewable", "data", "auth", "wrap_info", "warnings"}
)


def _is_secret(answer: Any) -> TypeGuard[Secret]:
    kinds = {"data": dict, "auth": dict, "wrap_info": dict, "warnings": list}
    return isinstance(answer, dict) and all(
        answer.get(name) is None or isinstance(answer[name], kind) for name, kind in kinds.items()
    )


def _useful(answer: Any) -> Secret | None:
    """What an error's answer says besides, None for nothing."""
    return answer if _is_secret(answer) and (answer.get("data") or answer.get("warnings")) else None


def _seconds(name: str, default: float) -> float:
    text = environment.lookup(name)
    try:
        return durations.parse(text) / durations.SECOND if text else default
    except ValueError as e:
        raise SetupError(f'failed to read environment: could not parse "{environment.variable(name)}"') from e


def _count(name: str) -> int:
    text = environment.lookup(name)
    if text and not text.isdigit():
        raise SetupError(f'failed to read environment: could not parse "{environment.variable(name)}"')
    return int(text or "0")
