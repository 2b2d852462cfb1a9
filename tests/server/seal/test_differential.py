"""The same walk through a seal's life on OpenBao over HTTP and on ours: same answers, same refusals."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from caveau.framework.errors import CaveauError
from caveau.server.seal import (
    configure_rotation,
    decode_token,
    init_status,
    initialize,
    key_status,
    rotate,
    rotate_status,
    rotation_config,
    token_shape,
)
from caveau.storage import shamir
from caveau.storage.inmem import InmemStore
from caveau.storage.seals.shamir import ShamirSeal

from ...peers import BAO_CONFIG, Server, bao_server_sealed
from .conftest import Node, Person, SelfOpeningSeal

pytestmark = pytest.mark.peer

Answer = tuple[int, Any]


class Bao:
    def __init__(self, server: Server) -> None:
        self._netloc = server.netloc
        self.token = ""

    async def __call__(self, method: str, path: str, **body: Any) -> Answer:
        status, text = await asyncio.to_thread(self._request, method, path, json.dumps(body))
        answer = json.loads(text) if text else None
        if isinstance(answer, dict) and answer.get("data") is not None:
            answer = answer["data"]
        return status, answer

    def _request(self, method: str, path: str, body: str) -> tuple[int, bytes]:
        with contextlib.closing(http.client.HTTPConnection(self._netloc, timeout=20)) as connection:
            connection.request(method, "/v1/sys/" + path, body, {"X-Vault-Token": self.token})
            with connection.getresponse() as response:
                return response.status, response.read()


class Ours:
    def __init__(self, node: Node) -> None:
        core, rekey, root = node.core, node.rekey, node.root

        async def now(value: Any) -> Any:
            return value

        async def rotated(call: Awaitable[dict[str, Any]]) -> dict[str, Any]:
            return rotate_status(await call)

        async def shaped(call: Awaitable[dict[str, Any]], update: bool) -> dict[str, Any]:
            return token_shape(await call, update=update)

        self._calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "GET init": lambda: init_status(core),
            "PUT init": lambda **p: initialize(core, **p),
            "GET seal-status": core.status,
            "PUT unseal": core.unseal,
            "PUT seal": core.seal,
            "GET key-status": lambda: now(key_status(core)),
            "PUT rotate": lambda: rotate(core),
            "GET rotate/config": lambda: now(rotation_config(core)),
            "PUT rotate/config": lambda **p: configure_rotation(core, **p),
            "POST rotate/root": core.replace_root_key,
            "POST decode-token": lambda **p: now(decode_token(**p)),
        }
        for prefix, operation in (("rekey", rekey), ("rekey-recovery-key", node.rekey_recovery)):
            self._calls |= {
                f"GET {prefix}/init": operation.status,
                f"PUT {prefix}/init": operation.init,
                f"PUT {prefix}/update": operation.update,
                f"DELETE {prefix}/init": lambda operation=operation: now(operation.cancel()),
                f"GET {prefix}/verify": operation.verify_status,
                f"PUT {prefix}/verify": operation.verify,
                f"DELETE {prefix}/verify": operation.cancel_verify,
            }
        self._calls |= {
            "GET rekey/backup": rekey.backup,
            "DELETE rekey/backup": rekey.delete_backup,
            "GET rotate/root/init": lambda: rotated(rekey.status()),
            "POST rotate/root/init": lambda **p: rotated(rekey.init(**p)),
            "POST rotate/root/update": lambda **p: rotated(rekey.update(**p)),
            "DELETE rotate/root/init": lambda: now(rekey.cancel()),
            "GET rotate/root/verify": rekey.verify_status,
            "POST rotate/root/verify": rekey.verify,
            "GET generate-root/attempt": root.status,
            "PUT generate-root/attempt": root.init,
            "PUT generate-root/update": root.update,
            "DELETE generate-root/attempt": lambda: now(root.cancel()),
            "GET generate-root-token/attempt": lambda: shaped(root.status(), False),
            "POST generate-root-token/attempt": lambda **p: shaped(root.init(**p), False),
            "POST generate-root-token/update": lambda **p: shaped(root.update(**p), True),
        }

    async def __call__(self, method: str, path: str, **body: Any) -> Answer:
        try:
            answer = await self._calls[f"{method} {path}"](**body)
        except CaveauError as error:
            return error.status, {"errors": error.messages}
        return (204, None) if answer is None else (200, answer)


# What differs on purpose. Vault's names and lengths: build_date, otp_length 28. Mistakes of the caller are
# 400 here (a Vault client tries a 500 again, and its second try would count as a first share).
BUILD_KEYS = {"commit_date": "build_date"}
TEXTS = {
    "root generation already in progress for this namespace": "root generation already in progress",
    "invalid key: failed to setup unseal key: crypto/aes: invalid key size 31": (
        "unable to retrieve stored keys: invalid key: an unseal key has 32 bytes, not 31"
    ),
}
FREE = {"version", "build_date", "cluster_name", "cluster_id", "install_time", "encryptions", "otp_length"}
SECRET = {"keys", "keys_base64", "recovery_keys", "recovery_keys_base64"}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def comparable(answer: Any, key: str = "") -> Any:
    if isinstance(answer, dict):
        answer = {BUILD_KEYS.get(name, name): value for name, value in answer.items()}
        return {name: comparable(value, key if key in SECRET else name) for name, value in answer.items()}
    if isinstance(answer, list):
        return [comparable(item, key) for item in answer]
    if key in FREE or (key in ("root_token", "encoded_token", "encoded_root_token", "otp", "token") and answer):
        return type(answer).__name__
    if key in SECRET:
        return len(answer) if len(answer) <= 66 else "PGP message"
    if isinstance(answer, str):
        for theirs, text in TEXTS.items():
            answer = answer.replace(theirs, text)
        answer = re.sub(r"^1 error occurred:\n\t\* (.*)\n\n$", r"\1", answer)
        answer = re.sub(r"illegal base64 data at input byte \d+", "illegal base64 data", answer)
        return _UUID.sub("UUID", answer)
    return answer


class Pair:
    """Makes each request on both, and compares; gives both answers."""

    def __init__(self, bao: Bao, ours: Ours) -> None:
        self._bao, self._ours = bao, ours

    async def __call__(
        self, method: str, path: str, both: dict[str, Any] | None = None, **each: tuple[Any, Any]
    ) -> tuple[Any, Any]:
        bodies = [{**(both or {}), **{name: pair[side] for name, pair in each.items()}} for side in (0, 1)]
        theirs = await self._bao(method, path, **bodies[0])
        mine = await self._ours(method, path, **bodies[1])
        status = 400 if theirs[0] == 500 else theirs[0]
        context = f"{method} {path} {sorted(bodies[0])}"
        assert (context, mine[0], comparable(mine[1])) == (context, status, comparable(theirs[1]))
        return theirs[1], mine[1]


@pytest.fixture
def bao() -> Iterator[Bao]:
    with bao_server_sealed() as server:
        yield Bao(server)


@pytest.fixture
def static_bao() -> Iterator[Bao]:
    seal = f'seal "static" {{\n  current_key_id = "1"\n  current_key = "{"6b" * 32}"\n}}\n'
    with bao_server_sealed(BAO_CONFIG + seal) as server:
        yield Bao(server)


def pairs(answers: tuple[Any, Any], name: str) -> list[tuple[Any, Any]]:
    return list(zip(answers[0][name], answers[1][name], strict=True))


def pair(answers: tuple[Any, Any], name: str) -> tuple[Any, Any]:
    return answers[0][name], answers[1][name]


WRONG = ("00" * 32 + "09", "00" * 32 + "09")


async def test_shamir(bao: Bao) -> None:
    call = Pair(bao, Ours(Node(InmemStore(), ShamirSeal())))
    await call("GET", "init")
    await call("GET", "seal-status")
    await call("PUT", "unseal", {"key": "00" * 33})
    await call("PUT", "unseal", {"reset": True})
    for refused in (
        {},
        {"secret_shares": 1},
        {"secret_shares": 2, "secret_threshold": 3},
        {"secret_shares": 2, "secret_threshold": 1},
        {"secret_shares": 300, "secret_threshold": 280},
        {"secret_shares": 3, "secret_threshold": 2, "recovery_shares": 3, "recovery_threshold": 2},
        {"secret_shares": 3, "secret_threshold": 2, "pgp_keys": ["x"]},
        {"secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["x"]},
    ):
        await call("PUT", "init", refused)
    made = await call("PUT", "init", {"secret_shares": 3, "secret_threshold": 2, "stored_shares": 1})
    bao.token = made[0]["root_token"]
    keys = pairs(made, "keys")
    await call("PUT", "init", {"secret_shares": 3, "secret_threshold": 2})
    await call("GET", "seal-status")

    # Unsealing
    for key in ("", "zz!!", "aabb", "00" * 64):
        await call("PUT", "unseal", {"key": key})
    await call("PUT", "unseal", key=keys[0])
    await call("PUT", "unseal", key=keys[0])
    await call("PUT", "unseal", {"reset": True}, key=keys[0])
    await call("PUT", "unseal", {"migrate": True}, key=keys[0])
    await call("PUT", "unseal", key=keys[0])
    await call("PUT", "unseal", key=WRONG)
    await call("PUT", "unseal", {"key": "00" * 32})
    await call("PUT", "unseal", key=keys[0])
    await call("PUT", "unseal", key=keys[2])
    await call("PUT", "unseal", key=pairs(made, "keys_base64")[0])
    await call("PUT", "unseal", key=keys[1])
    await call("PUT", "unseal", {"reset": True})

    # The barrier's terms
    await call("GET", "key-status")
    await call("PUT", "rotate")
    await call("GET", "key-status")
    for config in (
        {},
        {"enabled": False},
        {"max_operations": 5},
        {"interval": 3},
        {"interval": 90061},
        {"interval": 0, "enabled": True, "max_operations": 1_000_000},
    ):
        await call("PUT", "rotate/config", config)
        await call("GET", "rotate/config")
    await call("POST", "rotate/root")

    # Rekeying: refusals, a wrong share, verification
    await call("GET", "rekey/init")
    await call("DELETE", "rekey/init")
    await call("PUT", "rekey/update", {"nonce": "x"}, key=keys[0])
    await call("PUT", "rekey/update")
    await call("GET", "rekey/verify")
    await call("DELETE", "rekey/verify")
    await call("PUT", "rekey/verify", {"nonce": "x"}, key=keys[0])
    await call("GET", "rekey/backup")
    await call("DELETE", "rekey/backup")
    for refused in (
        {},
        {"secret_shares": 2, "secret_threshold": 3},
        {"secret_shares": 2, "secret_threshold": 2, "pgp_keys": ["x"]},
        {"secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["x"]},
        {"secret_shares": 2, "secret_threshold": 2, "backup": True},
    ):
        await call("PUT", "rekey/init", refused)
    config = {"secret_shares": 2, "secret_threshold": 2, "require_verification": True}
    nonce = pair(await call("PUT", "rekey/init", config), "nonce")
    await call("PUT", "rekey/init", config)
    await call("PUT", "rekey/update", key=keys[0])
    await call("PUT", "rekey/update", {"key": "zz"}, nonce=nonce)
    await call("PUT", "rekey/update", {"key": "aabb"}, nonce=nonce)
    await call("PUT", "rekey/update", key=keys[0], nonce=nonce)
    await call("PUT", "rekey/update", key=keys[0], nonce=nonce)
    await call("PUT", "rekey/update", key=WRONG, nonce=nonce)
    await call("GET", "rekey/init")
    await call("PUT", "rekey/update", key=keys[0], nonce=nonce)
    dealt = await call("PUT", "rekey/update", key=keys[1], nonce=nonce)
    new, verification = pairs(dealt, "keys"), pair(dealt, "verification_nonce")
    await call("GET", "rekey/init")
    await call("PUT", "rekey/update", key=keys[1], nonce=nonce)
    await call("PUT", "rekey/verify", key=new[0], nonce=nonce)
    await call("PUT", "rekey/verify", key=new[0], nonce=verification)
    await call("PUT", "rekey/verify", key=new[0], nonce=verification)
    await call("PUT", "rekey/verify", key=WRONG, nonce=verification)
    verification = pair(await call("DELETE", "rekey/verify"), "nonce")
    await call("PUT", "rekey/verify", key=new[0], nonce=verification)
    await call("PUT", "rekey/verify", key=new[1], nonce=verification)
    await call("GET", "rekey/init")
    keys = new

    # The same in OpenBao's shape, to one share that is the key itself
    await call("GET", "rotate/root/init")
    one = {"secret_shares": 1, "secret_threshold": 1}
    nonce = pair(await call("POST", "rotate/root/init", one), "nonce")
    await call("GET", "rotate/root/init")
    await call("POST", "rotate/root/update", key=keys[0], nonce=nonce)
    dealt = await call("POST", "rotate/root/update", key=keys[1], nonce=nonce)
    (single,) = pairs(dealt, "keys")

    # A root token
    for prefix, method in (("generate-root", "PUT"), ("generate-root-token", "POST")):
        await call("GET", f"{prefix}/attempt")
        started = await call(method, f"{prefix}/attempt")
        nonce = pair(started, "nonce")
        await call(method, f"{prefix}/update", {"nonce": "x"}, key=single)
        await call(method, f"{prefix}/update", {"key": "zz"}, nonce=nonce)
        await call(method, f"{prefix}/update", {"key": "00" * 32}, nonce=nonce)
        done = await call(method, f"{prefix}/update", key=single, nonce=nonce)
        encoded, otp = pair(done, "encoded_token"), pair(started, "otp")
        await call("POST", "decode-token", encoded_token=encoded, otp=otp)
    for refused in ({"encoded_token": "!!", "otp": "x"}, {"otp": "x"}, {"encoded_token": "QQ", "otp": "abc"}):
        await call("POST", "decode-token", refused)
    await call("PUT", "generate-root/update", {"nonce": "x"}, key=single)
    await call("PUT", "generate-root/update")
    await call("PUT", "generate-root/attempt", {"otp": "abc"})
    await call("DELETE", "generate-root/attempt")

    # Recovery shares are for other seals
    await call("GET", "rekey-recovery-key/init")
    await call("PUT", "rekey-recovery-key/init", one)

    await call("PUT", "seal")
    await call("PUT", "unseal", key=(single[0][:-2], single[1][:-2]))
    await call("PUT", "unseal", key=single)
    await call("GET", "seal-status")


async def test_self_opening_seal(static_bao: Bao) -> None:
    bao = static_bao
    call = Pair(bao, Ours(Node(InmemStore(), SelfOpeningSeal())))
    await call("GET", "seal-status")
    await call("PUT", "init", {"secret_shares": 3, "secret_threshold": 2})
    await call("PUT", "init", {"recovery_shares": 2, "recovery_threshold": 1})
    made = await call("PUT", "init", {"recovery_shares": 3, "recovery_threshold": 2})
    bao.token = made[0]["root_token"]
    keys = pairs(made, "recovery_keys")
    await call("GET", "seal-status")
    await call("PUT", "unseal", key=keys[0])
    await call("GET", "rekey-recovery-key/init")
    started = await call("PUT", "rekey-recovery-key/init", {"secret_shares": 2, "secret_threshold": 2})
    nonce = pair(started, "nonce")
    await call("PUT", "rekey-recovery-key/update", key=WRONG, nonce=nonce)
    await call("PUT", "rekey-recovery-key/update", key=keys[0], nonce=nonce)
    await call("PUT", "rekey-recovery-key/update", key=keys[0], nonce=nonce)
    keys = pairs(await call("PUT", "rekey-recovery-key/update", key=keys[1], nonce=nonce), "keys")
    await call("PUT", "rekey-recovery-key/update", key=keys[1], nonce=nonce)
    started = await call("PUT", "generate-root/attempt")
    nonce = pair(started, "nonce")
    await call("PUT", "generate-root/update", key=WRONG, nonce=nonce)
    await call("PUT", "generate-root/update", key=keys[0], nonce=nonce)
    await call("PUT", "generate-root/update", key=keys[0], nonce=nonce)
    await call("PUT", "generate-root/update", key=keys[1], nonce=nonce)
    await call("POST", "rotate/root")
    await call("PUT", "seal")
    await call("PUT", "unseal", key=keys[0])
    await call("PUT", "unseal", key=WRONG)
    await call("PUT", "unseal", key=keys[0])
    await call("PUT", "unseal", key=keys[1])


async def test_our_shares_of_its_key_open_openbao(bao: Bao) -> None:
    """Its shares combine here, and what we split from that combines there."""
    made = (await bao("PUT", "init", secret_shares=5, secret_threshold=3))[1]
    secret = shamir.combine([bytes.fromhex(key) for key in (made["keys"][i] for i in (4, 0, 2))])
    assert secret == shamir.combine([bytes.fromhex(key) for key in made["keys"]])
    shares = shamir.split(secret, 7, 3)
    assert not {share.hex() for share in shares} & set(made["keys"])
    for share in (shares[6], shares[1], shares[3]):
        status = (await bao("PUT", "unseal", key=share.hex()))[1]
    assert status["sealed"] is False


async def test_pgp(bao: Bao, alice: Person, bob: Person) -> None:
    """What the owners of the keys read, and where: the same on both."""
    call = Pair(bao, Ours(Node(InmemStore(), ShamirSeal())))

    def readable(answers: tuple[Any, Any]) -> list[tuple[str, str]]:
        return [
            (person.read(bytes.fromhex(theirs)), person.read(bytes.fromhex(mine)))
            for person, (theirs, mine) in zip((alice, bob), pairs(answers, "keys"), strict=True)
        ]

    keys = {"pgp_keys": [alice.public, bob.public]}
    two = {"secret_shares": 2, "secret_threshold": 2, **keys}
    made = await call("PUT", "init", two | {"root_token_pgp_key": alice.public})
    theirs, mine = (alice.read(base64.b64decode(token)) for token in pair(made, "root_token"))
    assert (theirs[:2], mine[:4]) == ("s.", "hvs.")
    bao.token = theirs
    shares = readable(made)
    for share in shares:
        assert [len(text) for text in share] == [66, 66]
        await call("PUT", "unseal", key=share)

    nonce = pair(await call("PUT", "rekey/init", two | {"backup": True}), "nonce")
    await call("PUT", "rekey/update", key=shares[0], nonce=nonce)
    dealt = await call("PUT", "rekey/update", key=shares[1], nonce=nonce)
    backups = await call("GET", "rekey/backup")
    for side in (0, 1):
        assert backups[side]["keys"][bob.fingerprint] == dealt[side]["keys"][1:]
    shares = readable(dealt)
    await call("DELETE", "rekey/backup")
    await call("GET", "rekey/backup")

    nonce = pair(await call("PUT", "generate-root/attempt", {"pgp_key": alice.public}), "nonce")
    await call("PUT", "generate-root/update", key=shares[0], nonce=nonce)
    done = await call("PUT", "generate-root/update", key=shares[1], nonce=nonce)
    theirs, mine = (alice.read(base64.b64decode(token)) for token in pair(done, "encoded_token"))
    assert (theirs[:2], mine[:4]) == ("s.", "hvs.")

    nonce = pair(await call("POST", "rotate/root/init", two | {"backup": True}), "nonce")
    await call("POST", "rotate/root/update", key=shares[0], nonce=nonce)
    await call("POST", "rotate/root/update", key=shares[1], nonce=nonce)
