"""What a thief of the disk finds."""

from __future__ import annotations

import asyncio
import base64
import stat
from pathlib import Path

from caveau.framework.clock import FakeClock
from caveau.server.config import ServerConfig
from caveau.server.core import Core
from caveau.server.request import Incoming
from caveau.server.seal import initialize
from caveau.storage.seals.shamir import ShamirSeal
from caveau.storage.sqlite import SqliteStore

PLANTED = "planted-secret-value-0123456789"


async def fill(directory: Path) -> list[bytes]:
    """Run a server there, plant secrets in every place a client can write to, and give what must not be found."""
    store = SqliteStore(directory)
    await store.open()
    core = Core(ServerConfig(), store, ShamirSeal(), clock=FakeClock())
    made = await initialize(core.seal, secret_shares=1, secret_threshold=1)
    await core.seal.unseal(made["keys_base64"][0])
    root: str = made["root_token"]

    async def call(op: str, path: str, data: dict[str, object] | None = None, wrap: float | None = None) -> object:
        answer = await core.handle(Incoming("r", op, path, root, data or {}, {}, wrap))
        return answer.auth or answer.wrap_info or answer.data

    await call("update", "sys/mounts/v1", {"type": "kv", "description": PLANTED})
    await call("update", "sys/mounts/v2", {"type": "kv-v2"})
    await call("update", "v1/a", {"x": PLANTED})
    await call("update", "v2/data/a", {"data": {"x": PLANTED, PLANTED: 1}})
    await call("update", "v2/metadata/a", {"custom_metadata": {"k": PLANTED}})
    await call("update", "cubbyhole/a", {"x": PLANTED})
    await call("update", "sys/policies/acl/p", {"policy": f'# {PLANTED}\npath "a" {{ capabilities = ["read"] }}'})
    auth = await call("update", "auth/token/create", {"meta": {"k": PLANTED}, "display_name": PLANTED})
    wrapped = await call("read", "v1/a", wrap=60.0)
    await call("delete", "v1/a")
    await core.stop()
    await store.close()

    assert isinstance(auth, dict)
    return [
        PLANTED.encode(),
        base64.b64encode(PLANTED.encode()).rstrip(b"="),
        root.encode(),
        auth["client_token"].encode(),
        auth["accessor"].encode(),
        wrapped.token.encode(),  # type: ignore[union-attr, attr-defined]
        base64.b64decode(made["keys_base64"][0])[:32],
    ]


def test_nothing_but_ciphertext_is_on_disk(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    secrets = asyncio.run(fill(directory))
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    for path in files:
        contents = path.read_bytes()
        for secret in secrets:
            assert secret not in contents, path.name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
