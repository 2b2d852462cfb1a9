"""``sys/init``: the first keys, their shares, and the first root token."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from ...framework.errors import InvalidRequest
from ...storage.barrier import KEYRING, ROOT
from ...storage.keyring import KEY_SIZE
from ...storage.pgp import PgpKey, parse_keys
from ...storage.seals.shamir import ShamirSeal
from .shares import Dealt, ShareConfig, deal
from .unseal import RECOVERY_KEY, SEAL_CONFIG, SHAMIR_KEY, STORED_ROOT, SealCore


async def init_status(core: SealCore) -> dict[str, bool]:
    """``GET sys/init``."""
    return {"initialized": await core.initialized()}


async def initialize(
    core: SealCore,
    *,
    secret_shares: int = 0,
    secret_threshold: int = 0,
    pgp_keys: Sequence[str] = (),
    root_token_pgp_key: str = "",
    recovery_shares: int = 0,
    recovery_threshold: int = 0,
    recovery_pgp_keys: Sequence[str] = (),
    stored_shares: int = 0,
) -> dict[str, Any]:
    """``PUT sys/init``: make the keys, open, have ``create_root_token`` make a root token, seal again.

    A seal that opens by itself stays open. Answers ``keys``, ``keys_base64`` and ``root_token``, and
    ``recovery_keys``, ``recovery_keys_base64`` where there are some: only now, they are kept nowhere.
    ``stored_shares`` is accepted and means nothing, as in Vault. Everything is checked first, then
    one batch is written; if the token fails, the store is left as it was found.
    """
    del stored_shares
    shamir = {
        "secret_shares": secret_shares,
        "secret_threshold": secret_threshold,
        "pgp_keys": pgp_keys,
    }
    recovery = {
        "recovery_shares": recovery_shares,
        "recovery_threshold": recovery_threshold,
        "recovery_pgp_keys": recovery_pgp_keys,
    }
    refused = ",".join(name for name, value in (recovery if core.by_shares else shamir).items() if value)
    if refused:
        raise InvalidRequest(f"parameters {refused} not applicable to seal type {core.mechanism.type}")
    if core.by_shares:
        config = ShareConfig(secret_shares, secret_threshold)
        keys = _checked(config, pgp_keys, "seal")
    else:
        config = ShareConfig(recovery_shares, recovery_threshold)
        keys = _checked(config, recovery_pgp_keys, "recovery") if any(recovery.values()) else []
    token_key = PgpKey(root_token_pgp_key) if root_token_pgp_key else None

    async with core.lock:
        if await core.initialized():
            raise InvalidRequest("Vault is already initialized")
        if core.hooks.on_initialize is not None:
            await core.hooks.on_initialize()
        return await _initialize(core, config, keys, token_key)


def _checked(config: ShareConfig, pgp_keys: Sequence[str], what: str) -> list[PgpKey]:
    try:
        config.check()
        if pgp_keys and len(pgp_keys) != config.shares:
            raise InvalidRequest("count mismatch between number of provided PGP keys and number of shares")
        return parse_keys(pgp_keys)
    except InvalidRequest as error:
        raise InvalidRequest(f"invalid {what} configuration: {error}") from None


async def _initialize(
    core: SealCore, config: ShareConfig, keys: list[PgpKey], token_key: PgpKey | None
) -> dict[str, Any]:
    root_key, shared_key = core.random_bytes(KEY_SIZE), core.random_bytes(KEY_SIZE)
    dealt = deal(shared_key, config, keys, core.random_bytes) if config.shares else Dealt([], [])
    raw, entries = {SEAL_CONFIG: core.dump_config(config)}, {}
    if core.by_shares:
        raw[STORED_ROOT] = await ShamirSeal(shared_key).wrap(root_key)
        entries[SHAMIR_KEY] = shared_key
        answer: dict[str, Any] = {"keys": dealt.keys, "keys_base64": dealt.keys_base64}
    else:
        raw[STORED_ROOT] = await core.mechanism.wrap(root_key)
        answer = {"keys": [], "keys_base64": []}
        if config.shares:
            raw[RECOVERY_KEY] = await core.mechanism.wrap(shared_key)
            answer |= {"recovery_keys": dealt.keys, "recovery_keys_base64": dealt.keys_base64}

    was_empty = not await core.physical.list("", limit=1)
    await core.barrier.initialize(root_key, core.clock.time(), raw, entries)
    try:
        await core.hooks.on_unseal(core.barrier)
        token = await core.hooks.create_root_token()
        if token_key:
            token = base64.b64encode(token_key.encrypt(token.encode())).decode()
    except BaseException:
        await core.close_barrier()
        await _undo(core, was_empty)
        raise
    if core.by_shares:
        await core.close_barrier()
    return answer | {"root_token": token}


async def _undo(core: SealCore, was_empty: bool) -> None:
    """Remove what nobody has the keys to: all there is, if there was nothing before."""
    keys = [KEYRING, ROOT, SEAL_CONFIG, STORED_ROOT, SHAMIR_KEY, RECOVERY_KEY]
    if was_empty:
        folders = [""]
        while folders:
            folder = folders.pop()
            for name in await core.physical.list(folder):
                (folders if name.endswith("/") else keys).append(folder + name)
    await core.physical.commit(dict.fromkeys(keys))
