"""The end of tokens with all that descends from them, in transactions of bounded size.

A token that is revoked is gone with the first of these, and so are as many of its descendants as go into that. If
there are more, the tokens that are gone and whose children are not make up the *frontier*. It is stored
(``sys/token/ending/`` of the root namespace, a key a token), so that what was begun goes on after a crash, and kept in
memory: until its turn has come, whatever descends from the frontier is refused like a token that is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from ..framework.errors import Sealed
from ..framework.storage import ReadView, View
from ..storage.store import ATTEMPTS, Store, Transaction
from .layout import ROOT
from .slices import Slices

if TYPE_CHECKING:
    from .tokens import TokenEntry, TokenStore

_log = logging.getLogger(__name__)
ENDING = f"{ROOT.prefix}sys/token/ending/"
_MOST = 64  # descendants that end in one transaction
_SPARE = b"spare"  # stored of a token of the frontier whose children are to become orphans; else nothing
_AGAIN_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class _Tree:
    """What is left of one that was revoked. ``left``: its part of the frontier; ``spare``: its children live on."""

    root: str
    spare: bool
    left: set[str] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class TokenTrees:
    """Descendants of revoked tokens, in all namespaces. ``frontier``: keys of tokens, the last to come at its end."""

    def __init__(self, tokens: TokenStore) -> None:
        self._tokens = tokens
        self.frontier: dict[str, _Tree] = {}
        self._trees: dict[str, _Tree] = {}
        self._more = asyncio.Event()

    async def open(self, store: Store) -> None:
        """Take up what was begun before the server was sealed or died."""
        for key in await store.list(ENDING):
            self._moved(_Tree(key, await store.get(ENDING + key) == _SPARE), key, [key])

    async def follow(self, store: Store) -> None:
        """Take up what another node works off."""
        stored = [(key, await store.get(ENDING + key)) for key in await store.list(ENDING)]
        self.frontier = {key: _Tree(key, raw == _SPARE) for key, raw in stored if raw is not None}

    def close(self) -> None:
        """Nobody goes on with it: let go of those who wait."""
        for tree in self._trees.values():
            tree.ended.set()

    async def revoke(self, view: View, key: str, *, spare_children: bool, most: int = _MOST) -> bool:
        """Delete a token and everything that hangs on it; False when there is none.

        Its children die with it, or become orphans with ``spare_children``: in this transaction if there are at most
        so many, and else in the background from its commit on.
        """
        began = perf_counter()
        first = await self._tokens.by_key(view, key)
        if first is None:
            return False
        await self._end(view, _Tree(key, spare_children), key, [first], most)
        self._tokens.revocations.observe(perf_counter() - began)
        return True

    async def ended(self, key: str) -> None:
        """Wait until nothing is left of a token that was revoked; raises Sealed if the server seals before."""
        tree = self._trees.get(key)
        if tree is not None:
            await tree.ended.wait()
            if tree.left:
                raise Sealed

    async def outside(self, view: ReadView, entry: TokenEntry | None) -> TokenEntry | None:
        """``entry``, unless it descends from one of the frontier. To be asked only while there is one."""
        slices, at = Slices(), entry
        while at is not None and at.parent:
            tree = self.frontier.get(at.parent)
            if tree is not None and not tree.spare:
                return None
            at = await self._tokens.by_key(view, at.parent)
            await slices.next()
        return entry

    async def work(self, store: Store) -> None:
        """Work off the frontier for ever: what came last goes first, so that it is no longer than trees are deep."""
        while True:
            if not self.frontier:
                self._more.clear()
                await self._more.wait()
            key, tree = next(reversed(self.frontier.items()))
            try:
                await store.run(self._go_on, ATTEMPTS, tree, key)
            except Sealed:
                return
            except Exception:
                _log.exception("what descends from a revoked token has not all ended; it is tried again")
                self.frontier = {key: self.frontier.pop(key), **self.frontier}
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _go_on(self, txn: Transaction, tree: _Tree, key: str) -> None:
        await self._end(txn, tree, key, [], _MOST)

    async def _end(self, view: View, tree: _Tree, key: str, doomed: list[TokenEntry], most: int) -> None:
        """End ``doomed``, and of what descends from ``key`` at most ``most``."""
        tokens, slices = self._tokens, Slices()
        spared: list[TokenEntry] = []
        pointers, left, parents = list[str](), list[str](), [key]
        # All is read before anything is written: a list in a transaction takes longer the more that has written.
        while parents:
            parent = parents.pop()
            folder = tokens.children(parent)
            room = most - len(pointers)
            names = await view.list(folder, limit=room + 1)
            if len(names) > room:
                left.append(parent)
            for name in names[:room]:
                pointers.append(folder + name)
                child = await tokens.by_key(view, name)
                if child is not None and tree.spare:
                    spared.append(child)
                elif child is not None:
                    doomed.append(child)
                    parents.append(name)
                await slices.next()
            await slices.next()
        for cleanup in tokens.on_revoke:
            await cleanup(view, doomed)
        for pointer in pointers:
            view.delete(pointer)
        for entry in spared:
            tokens.put(view, entry._replace(parent=""))
        for entry in doomed:
            tokens.remove(view, entry)
        if key in self.frontier and key not in left:
            view.delete(ENDING + key)
        for each in left:
            if each not in self.frontier:
                view.put(ENDING + each, _SPARE if tree.spare else b"")
        if (left or tree.left) and isinstance(view, Transaction):  # as every view is that can write
            view.on_commit(lambda: self._moved(tree, key, left))

    def _moved(self, tree: _Tree, done: str, left: Sequence[str]) -> None:
        self.frontier.pop(done, None)
        tree.left.discard(done)
        tree.left.update(left)
        self.frontier.update((key, tree) for key in left)
        if tree.left:
            self._trees[tree.root] = tree
            self._more.set()
        else:
            del self._trees[tree.root]
            tree.ended.set()
