"""No operation of any token crosses from one namespace into another, over a long random walk by many tokens.

Every value that is written carries the name of its namespace, and so does the name of every policy, mount, entity
and token: whatever an answer shows must be of the namespace that the request went to, and who asked must be of it
or of one above. Other tokens are ended and renewed from their own namespace or from above. At the end the store of
each namespace holds its own and nothing else. ``CAVEAU_STEPS`` sets how far each of the two walks goes.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from dataclasses import dataclass, field

import orjson
import pytest
from caveau.framework.errors import CaveauError, PermissionDenied
from caveau.tests.server.harness import Server, SlowStore

STEPS = int(os.environ.get("CAVEAU_STEPS", "2000"))
AT_ONCE = 8
FEWEST_TOKENS = 24
PATHS = ("red/", "red/inner/", "blue/")
MARK = re.compile(rb"mark-(root|red-inner|red|blue)-")


@dataclass(slots=True)
class Token:
    text: str
    accessor: str
    home: str
    parent: Token | None = None
    revoked: bool = False

    @property
    def lives(self) -> bool:
        return not self.revoked and (self.parent is None or self.parent.lives)


@dataclass(slots=True)
class Walk:
    server: Server
    dice: random.Random
    ids: dict[str, str] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    dead: list[Token] = field(default_factory=list)
    done: int = 0
    kinds: set[str] = field(default_factory=set)

    def mark(self, path: str) -> str:
        return f"mark-{path[:-1].replace('/', '-') or 'root'}-"

    async def begin(self) -> None:
        for path in PATHS:
            parent, _, name = path[:-1].rpartition("/")
            made = await self.server.call("update", f"sys/namespaces/{name}", namespace=f"{parent}/" if parent else "")
            self.ids[path] = made.data["id"]
        for path in ("", *PATHS):
            mark = self.mark(path)
            for mount in ("kv", f"{mark}mount"):
                await self.server.call("update", f"sys/mounts/{mount}", {"type": "kv-v2"}, namespace=path)
            rules = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'
            await self.server.call("update", f"sys/policies/acl/{mark}all", {"policy": rules}, namespace=path)
            for _ in range(6):
                await self.grow(self.server.root, path)

    async def grow(self, by: str, path: str) -> None:
        body = {"policies": [f"{self.mark(path)}all"], "meta": {"mark": self.mark(path)}, "ttl": "10h"}
        made = await self.server.call("update", "auth/token/create", body, by, namespace=path)
        self.tokens.append(Token(made.auth["client_token"], made.auth["accessor"], path))

    def address(self, target: str, path: str) -> tuple[str, str]:
        """One of the ways to say that a request goes to ``target``: what its header says, and its path."""
        cut = self.dice.choice([at for at in range(len(target) + 1) if at == 0 or target[at - 1] == "/"])
        return target[:cut], target[cut:] + path

    async def step(self) -> None:
        dice, actor, victim = self.dice, self.dice.choice(self.tokens), self.dice.choice(self.tokens)
        target = dice.choice(("", *PATHS))
        mark, n = self.mark(target), dice.randrange(20)
        mount = dice.choice(("kv", f"{mark}mount", f"{self.mark(dice.choice(PATHS))}mount"))
        kind = dice.choice((
            "read", "write", "write", "delete", "list", "token", "lookup", "accessor", "revoke", "renew", "policy",
            "policies", "mounts", "cubbyhole", "hole", "wrap", "capabilities", "entity", "accessors", "self",
        ))  # fmt: skip
        op, path, data, more = {
            "read": ("read", f"{mount}/data/{n}", {}, {}),
            "write": ("update", f"{mount}/data/{n}", {"data": {"value": f"{mark}{n}"}}, {}),
            "delete": ("delete", f"{mount}/metadata/{n}", {}, {}),
            "list": ("list", f"{mount}/metadata", {}, {}),
            "token": ("update", "auth/token/create", {"policies": [f"{mark}all"], "meta": {"mark": mark}}, {}),
            "lookup": ("update", "auth/token/lookup", {"token": victim.text}, {}),
            "accessor": ("update", "auth/token/lookup-accessor", {"accessor": victim.accessor}, {}),
            "revoke": ("update", "auth/token/revoke", {"token": victim.text}, {}),
            "renew": ("update", "auth/token/renew", {"token": victim.text}, {}),
            "policy": (
                "update",
                f"sys/policies/acl/{mark}{n}",
                {"policy": f'path "{mark}" {{}}'},
                {},
            ),
            "policies": ("list", "sys/policies/acl", {}, {}),
            "mounts": ("read", "sys/mounts", {}, {}),
            "cubbyhole": ("update", "cubbyhole/own", {"value": f"{mark}{n}"}, {}),
            "hole": ("read", "cubbyhole/own", {}, {}),
            "wrap": ("read", f"{mount}/data/{n}", {}, {"wrap_ttl": 60.0}),
            "capabilities": ("update", "sys/capabilities", {"token": victim.text, "paths": [f"kv/data/{n}"]}, {}),
            "entity": ("update", "identity/entity/name/" + f"{mark}{n}", {"metadata": {"mark": mark}}, {}),
            "accessors": ("list", "auth/token/accessors", {}, {}),
            "self": ("read", "auth/token/lookup-self", {}, {}),
        }[kind]
        header, full = self.address(target, path)
        self.done += 1
        if not self.reaches(actor, target):
            with pytest.raises(PermissionDenied):
                await self.server.call(op, full, data, actor.text, namespace=header, **more)
            return
        try:
            response = await self.server.call(op, full, data, actor.text, namespace=header, **more)
        except CaveauError:
            return
        self.kinds.add(kind)
        self.check_shown(kind, target, actor, victim, orjson.dumps([response.data, response.auth], default=str))
        if kind == "token":
            self.tokens.append(Token(response.auth["client_token"], response.auth["accessor"], target, actor))
        elif kind == "revoke" and victim.home.startswith(target):
            victim.revoked = True
            self.tokens = [each for each in self.tokens if each.lives] or self.tokens
            self.dead.append(victim)
        elif kind == "wrap" and response.wrap_info:
            fetched = await self.server.call(
                "update", "sys/wrapping/unwrap", {}, response.wrap_info.token, namespace=dice.choice(("", *PATHS))
            )
            self.check_shown(kind, target, actor, victim, orjson.dumps(fetched.data))
        if len(self.tokens) < FEWEST_TOKENS:
            await self.grow(self.server.root, dice.choice(("", *PATHS)))

    def reaches(self, token: Token, target: str) -> bool:
        return target.startswith(token.home)

    def check_shown(self, kind: str, target: str, actor: Token, victim: Token, shown: bytes) -> None:
        marks = set(MARK.findall(shown))
        allowed = {self.mark(target)}
        if kind in ("lookup", "accessor", "renew"):
            assert victim.home.startswith(target) or victim.text == actor.text
            allowed = {self.mark(victim.home)}
        elif kind == "self":
            allowed = {self.mark(actor.home)}
        found = {f"mark-{mark.decode()}-" for mark in marks}
        assert found <= allowed, f"{kind} in {target!r} showed {found - allowed}"
        if kind == "accessors":
            ends = {each.rpartition(".")[2] if "." in each else "" for each in orjson.loads(shown)[0]["keys"]}
            assert ends <= {self.ids.get(target, "")}

    async def alive(self, token: Token) -> bool:
        try:
            await self.server.call("read", "auth/token/lookup-self", token=token.text, namespace=token.home)
        except PermissionDenied:
            return False
        return True


@pytest.mark.parametrize("seed", range(2))
async def test_nothing_crosses_from_one_namespace_into_another(seed):
    walk = Walk(await Server(SlowStore()).start(), random.Random(seed))
    await walk.begin()

    async def go() -> None:
        while walk.done < STEPS:
            await walk.step()

    await asyncio.gather(*(go() for _ in range(AT_ONCE)))
    assert len(walk.kinds) == 19, walk.kinds  # each was allowed to somebody
    for token in walk.tokens + walk.dead:
        assert await walk.alive(token) == token.lives, "a token was ended by one that does not reach it, or was not"
    for key, value in (await walk.server.plain()).items():
        owner = next((path for path, id_ in walk.ids.items() if key.startswith(f"namespaces/{id_}/")), "")
        marks = {f"mark-{mark.decode()}-" for mark in MARK.findall(key.encode() + value)}
        assert marks <= {walk.mark(owner)}, f"{key} holds {marks}"
