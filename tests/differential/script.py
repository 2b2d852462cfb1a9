"""The transcripts under ``cases/``: which requests both servers are asked, in which order.

A file holds cases, a case holds requests, one a line:

    case reading a deleted version [kv2]
    - POST $kv2/data/a {"data": {"x": 1}}
    - DELETE $kv2/data/a
    GET $kv2/data/a
    weak GET $kv2/data/a | X-Vault-Wrap-TTL: 60
    POST auth/token/create {"policies": ["p"]} => t=auth.client_token
    t GET auth/token/lookup-self

- ``[kv2]`` mounts a fresh engine (``kv1``, ``kv2``) whose path is ``$kv2``; ``[sealed]`` gives the
  case a pair of servers of its own which nobody has initialised. ``$n`` is a name only this case has.
- A line is ``[-] [WHO] VERB PATH [BODY] [| Header: value] [| option] [=> name=json.path ...]``.
  A leading ``-`` is set-up: it has to work on both sides and is not compared. ``WHO`` is ``root``
  (the default), ``anon``, ``weak`` (only the default policy), ``nosudo`` (everything but sudo) or a
  captured variable. A path is below ``/v1/`` unless it starts with ``/``. The body is sent as it stands.
- Options: ``shape`` compares keys and types but no values, ``depth=N`` looks N levels deep, ``wait``
  repeats a set-up request for a few seconds until it succeeds.
- ``$name`` is a captured or built-in variable; ``#`` in the first column is a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).parent / "cases"

_LINE = re.compile(r"(?P<setup>- )?(?:(?P<who>[a-z][a-z0-9_]*) )?(?P<verb>[A-Z]+) (?P<path>\S+)(?: (?P<body>.*))?")
_CASE = re.compile(r"case (?P<name>[^\[]+?)(?: \[(?P<needs>[a-z0-9 ]+)\])?")
_EXTRA = re.compile(r" \| (?=[A-Za-z-]+:|shape|wait|depth=)")
_VARIABLE = re.compile(r"\$([a-z][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Request:
    line: str
    verb: str
    path: str
    who: str = "root"
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    setup: bool = False
    wait: bool = False
    shape_only: bool = False
    depth: int = 99
    capture: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    area: str
    name: str
    needs: frozenset[str]
    requests: list[Request] = field(default_factory=list)

    @property
    def sealed(self) -> bool:
        return "sealed" in self.needs


def fill(text: str, variables: dict[str, str]) -> str:
    """``text`` with every ``$name`` replaced; an unknown name stays as it is."""
    return _VARIABLE.sub(lambda m: variables.get(m[1], m[0]), text)


def parse_request(line: str) -> Request:
    rest, _, captures = line.partition(" => ")
    rest, *extras = _EXTRA.split(rest)
    match = _LINE.fullmatch(rest.strip())
    if match is None:
        raise ValueError(f"not a request: {line!r}")
    headers, options = [], {}
    for extra in extras:
        name, colon, value = extra.partition(":")
        if colon:
            headers.append((name.strip(), value.strip()))
        else:
            option, _, number = extra.strip().partition("=")
            options[option] = number
    if unknown := options.keys() - {"shape", "depth", "wait"}:
        raise ValueError(f"unknown option {unknown} in {line!r}")
    return Request(
        line=rest.strip().removeprefix("- ") + "".join(f" | {extra}" for extra in extras if ":" in extra),
        verb=match["verb"],
        path=match["path"],
        who=match["who"] or "root",
        body=match["body"] or "",
        headers=tuple(headers),
        setup=match["setup"] is not None,
        wait="wait" in options,
        shape_only="shape" in options,
        depth=int(options.get("depth", 99)),
        capture=tuple((n, p) for n, _, p in (c.partition("=") for c in captures.split())),
    )


def parse(text: str, area: str) -> list[Case]:
    cases: list[Case] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if match := _CASE.fullmatch(line.strip()):
            cases.append(Case(area, match["name"], frozenset((match["needs"] or "").split())))
        else:
            cases[-1].requests.append(parse_request(line.strip()))
    return cases


def load() -> list[Case]:
    """Every case of every transcript, in the order of the files' names."""
    return [case for path in sorted(CASES.glob("*.txt")) for case in parse(path.read_text(), path.stem)]
