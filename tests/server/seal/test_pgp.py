"""Shares and root tokens that only the owners of PGP keys can read, and the backup of such shares."""

from __future__ import annotations

import base64

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.seal import initialize, rotate_status

from .conftest import Node, Person


async def test_init(node: Node, alice: Person, bob: Person) -> None:
    answer = await initialize(
        node.core,
        secret_shares=2,
        secret_threshold=2,
        pgp_keys=[alice.public, bob.public],
        root_token_pgp_key=alice.public,
    )
    for person, message, encoded in zip((alice, bob), answer["keys"], answer["keys_base64"], strict=True):
        assert base64.b64decode(encoded).hex() == message
        share = person.read(bytes.fromhex(message))
        assert len(share) == 66
        status = await node.core.unseal(share)
    assert not status["sealed"]
    assert alice.read(base64.b64decode(answer["root_token"])) == node.tokens[0]


async def test_rekey_with_backup(node: Node, alice: Person, bob: Person) -> None:
    keys = await node.open()
    status = await node.rekey.init(
        secret_shares=3,
        secret_threshold=2,
        pgp_keys=[alice.public, bob.public, alice.public],
        backup=True,
    )
    assert status["pgp_fingerprints"] == [alice.fingerprint, bob.fingerprint, alice.fingerprint]
    assert rotate_status(status)["backup"] is True
    for key in keys[:2]:
        answer = await node.rekey.update(key, status["nonce"])
    a, b, c = answer["keys"]
    stored = await node.store.get("core/rekey-backup")
    assert stored is not None
    assert alice.fingerprint.encode() not in stored
    backup = await node.rekey.backup()
    assert backup["nonce"] == status["nonce"]
    assert backup["keys"] == {alice.fingerprint: [a, c], bob.fingerprint: [b]}
    assert backup["keys_base64"][bob.fingerprint] == [answer["keys_base64"][1]]
    await node.core.seal()
    await node.core.unseal(alice.read(bytes.fromhex(a)))
    assert not (await node.core.unseal(bob.read(bytes.fromhex(b))))["sealed"]
    await node.rekey.delete_backup()
    with pytest.raises(InvalidRequest, match="no backed-up keys found"):
        await node.rekey.backup()


async def test_backup_is_there_before_verification(node: Node, alice: Person) -> None:
    keys = await node.open()
    status = await node.rekey.init(
        secret_shares=1, secret_threshold=1, pgp_keys=[alice.public], backup=True, require_verification=True
    )
    for key in keys[:2]:
        answer = await node.rekey.update(key, status["nonce"])
    assert (await node.rekey.backup())["keys"] == {alice.fingerprint: answer["keys"]}
    share = alice.read(bytes.fromhex(answer["keys"][0]))
    assert (await node.rekey.verify(share, answer["verification_nonce"]))["complete"]


async def test_generate_root(node: Node, alice: Person) -> None:
    keys = await node.open()
    attempt = await node.root.init(pgp_key=alice.public)
    assert (attempt["pgp_fingerprint"], attempt["otp"]) == (alice.fingerprint, "")
    for key in keys[:2]:
        done = await node.root.update(key, attempt["nonce"])
    assert done["pgp_fingerprint"] == alice.fingerprint
    assert alice.read(base64.b64decode(done["encoded_token"])) == node.tokens[-1]
