"""Where login MFA is kept, of one namespace:

    identity/mfa/method/<id>             a Method
    identity/mfa/enforcement/<name>      an Enforcement
    identity/mfa/totp/<method>/<entity>  a Secret

A namespace can use the methods of those above it; an entity's secret is in the entity's namespace always.
"""

from __future__ import annotations

from ....framework.memo import Memo
from ....framework.storage import ReadView, View
from .records import Enforcement, Method, Secret

_DECODED = 1000


class MfaStore:
    """Finds, saves and deletes; ``prefix`` is that of the namespace's keys."""

    def __init__(self, prefix: str) -> None:
        self._methods, self._enforcements = f"{prefix}identity/mfa/method/", f"{prefix}identity/mfa/enforcement/"
        self._secrets = f"{prefix}identity/mfa/totp/"
        self._method, self._enforcement = Memo(Method.load, _DECODED), Memo(Enforcement.load, _DECODED)

    async def method(self, view: ReadView, id_: str) -> Method | None:
        raw = await view.get(self._methods + id_)
        return None if raw is None else self._method(id_, raw)

    async def methods(self, view: ReadView) -> list[Method]:
        found = [await self.method(view, id_) for id_ in await view.list(self._methods)]
        return [method for method in found if method is not None]

    async def named(self, view: ReadView, name: str) -> Method | None:
        """The method of this name, which is not empty."""
        return next((method for method in await self.methods(view) if method.name == name), None)

    def put_method(self, view: View, method: Method) -> None:
        view.put(self._methods + method.id, method.dump())

    def delete_method(self, view: View, id_: str) -> None:
        view.delete(self._methods + id_)

    async def enforcement(self, view: ReadView, name: str) -> Enforcement | None:
        raw = await view.get(self._enforcements + name)
        return None if raw is None else self._enforcement(name, raw)

    async def enforcements(self, view: ReadView) -> list[Enforcement]:
        found = [await self.enforcement(view, name) for name in await view.list(self._enforcements)]
        return [enforcement for enforcement in found if enforcement is not None]

    def put_enforcement(self, view: View, enforcement: Enforcement) -> None:
        view.put(self._enforcements + enforcement.name, enforcement.dump())

    def delete_enforcement(self, view: View, name: str) -> None:
        view.delete(self._enforcements + name)

    def secrets_of(self, method_id: str) -> str:
        """The folder of a method's secrets."""
        return f"{self._secrets}{method_id}/"

    async def secret(self, view: ReadView, method_id: str, entity_id: str) -> Secret | None:
        raw = await view.get(self.secrets_of(method_id) + entity_id)
        return None if raw is None else Secret.load(raw)

    def put_secret(self, view: View, method_id: str, entity_id: str, secret: Secret) -> None:
        view.put(self.secrets_of(method_id) + entity_id, secret.dump())

    def delete_secret(self, view: View, method_id: str, entity_id: str) -> None:
        view.delete(self.secrets_of(method_id) + entity_id)

    async def move_secrets(self, view: View, entity_id: str, into: str = "") -> None:
        """Take the secrets of an entity away. ``into``: an entity that gets those that it has none of itself."""
        for folder in await view.list(self._secrets):
            raw = await view.get(f"{self._secrets}{folder}{entity_id}")
            if raw is None:
                continue
            view.delete(f"{self._secrets}{folder}{entity_id}")
            if into and await view.get(f"{self._secrets}{folder}{into}") is None:
                view.put(f"{self._secrets}{folder}{into}", raw)
