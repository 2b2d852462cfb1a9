"""What OIDC does when its time comes: keys rotate, and codes that nobody has used are forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ....storage.prefix import PrefixView
from ....storage.store import Transaction
from ...expiry import End
from .authorize import CODE_KIND
from .keys import ROTATION
from .token import TokenRoutes

if TYPE_CHECKING:
    from ...node import Node


def enders(node: Node) -> Mapping[str, End]:
    """For the expiry index of a namespace, by kind."""

    def engine(txn: Transaction) -> tuple[TokenRoutes, PrefixView]:
        mount = node.router.get("identity/")
        assert mount is not None
        return cast(TokenRoutes, mount.engine), PrefixView(txn, mount.prefix)

    async def rotate(txn: Transaction, name: str) -> None:
        oidc, view = engine(txn)
        if when := await oidc.rotate_due(view, name):
            node.expiry.add(txn, when, ROTATION, name)

    async def forget(txn: Transaction, name: str) -> None:
        oidc, view = engine(txn)
        oidc.forget_code(view, name)

    return {ROTATION: rotate, CODE_KIND: forget}
