"""The physical store in PostgreSQL. Keys are ``bytea``: PostgreSQL compares them bytewise whatever the collation of
the database, and takes any text."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from time import perf_counter
from typing import Any, Self

from ...framework.errors import InvalidRequest, StoreError, StoreInUse, StoreUnreachable
from ...framework.metrics import Key, Timing
from ...framework.storage import Batch
from ..groups import Group, Groups, refused
from ..listing import bounds
from .database import FAILURES, Database, broken
from .writer import HEARTBEAT, PATIENCE, Writer

_log = logging.getLogger(__name__)

_ATTEMPTS = 3  # at reading: connections that wait in the pool may have broken
_WAIT_SECONDS = 1.0  # between looks whether another server is gone
_END = b"\xff"  # after all keys: no UTF-8 has it
_NUMBERS = {"max_parallel": 16, "max_idle_connections": 4}
_FLAGS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False, "": False}
_SETTINGS = {"connection_url", "table", "ha_table", "ha_enabled", "skip_create_table", *_NUMBERS}


class PostgresqlStore:
    """Physical store in two tables of a database."""

    key_limit = 2600
    """Bytes: the index takes no more than a third of a page."""

    def __init__(
        self,
        url: str,
        *,
        table: str = "caveau_store",
        leader_table: str = "caveau_leader",
        parallel: int = 16,
        idle: int = 4,
        create: bool = True,
        waits: bool = False,
        patience: float = PATIENCE,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """``url``: ``postgres://...``. ``parallel``: connections at most, one of which writes; ``idle``: how many
        stay open. ``create``: make tables that are missing. ``waits``: ``open`` waits until no other server has the
        store. ``patience``, ``heartbeat``: seconds, see ``writer``. Raises InvalidRequest."""
        self._database = Database(url, table, leader_table, parallel, idle)
        self._create = create
        self._waits = waits
        self._times = {"patience": patience, "heartbeat": heartbeat}
        self._writer: Writer | None = None
        self._groups = Groups(self._write_group, self._database.explain)
        self._commits = Timing(Key("postgresql.commit"))
        self._rows = Timing(Key("postgresql.commit_entries"), scale=1.0)
        self.timings = (self._commits, self._rows)
        name = self._database.name
        self._get = f"SELECT value FROM {name} WHERE key = $1"  # noqa: S608 - quoted, here and below
        self._get_some = f"SELECT key, value FROM {name} WHERE key = ANY($1)"  # noqa: S608
        # One look at the index a name: a folder is stepped over whatever it holds.
        self._list = (
            "WITH RECURSIVE step (low, name) AS (SELECT $1::bytea, NULL::bytea UNION ALL"  # noqa: S608
            # After a folder: its slash replaced by the byte that follows it.
            " SELECT CASE slash WHEN 0 THEN key || '\\x00' ELSE substring(key for $3 + slash - 1) || '\\x30' END,"
            " CASE slash WHEN 0 THEN substring(key from $3 + 1) ELSE substring(key from $3 + 1 for slash) END"
            f" FROM step, LATERAL (SELECT key FROM {name} WHERE key >= low AND key < $2 ORDER BY key LIMIT 1) AS hit,"
            " LATERAL (SELECT position('\\x2f'::bytea in substring(key from $3 + 1)) AS slash) AS cut)"
            " SELECT name FROM step WHERE name IS NOT NULL LIMIT $4"
        )

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Takes Vault's settings. Raises InvalidRequest."""
        if unknown := ", ".join(sorted(config.keys() - _SETTINGS)):
            raise InvalidRequest(f'storage "postgresql" has no setting {unknown}')
        numbers = {name: _number(config, name, default) for name, default in _NUMBERS.items()}
        url = str(config.get("connection_url") or "")
        if not url:
            raise InvalidRequest(
                'storage "postgresql" needs connection_url, or VAULT_PG_CONNECTION_URL in the environment'
            )
        return cls(
            url,
            table=str(config.get("table") or "caveau_store"),
            leader_table=str(config.get("ha_table") or "caveau_leader"),
            parallel=max(2, numbers["max_parallel"]),
            idle=min(max(1, numbers["max_idle_connections"]), max(2, numbers["max_parallel"])),
            create=not _flag(config, "skip_create_table"),
            waits=_flag(config, "ha_enabled"),
        )

    @property
    def statements(self) -> tuple[str, ...]:
        """What makes the tables, for who does it by hand."""
        return self._database.statements

    async def open(self) -> None:
        """Connect, make the tables, and take the lead. Raises StoreError: StoreInUse if another server has it."""
        self._database.open()
        told = ""
        try:
            while True:
                try:
                    await self._database.prepare(self._create)
                    writer = Writer(self._database, lease=self._waits, **self._times)
                    await writer.open()
                    break
                except (*FAILURES, StoreError) as error:
                    reason = self._database.explain(error)
                    if not self._waits or not isinstance(reason, StoreInUse | StoreUnreachable):
                        raise reason from error
                if told != str(reason):
                    told = str(reason)
                    _log.info("this server waits until it can lead: %s", told)
                await asyncio.sleep(_WAIT_SECONDS)
        except BaseException:
            await self._database.close()
            raise
        self._writer = writer

    async def close(self) -> None:
        await self._groups.drain()
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
        await self._database.close()

    async def deposed(self) -> StoreError:
        """As ``Led.deposed``."""
        return await self._opened().deposed()

    async def get(self, key: str) -> bytes | None:
        found = await self._read(self._get, key.encode())
        return found[0][0] if found else None

    async def list(self, prefix: str, after: str = "", limit: int = 0) -> list[str]:
        low, high = bounds(prefix, after)
        end = _END if high is None else high.encode()
        found = await self._read(self._list, low.encode(), end, len(prefix.encode()), limit or None)
        return [name.decode() for (name,) in found]

    async def read_ahead(self, keys: Sequence[str]) -> dict[str, bytes]:
        """As ``ReadsAhead.read_ahead``: one round trip for all."""
        found = await self._read(self._get_some, [key.encode() for key in keys])
        return {key.decode(): value for key, value in found}

    def commit(self, batch: Batch) -> Awaitable[None]:
        if self._writer is None:
            return refused(StoreError("postgresql: the store is not open"))
        return self._groups.commit(batch)

    async def _read(self, statement: str, *values: object) -> Sequence[Any]:
        """Rows of a statement, from any connection but while this server leads. Raises StoreError."""
        writer = self._opened()
        for attempt in range(_ATTEMPTS):
            # What a connection that broke was writing shows at any time until there is the next one.
            if not writer.leads:
                await writer.connected()
            try:
                return await self._database.fetch(statement, *values)
            except FAILURES as error:
                if attempt == _ATTEMPTS - 1 or not broken(error):
                    raise self._database.explain(error) from error
                await self._database.forget()
        raise AssertionError

    async def _write_group(self, group: Group) -> None:
        keys: list[bytes] = []
        values: list[bytes] = []
        removed: list[bytes] = []
        for key, value in group.rows.items():
            if value is None:
                removed.append(key.encode())
            else:
                keys.append(key.encode())
                values.append(value)
        began = perf_counter()
        if keys or removed:
            await self._opened().write(keys, values, removed)
        group.done.set_result(None)
        self._commits.observe(perf_counter() - began)
        self._rows.observe(len(group.rows))

    def _opened(self) -> Writer:
        if self._writer is None:
            raise StoreError("postgresql: the store is not open")
        return self._writer


def _number(config: Mapping[str, object], name: str, default: int) -> int:
    text = str(config.get(name) or default)
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise InvalidRequest(f'storage "postgresql": {name} must be a number, not {text!r}')
    return int(text)


def _flag(config: Mapping[str, object], name: str) -> bool:
    text = str(config.get(name, ""))
    if (flag := _FLAGS.get(text.lower())) is None:
        raise InvalidRequest(f'storage "postgresql": {name} must be true or false, not {text!r}')
    return flag
