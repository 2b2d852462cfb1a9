"""Whether second factors are right: codes of authenticator apps here, everything else at whoever offers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ....framework.clock import Clock
from ....framework.storage import View
from ....storage.store import Store
from ...policy.templating import render
from ..profile import Profile
from .records import DuoSettings, Method, OktaSettings, PingIdSettings, TotpSettings
from .remote import Refused
from .store import MfaStore

if TYPE_CHECKING:
    from ...node import Node

__all__ = ["Credentials", "Factors", "Given", "Refused"]

Credentials = Mapping[str, Sequence[Any]]
"""What a client gives, by id or name of the method: a passcode, ``passcode=...``, or nothing to confirm elsewhere."""
_NOT_RIGHT = "MFA credentials not supplied or incorrect"
_LONGEST_CODE = 64
_MANY = 1000  # users with wrong codes, before those whose time is over are looked for


class Factors:
    """What is remembered from one login to the next, in memory: wrong codes, and questions that wait for answers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._tries: dict[tuple[str, str], tuple[int, float]] = {}  # by method and entity: how many, and until when
        self.asking: set[tuple[str, str]] = set()

    def of(self, node: Node, profile: Profile | None, credentials: Credentials, address: str) -> Given:
        return Given(self, node, profile, credentials, address)

    async def spend(self, txn: View, store: MfaStore, entity_id: str, spent: Mapping[str, int]) -> None:
        """Note codes as used, by the period that each is of; raises Refused for one that was used meanwhile."""
        for method_id, counter in spent.items():
            secret = await store.secret(txn, method_id, entity_id)
            if secret is None or secret.used >= counter:
                raise Refused("code already used")
            store.put_secret(txn, method_id, entity_id, secret.spent(counter))

    def try_once(self, key: tuple[str, str], limit: int, period: int) -> None:
        """Count a try; raises Refused when there were too many."""
        now = self.clock.time()
        if len(self._tries) > _MANY:
            self._tries = {each: known for each, known in self._tries.items() if known[1] > now}
        count, until = self._tries.get(key, (0, 0.0))
        if until <= now:
            count = 0
        if count >= limit:
            raise Refused(
                f"maximum TOTP validation attempts {count + 1} exceeded the allowed attempts {limit}. "
                f"Please try again in {period} seconds"
            )
        self._tries[key] = count + 1, now + period

    def forget_tries(self, key: tuple[str, str]) -> None:
        self._tries.pop(key, None)


class Given:
    """The factors that come with one login. ``spent``: of TOTP methods, the period of the code to be spent."""

    def __init__(
        self, factors: Factors, node: Node, profile: Profile | None, credentials: Credentials, address: str
    ) -> None:
        self._factors = factors
        self._store: Store = node.store
        self._secrets = node.identity.mfa
        self._profile = profile
        self._credentials = credentials
        self._address = address
        self._verified: set[str] = set()
        self.spent: dict[str, int] = {}

    async def verify(self, method: Method) -> bool:
        """Whether the method's factor is right; False when none was given, raises Refused when it is wrong."""
        if method.id in self._verified:  # for another enforcement
            return True
        values = self._credentials.get(method.id)
        if values is None:
            values = self._credentials.get(method.name) if method.name else None
        if values is None:
            return False
        settings = method.settings
        if isinstance(settings, TotpSettings):
            await self._totp(method, settings, _passcode(values))
        else:
            await self._ask(method, settings, _passcode(values))
        self._verified.add(method.id)
        return True

    async def _totp(self, method: Method, settings: TotpSettings, code: str) -> None:
        entity_id = "" if self._profile is None else self._profile.id
        secret = await self._secrets.secret(self._store, method.id, entity_id) if entity_id else None
        if secret is None:
            raise Refused(f'MFA secret for method name "{method.name}" not present in entity "{entity_id}"')
        now, key = self._factors.clock.time(), (method.id, entity_id)
        self._factors.try_once(key, settings.max_validation_attempts, secret.totp.period)
        counter = secret.totp.match(code, now)
        if counter is None:
            raise Refused(_NOT_RIGHT)
        if counter <= secret.used:
            raise Refused(f"code already used; new code is available in {secret.totp.period} seconds")
        self._factors.forget_tries(key)
        self.spent[method.id] = counter

    async def _ask(self, method: Method, settings: DuoSettings | OktaSettings | PingIdSettings, code: str) -> None:
        """One question at a time goes to a user, however many logins there are."""
        if self._profile is None:
            raise Refused("the login is of no entity")
        user = render(settings.username_format, self._profile, slashes=True, wildcards=True) or (
            "" if settings.username_format else self._profile.name
        )
        if not user:
            raise Refused("the username_format has no value for this entity")
        key = method.id, self._profile.id
        if key in self._factors.asking:
            raise Refused("another login of the same user waits for an answer")
        self._factors.asking.add(key)
        try:
            match settings:
                case DuoSettings():
                    from .duo import confirm as ask_duo

                    await ask_duo(settings, user, code, self._address)
                case OktaSettings():
                    from .okta import confirm as ask_okta

                    await ask_okta(settings, user)
                case PingIdSettings():
                    from .pingid import confirm as ask_pingid

                    await ask_pingid(settings, user, self._factors.clock.time())
        finally:
            self._factors.asking.discard(key)


def _passcode(values: Sequence[Any]) -> str:
    """The passcode among what was given for a method, "" without one; raises Refused."""
    if len(values) > 1:
        raise Refused("failed to parse MFA factor, found multiple passcodes for the same MFA method")
    text = str(values[0]) if values and isinstance(values[0], str | int) else ""
    if text.startswith("passcode="):
        text = text.removeprefix("passcode=")
        if not text:
            raise Refused("failed to parse MFA factor, invalid passcode")
    if len(text) > _LONGEST_CODE:
        raise Refused(_NOT_RIGHT)
    return text
