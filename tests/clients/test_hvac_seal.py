"""hvac over the life of a seal: initialise, unseal, seal, rotate and rekey, make a root token again."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import hvac
import pytest
from hvac.exceptions import InvalidRequest, VaultDown, VaultError

from ..peers import Server

SHARES, THRESHOLD = 3, 2


@pytest.fixture
def anonymous(new_server: Server) -> Iterator[hvac.Client]:
    client = hvac.Client(url=new_server.address, token="")
    yield client
    client.adapter.close()


@dataclass
class Operated:
    """An unsealed server: a client with its root token, one without a token, and the unseal keys."""

    root: hvac.Client
    anonymous: hvac.Client
    keys: list[str]


@pytest.fixture
def operated(anonymous: hvac.Client, new_server: Server) -> Iterator[Operated]:
    answer = anonymous.sys.initialize(SHARES, THRESHOLD)
    anonymous.sys.submit_unseal_keys(answer["keys"][:THRESHOLD])
    root = hvac.Client(url=new_server.address, token=answer["root_token"])
    yield Operated(root, anonymous, answer["keys"])
    root.adapter.close()


def test_a_new_server_is_initialised_once(anonymous: hvac.Client) -> None:
    assert anonymous.sys.is_initialized() is False
    assert anonymous.sys.read_init_status() == {"initialized": False}
    assert anonymous.sys.read_health_status(method="GET").status_code == 501
    with pytest.raises(InvalidRequest):
        anonymous.sys.initialize(secret_shares=2, secret_threshold=3)

    answer = anonymous.sys.initialize(SHARES, THRESHOLD)

    assert len(answer["keys"]) == len(set(answer["keys"])) == SHARES
    assert [bytes.fromhex(k) for k in answer["keys"]] == [base64.b64decode(k) for k in answer["keys_base64"]]
    assert {len(bytes.fromhex(k)) for k in answer["keys"]} == {33}
    assert answer["root_token"]
    assert anonymous.sys.is_initialized() is True
    assert anonymous.sys.is_sealed() is True
    with pytest.raises(InvalidRequest, match="already initialized"):
        anonymous.sys.initialize(SHARES, THRESHOLD)


def test_unsealing_counts_its_progress_and_forgets_it_on_reset(anonymous: hvac.Client) -> None:
    keys = anonymous.sys.initialize(SHARES, THRESHOLD)["keys"]
    before = anonymous.sys.read_seal_status()
    assert (before["initialized"], before["sealed"], before["type"]) == (True, True, "shamir")
    assert (before["n"], before["t"], before["progress"], before["nonce"]) == (SHARES, THRESHOLD, 0, "")

    first = anonymous.sys.submit_unseal_key(keys[0])
    assert (first["sealed"], first["progress"]) == (True, 1)
    assert first["nonce"]
    assert anonymous.sys.submit_unseal_key(keys[0])["progress"] == 1, "the same key twice counts once"
    assert anonymous.sys.submit_unseal_key(reset=True)["progress"] == 0

    anonymous.sys.submit_unseal_key(keys[2])
    last = anonymous.sys.submit_unseal_key(keys[1])
    assert (last["sealed"], last["progress"]) == (False, 0)
    assert anonymous.seal_status["sealed"] is False


def test_wrong_unseal_keys_are_refused(anonymous: hvac.Client) -> None:
    keys = anonymous.sys.initialize(SHARES, THRESHOLD)["keys"]
    with pytest.raises(InvalidRequest, match="hex or base64"):
        anonymous.sys.submit_unseal_key("not a key!")
    with pytest.raises(InvalidRequest, match="shorter than minimum"):
        anonymous.sys.submit_unseal_key("00ff")
    anonymous.sys.submit_unseal_key(keys[0])
    flipped = f"{int(keys[1][:2], 16) ^ 1:02x}{keys[1][2:]}"
    with pytest.raises(InvalidRequest):
        anonymous.sys.submit_unseal_key(flipped)
    status = anonymous.sys.read_seal_status()
    assert (status["sealed"], status["progress"]) == (True, 0)


def test_submitting_several_keys_unseals(anonymous: hvac.Client) -> None:
    answer = anonymous.sys.initialize(SHARES, THRESHOLD)
    assert anonymous.sys.submit_unseal_keys(answer["keys_base64"])["sealed"] is False
    anonymous.token = answer["root_token"]
    assert anonymous.is_authenticated()


def test_a_sealed_server_refuses_everything_and_comes_back_with_its_secrets(operated: Operated) -> None:
    root = operated.root
    root.sys.enable_secrets_engine("kv", path="kept", options={"version": "1"})
    root.secrets.kv.v1.create_or_update_secret("a", {"b": "c"}, method="POST", mount_point="kept")

    root.sys.seal()

    assert root.sys.is_sealed() is True
    with pytest.raises(VaultDown):
        root.secrets.kv.v1.read_secret("a", mount_point="kept")
    with pytest.raises(VaultDown):
        root.sys.get_encryption_key_status()
    root.sys.submit_unseal_keys(operated.keys[1:])
    assert root.secrets.kv.v1.read_secret("a", mount_point="kept")["data"] == {"b": "c"}


def test_health_answers_for_load_balancers(operated: Operated) -> None:
    sys = operated.anonymous.sys
    assert sys.read_health_status(method="HEAD").status_code == 200
    body = sys.read_health_status(method="GET")
    assert (body["initialized"], body["sealed"], body["standby"]) == (True, False, False)
    assert isinstance(body["server_time_utc"], int)
    assert body["version"]
    assert sys.read_health_status(method="GET", active_code=299).status_code == 299

    operated.root.sys.seal()

    sealed = sys.read_health_status(method="GET")
    assert sealed.status_code == 503
    assert sealed.json()["sealed"] is True
    assert sys.read_health_status(method="GET", sealed_code=520).status_code == 520
    assert sys.read_health_status(method="HEAD").status_code == 503


def test_a_server_alone_says_that_it_has_no_leader(operated: Operated) -> None:
    assert operated.anonymous.sys.read_leader_status()["ha_enabled"] is False
    assert operated.anonymous.ha_status["ha_enabled"] is False


def test_rotating_the_encryption_key_starts_a_new_term(operated: Operated) -> None:
    before = operated.root.sys.get_encryption_key_status()["data"]
    assert operated.root.sys.rotate_encryption_key().status_code == 204
    after = operated.root.sys.get_encryption_key_status()["data"]
    assert after["term"] == before["term"] + 1
    assert after["install_time"] >= before["install_time"]
    assert operated.root.key_status["term"] == after["term"]


def test_rekey_replaces_the_unseal_keys(operated: Operated) -> None:
    sys = operated.anonymous.sys
    assert sys.read_rekey_progress()["started"] is False
    start = sys.start_rekey(secret_shares=4, secret_threshold=3)
    assert (start["started"], start["n"], start["t"], start["required"]) == (True, 4, 3, THRESHOLD)
    progress = sys.rekey(operated.keys[0], nonce=start["nonce"])
    assert progress["progress"] == 1
    assert sys.read_rekey_progress()["progress"] == 1

    done = sys.rekey(operated.keys[1], nonce=start["nonce"])

    assert done["complete"] is True
    assert len(done["keys"]) == 4
    operated.root.sys.seal()
    with pytest.raises(InvalidRequest):
        sys.submit_unseal_keys(operated.keys)
    sys.submit_unseal_key(reset=True)
    assert sys.submit_unseal_keys(done["keys"][1:])["sealed"] is False


def test_rekey_can_be_cancelled_and_checks_its_nonce(operated: Operated) -> None:
    sys = operated.anonymous.sys
    start = sys.start_rekey(secret_shares=1, secret_threshold=1)
    with pytest.raises(InvalidRequest):
        sys.rekey(operated.keys[0], nonce="11111111-2222-3333-4444-555555555555")
    assert sys.cancel_rekey().status_code == 204
    assert sys.read_rekey_progress()["started"] is False
    with pytest.raises(InvalidRequest):
        sys.rekey(operated.keys[0], nonce=start["nonce"])
    with pytest.raises(VaultError, match="threshold"):  # OpenBao calls it its own error, 500
        sys.start_rekey(secret_shares=2, secret_threshold=3)


def test_rekey_with_verification_keeps_the_old_keys_until_the_new_ones_are_proven(operated: Operated) -> None:
    sys = operated.anonymous.sys
    start = sys.start_rekey(secret_shares=3, secret_threshold=2, require_verification=True)
    assert start["verification_required"] is True
    done = sys.rekey_multi(operated.keys, nonce=start["nonce"])
    assert done["complete"] is True
    nonce = done["verification_nonce"]

    status = sys.read_rekey_verify_progress()
    assert (status["nonce"], status["t"], status["n"], status["progress"]) == (nonce, 2, 3, 0)
    assert sys.rekey_verify(done["keys"][0], nonce=nonce)["progress"] == 1
    restarted = sys.cancel_rekey_verify()
    assert restarted["progress"] == 0
    assert restarted["nonce"] != nonce
    operated.root.sys.seal()
    assert sys.submit_unseal_keys(operated.keys)["sealed"] is False, "unproven: the old keys still hold"


def test_rekey_verified_makes_the_new_keys_hold(operated: Operated) -> None:
    sys = operated.anonymous.sys
    start = sys.start_rekey(secret_shares=3, secret_threshold=2, require_verification=True)
    done = sys.rekey_multi(operated.keys, nonce=start["nonce"])
    assert sys.rekey_verify_multi(done["keys"], nonce=done["verification_nonce"])["complete"] is True
    assert sys.read_rekey_progress()["started"] is False
    operated.root.sys.seal()
    assert sys.submit_unseal_keys(done["keys"])["sealed"] is False


def test_generating_a_root_token_needs_a_quorum_and_the_otp(operated: Operated, new_server: Server) -> None:
    sys = operated.anonymous.sys
    assert sys.read_root_generation_progress()["started"] is False
    start = sys.start_root_token_generation()
    assert (start["started"], start["progress"], start["required"]) == (True, 0, THRESHOLD)
    assert len(start["otp"]) == start["otp_length"]
    assert operated.anonymous.generate_root_status["nonce"] == start["nonce"]
    assert sys.generate_root(operated.keys[0], start["nonce"])["progress"] == 1

    done = sys.generate_root(operated.keys[1], start["nonce"])

    assert done["complete"] is True
    encoded = base64.b64decode(done["encoded_token"] + "==")
    token = bytes(a ^ b for a, b in zip(encoded, start["otp"].encode(), strict=True)).decode()
    assert token != operated.root.token
    made = hvac.Client(url=new_server.address, token=token)
    assert made.auth.token.lookup_self()["data"]["policies"] == ["root"]
    made.adapter.close()


def test_generating_a_root_token_can_be_cancelled(operated: Operated) -> None:
    sys = operated.anonymous.sys
    start = sys.start_root_token_generation()
    with pytest.raises(InvalidRequest):
        sys.start_root_token_generation()
    assert sys.cancel_root_generation().status_code == 204
    with pytest.raises(InvalidRequest):
        sys.generate_root(operated.keys[0], start["nonce"])


def test_without_a_standby_stepping_down_changes_nothing(operated: Operated) -> None:
    assert operated.root.sys.step_down().status_code == 204
    assert operated.root.sys.is_sealed() is False
