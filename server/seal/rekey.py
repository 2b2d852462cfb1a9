"""New shares: ``sys/rekey/*``, ``sys/rekey-recovery-key/*``, and OpenBao's ``sys/rotate/root/*``,
``sys/rotate/recovery/*``. The latter two differ in shape only: ``rotate_status``.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from ...framework.errors import InvalidRequest
from ...storage.keyring import KEY_SIZE
from ...storage.pgp import PgpKey, parse_keys
from .shares import Collector, Dealt, ShareConfig, check_nonce, check_size, deal, decode_share
from .unseal import RECOVERY_KEY, SEAL_CONFIG, SealCore, WrongShares

BACKUPS: Final = {"barrier": "core/rekey-backup", "recovery": "core/recovery-rekey-backup"}
"""Where new shares are kept, encrypted for those who get them."""
_MISSING_KEY = "'key' must be specified in request body as JSON"


@dataclass(slots=True)
class _Operation:
    nonce: str
    config: ShareConfig
    pgp_keys: list[PgpKey]
    backup: bool
    verify: bool
    collector: Collector = field(default_factory=Collector)
    secret: bytes = field(default=b"", repr=False)
    """The new key, from the moment its shares are dealt until they are verified."""
    verify_nonce: str = ""

    @property
    def fingerprints(self) -> list[str] | None:
        return [key.fingerprint for key in self.pgp_keys] or None


class Rekey:
    """One operation at a time, kept in memory: sealing forgets it.

    ``barrier``: the shares of a ``shamir`` seal; with another seal there are none, and its recovery
    shares authorise a new root key. ``recovery``: the recovery shares, which authorise themselves.
    """

    def __init__(self, core: SealCore, kind: Literal["barrier", "recovery"]) -> None:
        self._core = core
        self._kind = kind
        self._backup_at = BACKUPS[kind]
        self._operation: _Operation | None = None
        core.at_seal(self.cancel)

    async def status(self) -> dict[str, Any]:
        """``GET .../init``. ``required``: shares needed to authorise; ``t``, ``n``: those to come."""
        self.check_supported()
        required = (await self._core.required_config()).threshold
        operation = self._operation
        if operation is None:
            return _status("", ShareConfig(0, 0), 0, required, None, False, False)
        answer = _status(
            operation.nonce,
            operation.config,
            0 if operation.secret else operation.collector.progress,
            required,
            operation.fingerprints,
            operation.backup,
            operation.verify,
        )
        if operation.verify_nonce:
            answer["verification_nonce"] = operation.verify_nonce
        return answer

    async def init(
        self,
        *,
        secret_shares: int = 0,
        secret_threshold: int = 0,
        pgp_keys: Sequence[str] = (),
        backup: bool = False,
        require_verification: bool = False,
        stored_shares: int = 0,
    ) -> dict[str, Any]:
        """``PUT .../init``: start; answers the status. ``stored_shares`` means nothing."""
        del stored_shares
        self.check_supported()
        if backup and not pgp_keys:
            raise InvalidRequest("cannot request a backup of the new keys without providing PGP keys for encryption")
        config = ShareConfig(secret_shares, secret_threshold)
        if self._without_shares:
            if pgp_keys or require_verification:
                raise InvalidRequest(
                    f"seal type {self._core.mechanism.type} keeps its own key: there are no shares to encrypt or verify"
                )
            config = ShareConfig(1, 1)
        if pgp_keys and len(pgp_keys) != secret_shares:
            raise InvalidRequest("incorrect number of PGP keys for rekey")
        try:
            config.check()
            keys = parse_keys(pgp_keys)
        except InvalidRequest as error:
            raise InvalidRequest(f"invalid rekey seal configuration: {error}") from None
        if self._operation is not None:
            raise InvalidRequest("rekey already in progress")
        self._operation = _Operation(self._core.uuid(), config, keys, backup, require_verification)
        return await self.status()

    def cancel(self) -> None:
        """``DELETE .../init``; nothing happens when none is in progress."""
        self._operation = None

    async def update(self, key: str = "", nonce: str = "") -> dict[str, Any]:
        """``PUT .../update``: one more share of the present key.

        Answers the status, or with the last one the new shares. They count at once, or, if
        ``require_verification`` was asked, when they are given back to ``verify``.
        """
        if not key:
            raise InvalidRequest(_MISSING_KEY)
        share = decode_share(key)
        async with self._core.lock:
            self.check_supported()
            operation = self._started(f"no {self._kind} rekey in progress")
            check_nonce(nonce, operation.nonce, "this rekey operation")
            if operation.secret:
                raise InvalidRequest(
                    "rekey operation already finished; verification must be performed; "
                    f'nonce for the verification operation is "{operation.verify_nonce}"'
                )
            check_size(share)
            if not operation.collector.add(share):
                raise InvalidRequest("given key has already been provided during this generation operation")
            if operation.collector.progress < (await self._core.required_config()).threshold:
                return await self.status()
            await self._authorise(operation.collector)
            return await self._deal(operation)

    async def verify_status(self) -> dict[str, Any]:
        """``GET .../verify``."""
        self.check_supported()
        return _verify_status(self._verifying("no rekey configuration found"))

    async def verify(self, key: str = "", nonce: str = "") -> dict[str, Any]:
        """``PUT .../verify``: one of the new shares; the last one needed puts the new key in force."""
        if not key:
            raise InvalidRequest(_MISSING_KEY)
        share = decode_share(key)
        async with self._core.lock:
            self.check_supported()
            operation = self._verifying("no rekey in progress")
            check_nonce(nonce, operation.verify_nonce, "this verify operation")
            check_size(share)
            if not operation.collector.add(share):
                raise InvalidRequest("given key has already been provided during this verify operation")
            if operation.collector.progress < operation.config.threshold:
                return _verify_status(operation)
            try:
                given = operation.collector.combine()
            except InvalidRequest as error:
                self._restart_verification(operation)
                raise InvalidRequest(f"failed to compute key for verification: {error}") from None
            if not hmac.compare_digest(given, operation.secret):
                self._restart_verification(operation)
                raise InvalidRequest("rekey verification failed; incorrect key shares supplied")
            await self._put_in_force(operation, {})
            return {"nonce": operation.verify_nonce, "complete": True}

    async def cancel_verify(self) -> dict[str, Any]:
        """``DELETE .../verify``: forget the shares given back; the new ones stay good for it."""
        self.check_supported()
        operation = self._verifying("no rekey configuration found")
        self._restart_verification(operation)
        return _verify_status(operation)

    async def backup(self) -> dict[str, Any]:
        """``GET .../backup``: the encrypted shares of the last rekey that asked for it, by the
        fingerprint of the key they are for."""
        stored = await self._core.physical.get(self._backup_at)
        if stored is None:
            raise InvalidRequest("no backed-up keys found")
        answer: dict[str, Any] = orjson.loads(self._core.barrier.decrypt(self._backup_at, stored))
        return answer

    async def delete_backup(self) -> None:
        """``DELETE .../backup``."""
        await self._core.physical.commit({self._backup_at: None})

    @property
    def _without_shares(self) -> bool:
        return self._kind == "barrier" and not self._core.by_shares

    def check_supported(self) -> None:
        """Raise InvalidRequest where the seal knows no such shares."""
        if self._kind == "recovery" and self._core.by_shares:
            raise InvalidRequest("recovery rekeying not supported")

    def _started(self, otherwise: str) -> _Operation:
        if self._operation is None:
            raise InvalidRequest(otherwise)
        return self._operation

    def _verifying(self, otherwise: str) -> _Operation:
        operation = self._started(otherwise)
        if not operation.secret:
            raise InvalidRequest(otherwise)
        return operation

    def _restart_verification(self, operation: _Operation) -> None:
        operation.collector.clear()
        operation.verify_nonce = self._core.uuid()

    async def _authorise(self, collector: Collector) -> None:
        try:
            secret = collector.combine()
        except InvalidRequest as error:
            raise InvalidRequest(f"failed to compute root key: {error}") from None
        try:
            await self._core.root_key(secret)
        except WrongShares as error:
            context = "failed to read root key" if self._core.by_shares else "recovery key verification failed"
            raise WrongShares(f"{context}: {error}") from None

    async def _deal(self, operation: _Operation) -> dict[str, Any]:
        secret = self._core.random_bytes(KEY_SIZE)
        dealt = Dealt([], [])
        if not self._without_shares:
            dealt = deal(secret, operation.config, operation.pgp_keys, self._core.random_bytes)
        entries: dict[str, bytes] = {}
        if operation.backup:
            entries[self._backup_at] = _backup(operation, dealt)
        answer = {
            "nonce": operation.nonce,
            "complete": True,
            "keys": dealt.keys,
            "keys_base64": dealt.keys_base64,
            "pgp_fingerprints": operation.fingerprints,
            "backup": operation.backup,
            "verification_required": operation.verify,
        }
        operation.secret = secret
        try:
            if not operation.verify:
                await self._put_in_force(operation, entries)
                return answer
            await self._core.physical.commit(self._encrypted(entries))
        except BaseException:
            operation.secret = b""
            raise
        operation.verify_nonce = self._core.uuid()
        return answer | {"verification_nonce": operation.verify_nonce}

    async def _put_in_force(self, operation: _Operation, entries: Mapping[str, bytes]) -> None:
        core = self._core
        if self._without_shares:
            await core.replace_root_key()
        elif self._kind == "barrier":
            await core.replace_seal_key(operation.secret, operation.config, entries)
        else:
            await core.physical.commit(
                {
                    RECOVERY_KEY: await core.mechanism.wrap(operation.secret),
                    SEAL_CONFIG: core.dump_config(operation.config),
                    **self._encrypted(entries),
                }
            )
        if self._operation is operation:  # and not another one, begun meanwhile
            self._operation = None

    def _encrypted(self, entries: Mapping[str, bytes]) -> dict[str, bytes]:
        return {key: self._core.barrier.encrypt(key, value) for key, value in entries.items()}


def rotate_status(status: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of ``Rekey.status``, ``init`` or ``update`` as ``sys/rotate/root/*`` has it."""
    answer = dict(status)
    if "complete" in answer:
        return {**answer, "verification_nonce": answer.get("verification_nonce", "")}
    if not answer["started"]:
        return {name: answer[name] for name in ("started", "t", "n", "required")}
    if answer["pgp_fingerprints"] is None:
        del answer["pgp_fingerprints"], answer["backup"]
    return {**answer, "verification_nonce": answer.get("verification_nonce", "")}


def _status(
    nonce: str,
    config: ShareConfig,
    progress: int,
    required: int,
    fingerprints: list[str] | None,
    backup: bool,
    verify: bool,
) -> dict[str, Any]:
    return {
        "nonce": nonce,
        "started": bool(nonce),
        "t": config.threshold,
        "n": config.shares,
        "progress": progress,
        "required": required,
        "pgp_fingerprints": fingerprints,
        "backup": backup,
        "verification_required": verify,
    }


def _verify_status(operation: _Operation) -> dict[str, Any]:
    return {
        "nonce": operation.verify_nonce,
        "started": True,
        "t": operation.config.threshold,
        "n": operation.config.shares,
        "progress": operation.collector.progress,
    }


def _backup(operation: _Operation, dealt: Dealt) -> bytes:
    keys: dict[str, list[str]] = {}
    keys_base64: dict[str, list[str]] = {}
    for key, hexed, based in zip(operation.pgp_keys, dealt.keys, dealt.keys_base64, strict=True):
        keys.setdefault(key.fingerprint, []).append(hexed)
        keys_base64.setdefault(key.fingerprint, []).append(based)
    return orjson.dumps({"nonce": operation.nonce, "keys": keys, "keys_base64": keys_base64})
