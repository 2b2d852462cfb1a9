"""Root tokens for those who hold the shares, and readable only by who asked for them."""

from __future__ import annotations

import pytest
from caveau.framework.errors import InvalidRequest
from caveau.server.seal import OTP_LENGTH, decode_token, token_shape
from caveau.server.seal.generate_root import encode_token
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Node

IDLE = {
    "nonce": "", "started": False, "progress": 0, "required": 2, "complete": False, "encoded_token": "",
    "encoded_root_token": "", "pgp_fingerprint": "", "otp": "", "otp_length": 28,
}  # fmt: skip


async def test_with_an_otp_made_here(node: Node) -> None:
    keys = await node.open()
    assert await node.root.status() == IDLE
    attempt = await node.root.init()
    otp, nonce = attempt["otp"], attempt["nonce"]
    assert len(otp) == OTP_LENGTH == len(node.tokens[0])
    assert otp.isalnum()
    started = {**IDLE, "nonce": nonce, "started": True}
    assert attempt == {**started, "otp": otp}
    assert await node.root.status() == started, "the OTP is told once"
    assert await node.root.update(keys[0], nonce) == {**started, "progress": 1}
    done = await node.root.update(keys[1], nonce)
    encoded = done["encoded_token"]
    assert done == {
        **started, "progress": 2, "complete": True, "encoded_token": encoded, "encoded_root_token": encoded,
    }  # fmt: skip
    assert node.tokens[-1] not in str(done)
    assert decode_token(encoded, otp) == {"token": node.tokens[-1]}
    assert await node.root.status() == IDLE


async def test_with_an_otp_of_ones_own(node: Node) -> None:
    keys = await node.open()
    otp = "x" * OTP_LENGTH
    attempt = await node.root.init(otp=otp)
    assert attempt["otp"] == ""
    for key in keys[1:]:
        done = await node.root.update(key, attempt["nonce"])
    assert decode_token(done["encoded_token"], otp) == {"token": node.tokens[-1]}


@pytest.mark.parametrize("otp", ["abc", "x" * 26, "x" * 29, "é" * 28])
async def test_otp_of_the_wrong_length(node: Node, otp: str) -> None:
    await node.open()
    with pytest.raises(InvalidRequest, match="OTP string has incorrect length"):
        await node.root.init(otp=otp)


async def test_order_of_calls(node: Node) -> None:
    keys = await node.open()
    node.root.cancel()
    with pytest.raises(InvalidRequest, match="no root generation in progress"):
        await node.root.update(keys[0], "x")
    with pytest.raises(InvalidRequest, match="'key' must be specified in request body as JSON"):
        await node.root.update(nonce="x")
    with pytest.raises(InvalidRequest, match="error parsing PGP key: "):
        await node.root.init(pgp_key="x")
    nonce = (await node.root.init())["nonce"]
    with pytest.raises(InvalidRequest, match="root generation already in progress"):
        await node.root.init()
    with pytest.raises(InvalidRequest, match=f'nonce for this root generation operation is "{nonce}"'):
        await node.root.update(keys[0], "x")
    for key, text in [
        ("zz", "'key' must be a valid hex or base64 string"),
        ("aabb", "invalid key: key is shorter than minimum 16 bytes"),
        ("00" * 40, "invalid key: key is longer than maximum 33 bytes"),
    ]:
        with pytest.raises(InvalidRequest, match=text):
            await node.root.update(key, nonce)
    node.root.cancel()
    assert not (await node.root.status())["started"]


async def test_wrong_shares_make_no_token(node: Node) -> None:
    keys = await node.open()
    made = len(node.tokens)
    nonce = (await node.root.init())["nonce"]
    await node.root.update(keys[0], nonce)
    with pytest.raises(InvalidRequest, match="already been provided during this generation operation"):
        await node.root.update(keys[0], nonce)
    with pytest.raises(InvalidRequest, match="root generation aborted: unable to authenticate: unable to retrieve"):
        await node.root.update("00" * 32 + "09", nonce)
    assert (await node.root.status())["progress"] == 0
    await node.root.update("00" * 32, nonce)
    with pytest.raises(InvalidRequest, match="root generation aborted: failed to compute combined key"):
        await node.root.update(keys[0], nonce)
    assert len(node.tokens) == made


async def test_recovery_shares_authorise(auto_node: Node) -> None:
    keys = await auto_node.init()
    attempt = await auto_node.root.init()
    await auto_node.root.update("00" * 32 + "09", attempt["nonce"])
    with pytest.raises(InvalidRequest, match="unable to authenticate: recovery key verification failed"):
        await auto_node.root.update(keys[0], attempt["nonce"])
    for key in keys[:2]:
        done = await auto_node.root.update(key, attempt["nonce"])
    assert decode_token(done["encoded_token"], attempt["otp"]) == {"token": auto_node.tokens[-1]}


async def test_token_that_cannot_be_encoded_is_revoked(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = await node.open()
    attempt = await node.root.init()

    async def odd() -> str:
        return "hvs.short"

    object.__setattr__(node.core.hooks, "create_root_token", odd)
    await node.root.update(keys[0], attempt["nonce"])
    with pytest.raises(InvalidRequest, match="length of byte slices is not equivalent: 9 != 28"):
        await node.root.update(keys[1], attempt["nonce"])
    assert node.revoked == ["hvs.short"]


def test_encoding_seen_on_openbao() -> None:
    assert encode_token("s.YCvghavO9309mJ4ZMemw8ykb", "dTHr3IEtMWTErM9ou726y5w5a0") == (
        "F3oRMUUuLRU7GG12QnRUJUFtf1MUQk9MClI"
    )


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=28, max_size=28), st.data())
def test_encoding_reads_back(token: str, data: st.DataObject) -> None:
    otp = data.draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=28, max_size=28))
    assert decode_token(encode_token(token, otp), otp) == {"token": token}


@pytest.mark.parametrize(
    ("encoded", "otp", "text"),
    [
        ("", "x", "provided 'encoded_token' or 'otp' is empty"),
        ("QQ", "", "provided 'encoded_token' or 'otp' is empty"),
        ("!!", "x", "error decoding base64'd token: illegal base64 data"),
        ("QQ==", "x", "error decoding base64'd token: illegal base64 data"),
        ("AB-_", "abc", "error decoding base64'd token: illegal base64 data"),
        ("QQ", "abc", "error xoring token: length of byte slices is not equivalent: 1 != 3"),
    ],
)
def test_decode_refuses(encoded: str, otp: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        decode_token(encoded, otp)


async def test_shape_of_generate_root_token(node: Node) -> None:
    keys = await node.open()
    idle = token_shape(await node.root.status(), update=False)
    assert idle == {
        "complete": False, "otp": "", "otp_length": 28, "progress": 0, "required": 2, "started": False,
    }  # fmt: skip
    attempt = await node.root.init()
    assert sorted(token_shape(attempt, update=False)) == [
        "complete", "nonce", "otp", "otp_length", "pgp_fingerprint", "progress", "required", "started",
    ]  # fmt: skip
    after = token_shape(await node.root.update(keys[0], attempt["nonce"]), update=True)
    assert sorted(after) == [
        "complete", "encoded_token", "nonce", "pgp_fingerprint", "progress", "required", "started",
    ]  # fmt: skip
